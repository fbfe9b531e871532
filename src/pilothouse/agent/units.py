"""What systemd is told about an agent: the text of its unit and of its environment file.

Pure: a plan in, texts out; ``cli.install`` writes them. Every line that is not plain carries its reason, because the
next reader is an operator who wonders whether it may be changed.
"""

from dataclasses import dataclass
from typing import Final

MARK: Final = "# Written by `pilothouse agent install`"
"""How every file begins that may be replaced and removed."""
TOKEN_VARIABLE: Final = "PILOTHOUSE_TOKEN_FILE"
START_SECONDS: Final = 60
STOP_MARGIN_SECONDS: Final = 15


@dataclass(frozen=True, slots=True)
class UnitPlan:
    """One agent as a service.

    ``program`` is what runs Pilothouse (absolute, without the command), ``arguments`` what follows it. ``state`` is
    the folder below /var/lib that systemd makes for it; ``writable`` are further folders, which exist already.
    ``stop`` and ``reload`` are commands like ``arguments``; without ``stop``, SIGTERM makes the agent leave in order.
    """

    workload: str
    user: str
    program: tuple[str, ...]
    arguments: tuple[str, ...]
    token_file: str
    environment_file: str
    state: str = ""
    writable: tuple[str, ...] = ()
    low_ports: bool = False
    drain_seconds: float = 5.0
    stop: tuple[str, ...] = ()
    reload: tuple[str, ...] = ()


def unit_name(name: str, namespace: str) -> str:
    """The unit of a workload; a namespace other than ``default`` is part of it."""
    return f"pilothouse-agent-{name}{'' if namespace == 'default' else '.' + namespace}.service"


def environment_text(plan: UnitPlan) -> str:
    """The environment file: where the credential lies, never the credential."""
    return (
        f"{MARK}, removed by `pilothouse agent uninstall`.\n"
        f"# Read by the agent of {plan.workload}. The path of its credential, never the credential itself, because\n"
        "# every user may ask systemd for a unit's environment.\n"
        f'{TOKEN_VARIABLE}="{_escape(plan.token_file)}"\n'
    )


def unit_text(plan: UnitPlan) -> str:
    """The unit file."""
    head = _UNIT.format(mark=MARK, workload=plan.workload.replace("%", "%%"))
    return "\n".join((head, _service(plan), _SANDBOX.rstrip(), _rights(plan), _INSTALL))


def command_line(*words: str) -> str:
    """The words of a command for Exec lines, quoted where systemd would read something into them."""
    return " ".join(quote(word) for word in words)


def quote(word: str) -> str:
    """One word. ``%`` is systemd's for specifiers, ``$`` for variables; both are doubled to mean themselves."""
    doubled = word.replace("%", "%%").replace("$", "$$")
    plain = word.isascii() and word.isprintable() and word and not set(word) & set(" \"'\\;#")
    return doubled if plain else f'"{_escape(doubled)}"'


def _escape(text: str) -> str:
    """For use between double quotes, in units and in environment files. Control characters never come this far."""
    return text.replace("\\", "\\\\").replace('"', '\\"')


def _path(path: str) -> str:
    """A path in a list of paths."""
    return f'"{_escape(path.replace("%", "%%"))}"'


def _service(plan: UnitPlan) -> str:
    lines = [
        _SERVICE.format(user=plan.user, environment=plan.environment_file.replace("%", "%%")),
        # Expanded by systemd, so that the credential may move without a new unit.
        f"ExecStart={command_line(*plan.program, *plan.arguments)} --token-file ${{{TOKEN_VARIABLE}}}",
    ]
    if plan.stop:
        lines.append(f"ExecStop={command_line(*plan.program, *plan.stop)}")
    if plan.reload:
        lines.append(f"ExecReload={command_line(*plan.program, *plan.reload)}")
    lines.append(_ENDING.format(start=START_SECONDS, stop=round(plan.drain_seconds) + STOP_MARGIN_SECONDS))
    return "\n".join(lines)


def _rights(plan: UnitPlan) -> str:
    lines = []
    if plan.state:
        lines += [
            "# /var/lib/... made by systemd for this user, 0700: bootstrap, logs, last good configuration, sockets.",
            f"StateDirectory={plan.state}",
            "StateDirectoryMode=0700",
        ]
    if plan.writable:
        lines += [
            "# All else is read-only, by ProtectSystem and ProtectHome.",
            *(f"ReadWritePaths={_path(path)}" for path in plan.writable),
        ]
    if plan.low_ports:
        lines += [
            "# For listeners below port 1024, and nothing else of what root may do.",
            "CapabilityBoundingSet=CAP_NET_BIND_SERVICE",
            "AmbientCapabilities=CAP_NET_BIND_SERVICE",
        ]
    else:
        lines += [
            "# No port below 1024 is asked for, so nothing of what root may do is needed.",
            "CapabilityBoundingSet=",
        ]
    return "\n".join(lines) + "\n"


_UNIT: Final = """\
{mark}, removed by `pilothouse agent uninstall`.
# Change it with `systemctl edit`: another install replaces this file.
[Unit]
Description=Pilothouse agent and Envoy of {workload}
# Ordering only. An agent whose control plane is away starts with the last good configuration, and waits.
Wants=network-online.target
After=network-online.target
# A sidecar that gives up takes its app off the mesh, so starting is tried for ever.
StartLimitIntervalSec=0
"""

_SERVICE: Final = """\
[Service]
# The agent itself says when it is ready (sd_notify): once Envoy is, or once it is clear that it has to wait.
Type=notify
# Only the agent's word counts, not that of the processes that it starts, which inherit the socket.
NotifyAccess=main
User={user}
EnvironmentFile={environment}
UMask=0077"""

_ENDING: Final = """\
# A stop sends SIGTERM to the agent alone, which then leaves in order: out of the registry, drain, end Envoy. The other
# modes would signal Envoy and its holder in the same moment, in the middle of requests; and when an agent crashes or is
# killed, they would end Envoy with it. So the traffic goes on, and the next agent takes over the Envoy that it finds
# ("Found left-over process" in the journal is meant).
KillMode=process
# For the same reason: Envoy killed for memory is started again by the agent, and takes nobody along.
OOMPolicy=continue
Restart=always
RestartSec=1
TimeoutStartSec={start}
# The drain, and what comes before and after it.
TimeoutStopSec={stop}
# Two descriptors for each proxied connection.
LimitNOFILE=524288
"""

_SANDBOX: Final = """\
# --- What the agent and Envoy may not do; none of it costs a request.
# No setuid program makes more of them than they are.
NoNewPrivileges=yes
# The file system is read-only but for what is named below; /dev/shm, which Envoy's hot restart needs, stays.
ProtectSystem=strict
# Readable, because Python and Pilothouse may be installed there.
ProtectHome=read-only
# A /tmp of its own. It is another one after a restart, so nothing that outlives the agent lies there.
PrivateTmp=yes
PrivateDevices=yes
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
ProtectClock=yes
ProtectHostname=yes
LockPersonality=yes
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
# TCP and UDP, and the sockets between agent, holder and Envoy (and to systemd and the journal).
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
# What services commonly need. A call outside of it fails, instead of killing Envoy in the middle of a request.
SystemCallFilter=@system-service
SystemCallErrorNumber=EPERM
SystemCallArchitectures=native
# Not forbidden: Envoy's Lua filter (LuaJIT) and Wasm runtime (V8) write machine code and run it. With `yes`, Envoy
# ends at once with "runtime code generation failed" when such a filter arrives.
MemoryDenyWriteExecute=no
"""

_INSTALL: Final = """\
[Install]
WantedBy=multi-user.target
"""

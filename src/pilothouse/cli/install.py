"""``pilothouse agent install`` and ``uninstall``: an agent as a service of this machine.

From the agent's own options to a plan for ``agent.units``; ``agent.installation`` writes the files. Whatever the agent
would refuse at its start is refused here, before anything is written.
"""

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Annotated, Final

import typer

from pilothouse.cli.agent_options import AgentOptions, decode_agent
from pilothouse.cli.options import CONTEXT, command_of

if TYPE_CHECKING:
    import pwd

    from pilothouse.agent.settings import AgentSettings
    from pilothouse.agent.units import UnitPlan

STATE: Final = "pilothouse/agents"
"""Below /var/lib."""
NOT_READ: Final = "the-token-is-not-read"

RootOption = Annotated[
    str, typer.Option("--root", metavar="DIR", help="Write below this folder instead of /, as packagers do.")
]


@dataclass(frozen=True, slots=True)
class InstallOptions(AgentOptions):
    """What the command line of ``agent install`` says: the options of the agent, and these."""

    systemd: Annotated[bool, typer.Option("--systemd", help="Write units for systemd. No other kind is known.")] = False
    user: Annotated[str, typer.Option(metavar="NAME", help="The user that agent and Envoy run as; not root.")] = (
        "pilothouse"
    )
    root: RootOption = "/"
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the files instead of writing them.")] = False


@dataclass(frozen=True, slots=True)
class UninstallOptions:
    """What the command line of ``agent uninstall`` says."""

    name: Annotated[str, typer.Option(help="The workload's name.")]
    namespace: Annotated[str, typer.Option(help="The workload's namespace.")] = "default"
    root: RootOption = "/"


def declare(group: typer.Typer) -> None:
    """Add the commands."""
    group.command("install", context_settings=CONTEXT)(command_of(InstallOptions, install))
    group.command("uninstall", context_settings=CONTEXT)(command_of(UninstallOptions, uninstall))


def install(options: InstallOptions) -> None:
    """Write a hardened systemd unit that runs this agent, with the same options, as a user that is not root.

    It is not started: the command that does it is printed.
    """
    from pathlib import Path

    from pilothouse.agent.installation import Installation, run_systemctl

    refuse_unspeakable(options)
    here = Installation(Path(options.root).absolute(), options.name, options.namespace)
    packaging = options.dry_run or here.root != Path("/")
    settings = decode_agent(options, token=NOT_READ if packaging else "")
    plan = plan_unit(options, settings)
    refuse_user(options.user, None if packaging else plan)
    if options.dry_run:
        for path, text in here.texts(plan).items():
            print(f"# --- {path}\n{text}")
        return
    for path in here.install(plan, run_systemctl):
        print(f"Written: {path}")
    print(f"Start it, now and at each boot: systemctl enable --now {here.unit}")


def uninstall(options: UninstallOptions) -> None:
    """End the agent's service and remove what `install` has written. State and logs below /var/lib stay, and are named.

    The workload leaves the mesh in order.
    """
    from pathlib import Path

    from pilothouse.agent.installation import Installation, run_systemctl
    from pilothouse.kit.errors import SettingsError

    if any("/" in text for text in (options.name, options.namespace)):
        raise SettingsError("--name and --namespace are names, not paths")
    here = Installation(Path(options.root).absolute(), options.name, options.namespace)
    removed = here.uninstall(run_systemctl)
    for path in removed:
        print(f"Removed: {path}")
    if not removed:
        print(f"{here.unit} is not installed.")
    state = here.root / "var/lib" / state_of(options.name, options.namespace)
    if state.exists():
        print(f"Kept: {state} (state and logs; `rm -r` it if nobody needs them)")


def state_of(name: str, namespace: str) -> str:
    """The agent's folder below /var/lib."""
    return f"{STATE}/{name}{'' if namespace == 'default' else '.' + namespace}"


def plan_unit(options: InstallOptions, settings: "AgentSettings") -> "UnitPlan":
    """The unit that runs the agent with these options, which mean ``settings``, by this very Python."""
    import sys
    from pathlib import Path

    from pilothouse.agent.installation import Installation
    from pilothouse.agent.settings import uses_of
    from pilothouse.agent.units import UnitPlan

    own_state = not options.state_dir
    state = state_of(options.name, options.namespace)
    paths = {"state_dir": options.state_dir or f"/var/lib/{state}", "log_dir": options.log_dir, "envoy": options.envoy}
    placed = {name: str(Path(text).absolute()) if text else "" for name, text in paths.items()}
    written = ("log_dir",) if own_state else ("state_dir", "log_dir")
    return UnitPlan(
        workload=f"{options.namespace}/{options.name}",
        user=options.user,
        program=(sys.executable, "-P", "-m", "pilothouse.cli.main"),
        arguments=("agent", *arguments_of(options, placed)),
        token_file=str(Path(options.token_file).absolute()),
        environment_file=str(Installation(Path("/"), options.name, options.namespace).environment_file),
        state=state if own_state else "",
        writable=tuple(placed[name] for name in written if placed[name]),
        # A gateway's ports come from Gateway objects, and are often 80 and 443.
        low_ports=options.gateway or any(where.port < 1024 for _, where in uses_of(settings)),
        drain_seconds=settings.drain_seconds,
    )


def arguments_of(options: InstallOptions, placed: dict[str, str]) -> list[str]:
    """The agent's command line again, without what is its default. Paths are those ``placed``; the token's is apart."""
    words: list[str] = []
    plain = AgentOptions()
    for field in fields(AgentOptions):
        value = placed.get(field.name, getattr(options, field.name))
        if field.name == "token_file" or value == getattr(plain, field.name):
            continue
        flag = f"--{field.name.replace('_', '-')}"
        if value is True:
            words.append(flag)
        else:
            for one in value if isinstance(value, list) else [value]:
                words += [flag, str(one)]
    return words


def refuse_unspeakable(options: InstallOptions) -> None:
    """Raises SettingsError if no service manager is named, or an option holds what a line of a unit cannot."""
    from pilothouse.kit.errors import SettingsError

    if not options.systemd:
        raise SettingsError("say for which service manager: --systemd (no other is known)")
    for field in fields(InstallOptions):
        value = getattr(options, field.name)
        texts = value if isinstance(value, list) else [str(value)]
        if not all(text.isprintable() for text in texts):
            raise SettingsError(f"--{field.name.replace('_', '-')} holds control characters")


def refuse_user(user: str, plan: "UnitPlan | None") -> None:
    """Raises SettingsError if ``user`` is no name, or, where ``plan`` is installed here, cannot run it."""
    import pwd
    import re

    from pilothouse.kit.errors import SettingsError

    if not re.fullmatch(r"[a-z_][a-z0-9_-]{0,31}", user) or user in ("root", "nobody"):
        raise SettingsError(f"--user {user!r}: name a user of its own that is not root, such as pilothouse")
    if plan is None:
        return
    try:
        entry = pwd.getpwnam(user)
    except KeyError as error:
        way = f"useradd --system --no-create-home --shell /usr/sbin/nologin {user}"
        raise SettingsError(f"--user {user}: no such user; make it with `{way}`") from error
    if entry.pw_uid == 0:
        raise SettingsError(f"--user {user} is root by another name")
    refuse_hidden(plan, entry)


def refuse_hidden(plan: "UnitPlan", entry: "pwd.struct_passwd") -> None:
    """Raises SettingsError if the user cannot reach the program or the token."""
    import os
    from pathlib import Path

    import pilothouse
    from pilothouse.agent.installation import hidden_part
    from pilothouse.kit.errors import SettingsError

    groups = frozenset(os.getgrouplist(entry.pw_name, entry.pw_gid))
    python = Path(plan.program[0])
    for path in (Path(plan.token_file), python, python.resolve(), Path(pilothouse.__file__)):
        hidden = hidden_part(path, entry.pw_uid, groups)
        if hidden is not None:
            raise SettingsError(
                f"--user {entry.pw_name} cannot read {path} (closed at {hidden}): give it to that user, or move it"
            )

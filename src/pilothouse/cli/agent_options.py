"""What the command line of ``pilothouse agent`` says, and the settings that it means.

Every mistake is told at once, each with what to write instead. Opens the token file and nothing else.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Final

import typer

from pilothouse.cli.log_format import LogFormat, LogFormatOption
from pilothouse.demo.leftovers import OWNER_VARIABLE

if TYPE_CHECKING:
    from pilothouse.agent.settings import AgentSettings, HealthCheck, PortMapping
    from pilothouse.model.proxy import TcpBind
    from pilothouse.model.service import Locality

TOKEN_FILE: Final = ".pilothouse/token"
"""Where a control plane that was started in the same folder keeps it."""


@dataclass(frozen=True, slots=True)
class AgentOptions:
    """The options as texts and numbers. What they mean is ``decode_agent``'s business."""

    name: Annotated[str, typer.Option(help="The workload's name, such as reviews-v1.")] = ""
    namespace: Annotated[str, typer.Option(help="The workload's namespace.")] = "default"
    address: Annotated[
        str, typer.Option(metavar="IP", help="The workload's own address, where callers reach its sidecar.")
    ] = "127.0.0.1"
    discovery: Annotated[str, typer.Option(metavar="HOST:PORT", help="The control plane.")] = "127.0.0.1:15010"
    token_file: Annotated[str, typer.Option(metavar="FILE", help="The credential for the control plane.")] = TOKEN_FILE
    service: Annotated[
        list[str],
        typer.Option(
            metavar="NAME:PORT:INBOUND:APP[/PROTOCOL]",
            help="A service that the app serves: its name, the port that callers write, the sidecar's, the app's. "
            "May be given several times.",
        ),
    ] = field(default_factory=list)
    app_address: Annotated[
        str, typer.Option(metavar="IP", help="Where the app listens; the registry is never told.")
    ] = "127.0.0.1"
    label: Annotated[
        list[str], typer.Option(metavar="KEY=VALUE", help="A label of the workload. May be given several times.")
    ] = field(default_factory=list)
    health: Annotated[
        str, typer.Option(metavar="http:/PATH|tcp|none", help="How the app is asked whether it is well.")
    ] = "none"
    gateway: Annotated[bool, typer.Option("--gateway", help="Be a gateway: no app, listeners by Gateway objects.")] = (
        False
    )
    http_proxy_port: Annotated[
        int, typer.Option(metavar="PORT", help="Where the app finds its HTTP proxy (HTTP_PROXY). 0: none.")
    ] = 0
    http_proxy_address: Annotated[
        str, typer.Option(metavar="IP", help="Its address [default: --address].", show_default=False)
    ] = ""
    tcp: Annotated[
        list[str],
        typer.Option(
            metavar="SERVICE:PORT=IP:PORT",
            help="A listener on loopback whose connections go to a TCP service, such as db:5432=127.0.0.1:5432. "
            "May be given several times.",
        ),
    ] = field(default_factory=list)
    admin_address: Annotated[str, typer.Option(metavar="IP", help="Envoy's admin interface.")] = "127.0.0.1"
    admin_port: Annotated[int, typer.Option(metavar="PORT", help="Envoy's admin interface.")] = 15000
    status_port: Annotated[int, typer.Option(metavar="PORT", help="The agent's health and merged metrics.")] = 15020
    readiness_port: Annotated[int, typer.Option(metavar="PORT", help="Readiness, for load balancers.")] = 15021
    state_dir: Annotated[
        str, typer.Option(metavar="DIR", help="State and logs [default: .pilothouse/agents/NAME].", show_default=False)
    ] = ""
    log_dir: Annotated[
        str, typer.Option(metavar="DIR", help="Envoy's logs [default: logs in --state-dir].", show_default=False)
    ] = ""
    envoy: Annotated[
        str,
        typer.Option(metavar="PATH", help="The Envoy binary [default: the one installed with Pilothouse, or PATH]."),
    ] = ""
    concurrency: Annotated[int, typer.Option(metavar="N", help="Envoy's worker threads.")] = 1
    drain_seconds: Annotated[float, typer.Option(metavar="S", help="How long requests may end on the way out.")] = 5.0
    locality: Annotated[str, typer.Option(metavar="REGION[/ZONE[/SUBZONE]]", help="Where the workload runs.")] = ""
    service_account: Annotated[str, typer.Option(help="The identity that the workload runs under.")] = "default"
    weight: Annotated[int, typer.Option(metavar="N", help="Its share of the traffic among its like.")] = 1
    app_metrics_url: Annotated[
        str, typer.Option(metavar="URL", help="The app's Prometheus metrics, merged into the agent's.")
    ] = ""
    domain: Annotated[str, typer.Option(help="The suffix of service names; as the control plane's.")] = "service.mesh"
    direct_xds: Annotated[
        bool,
        typer.Option(
            "--direct-xds", help="Envoy connects to the control plane itself; nothing is kept for its absence."
        ),
    ] = False
    owner_pid: Annotated[
        int, typer.Option(envvar=OWNER_VARIABLE, hidden=True, help="A process with which Envoy ends. 0: none.")
    ] = 0
    log_format: LogFormatOption = LogFormat.CONSOLE


def decode_agent(options: AgentOptions, *, token: str = "") -> "AgentSettings":
    """The settings that the options mean. With ``token``, the token file is not read, and may be missing yet.

    Raises SettingsError with every mistake, one a line.
    """
    from pathlib import Path

    from pilothouse.agent.settings import AgentSettings, validate_settings
    from pilothouse.kit.errors import SettingsError
    from pilothouse.model.labels import labels_of
    from pilothouse.model.proxy import Role

    mistakes: list[str] = []
    token = token or read_credential(options.token_file, mistakes)
    host, port = decode_discovery(options.discovery, mistakes)
    settings = AgentSettings(
        name=options.name or "unnamed",
        token=token or "unread",
        state_dir=options.state_dir or str(Path(".pilothouse/agents") / (options.name or "unnamed")),
        discovery_host=host,
        discovery_port=port,
        role=Role.GATEWAY if options.gateway else Role.SIDECAR,
        namespace=options.namespace,
        address=options.address,
        services=tuple(decode_services(options.service, options.app_address, mistakes)),
        labels=labels_of(decode_labels(options.label, mistakes)),
        locality=decode_locality(options.locality, mistakes),
        service_account=options.service_account,
        weight=options.weight,
        domain_suffix=options.domain,
        http_proxy_address=options.http_proxy_address,
        http_proxy_port=options.http_proxy_port,
        tcp=tuple(decode_binds(options.tcp, options.domain, mistakes)),
        admin_address=options.admin_address,
        admin_port=options.admin_port,
        status_port=options.status_port,
        readiness_port=options.readiness_port,
        log_dir=options.log_dir,
        envoy_binary=options.envoy,
        concurrency=options.concurrency,
        health=decode_health(options.health, mistakes),
        drain_seconds=options.drain_seconds,
        app_metrics_url=options.app_metrics_url,
        direct_xds=options.direct_xds,
        owner_pid=options.owner_pid,
    )
    mistakes += contradictions(options)
    mistakes += validate_settings(settings)
    if mistakes:
        raise SettingsError("\n  ".join(("the agent cannot start with these options:", *mistakes)))
    return settings


def contradictions(options: AgentOptions) -> list[str]:
    """What is missing, and what does not go together."""
    found = []
    if not options.name:
        found.append("--name is missing: give the workload a name, such as --name reviews-v1")
    if options.gateway and (options.service or options.http_proxy_port or options.tcp or options.health != "none"):
        found.append("--gateway has no app beside it: leave out --service, --http-proxy-port, --tcp and --health")
    return found


def read_credential(path: str, mistakes: list[str]) -> str:
    """The token in the file ``path``, or nothing and a mistake."""
    from pathlib import Path

    from pilothouse.identity.tokens import read_token
    from pilothouse.kit.errors import SettingsError

    try:
        return read_token(Path(path))
    except FileNotFoundError:
        mistakes.append(f"--token-file {path}: no such file; name the token file of the control plane")
    except (OSError, SettingsError) as error:
        mistakes.append(f"--token-file: {error}")
    return ""


def decode_discovery(text: str, mistakes: list[str]) -> tuple[str, int]:
    """Host and port of ``HOST:PORT`` or ``[IPV6]:PORT``."""
    host, _, port = text.rpartition(":")
    number = decode_port(port)
    if not host or number is None:
        mistakes.append(f"--discovery {text!r} is not HOST:PORT, such as 127.0.0.1:15010")
        return "127.0.0.1", 15010
    return host.strip("[]"), number


def decode_services(texts: list[str], app_address: str, mistakes: list[str]) -> "list[PortMapping]":
    """One mapping per text; those that are wrong are left out and told."""
    from pilothouse.agent.settings import PortMapping
    from pilothouse.model.service import Protocol, protocol_of

    found = []
    known = ", ".join(protocol.lower() for protocol in Protocol if protocol)
    for text in texts:
        ports, slash, word = text.partition("/")
        name, *numbers = ports.split(":")
        decoded = [decode_port(number) for number in numbers]
        if not name or len(decoded) != 3 or None in decoded:
            mistakes.append(
                f"--service {text!r} is not NAME:PORT:INBOUND:APP[/PROTOCOL], such as reviews:9080:19080:9081"
            )
        elif slash and protocol_of(word) is Protocol.UNSUPPORTED:
            mistakes.append(f"--service {text!r}: protocol {word!r} is not one of {known}")
        else:
            service_port, inbound, app = (number or 0 for number in decoded)
            protocol = protocol_of(word) if slash else Protocol.HTTP
            found.append(PortMapping(name, service_port, inbound, app, app_address, protocol))
    return found


def decode_binds(texts: list[str], domain: str, mistakes: list[str]) -> "list[TcpBind]":
    """One TCP listener per text; those that are wrong are left out and told."""
    from ipaddress import ip_address

    from pilothouse.agent.settings import is_ip
    from pilothouse.model.proxy import Place, TcpBind

    found = []
    for text in texts:
        service, _, local = text.partition("=")
        name, _, port = service.rpartition(":")
        address, _, local_port = local.rpartition(":")
        address = address.strip("[]")
        ports = decode_port(port), decode_port(local_port)
        if not name or None in ports or not is_ip(address):
            mistakes.append(f"--tcp {text!r} is not SERVICE:PORT=IP:PORT, such as db:5432=127.0.0.1:5432")
        elif not ip_address(address).is_loopback:
            mistakes.append(f"--tcp {text!r}: {address} is not on loopback, so others could use the listener too")
        else:
            host = name if "." in name else f"{name}.{domain}"
            found.append(TcpBind(host.lower(), ports[0] or 0, Place(address, ports[1] or 0)))
    return found


def decode_labels(texts: list[str], mistakes: list[str]) -> dict[str, str]:
    """Labels by key."""
    labels: dict[str, str] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not key or not equals:
            mistakes.append(f"--label {text!r} is not KEY=VALUE, such as version=v1")
        elif key in labels:
            mistakes.append(f"--label {key} is given twice")
        else:
            labels[key] = value
    return labels


def decode_locality(text: str, mistakes: list[str]) -> "Locality":
    """``REGION[/ZONE[/SUBZONE]]``."""
    from pilothouse.model.service import Locality

    parts = text.split("/")
    if text and (len(parts) > 3 or not all(parts)):
        mistakes.append(f"--locality {text!r} is not REGION[/ZONE[/SUBZONE]]")
        return Locality()
    return Locality(*parts) if text else Locality()


def decode_health(text: str, mistakes: list[str]) -> "HealthCheck":
    """``http:/PATH``, ``tcp`` or ``none``."""
    from pilothouse.agent.settings import CheckKind, HealthCheck

    kind, _, path = text.partition(":")
    if kind == CheckKind.HTTP and path.startswith("/"):
        return HealthCheck(CheckKind.HTTP, path)
    if text not in (CheckKind.TCP, CheckKind.NONE):
        mistakes.append(f"--health {text!r} is not http:/PATH, tcp or none")
        return HealthCheck()
    return HealthCheck(CheckKind(text))


def decode_port(text: str) -> int | None:
    """A port number, or None."""
    is_number = text.isascii() and text.isdigit() and len(text) <= 5
    return int(text) if is_number and 0 < int(text) < 65536 else None

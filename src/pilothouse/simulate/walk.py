"""A request through a snapshot, as Envoy would take it: listener, table, virtual host, route, cluster, endpoints.

The room's front door. Each step names the resource that decided it and who made that resource.
"""

from dataclasses import replace
from typing import Final

from envoy.config.route.v3 import route_components_pb2

from pilothouse.kit.origin import FileOrigin, Origin
from pilothouse.simulate.comparing import CannotTell, matches_route
from pilothouse.simulate.lookup import Host, Table, connection_manager, find_listener, find_table, find_virtual_host
from pilothouse.simulate.request import Request
from pilothouse.simulate.routing import decide
from pilothouse.simulate.verdict import NoListener, NoRoute, NoVirtualHost, Outcome, Step, Undecided, Verdict
from pilothouse.xds.resource import Snapshot

_UNRESERVED: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~")
_OWNER: Final = "/virtual-service/"


def simulate_request(snapshot: Snapshot, request: Request, listener: tuple[str, int]) -> Verdict:
    """What becomes of ``request`` at the listener on that address and port. Never raises for what a snapshot holds."""
    steps: list[Step] = []
    try:
        outcome = _walk(snapshot, request, listener, steps)
    except CannotTell as unknown:
        outcome = Undecided(f"the simulation does not know {unknown}")
    return Verdict(outcome, tuple(steps))


def _walk(snapshot: Snapshot, request: Request, at: tuple[str, int], steps: list[Step]) -> Outcome:
    address, port = at
    listener = find_listener(snapshot, address, port)
    if listener is None:
        return NoListener(address, port)
    steps.append(Step("listener", listener.name, listener.origins))
    manager = connection_manager(listener)
    table = find_table(snapshot, listener, manager)
    if table is None:
        return NoListener(address, port, waits_for=manager.rds.route_config_name)
    steps.append(Step("routes", table.name, table.origins))
    if manager.normalize_path.value:
        request = replace(request, path=normalized(request.path))
    return _route(snapshot, request, table, steps)


def _route(snapshot: Snapshot, request: Request, table: Table, steps: list[Step]) -> Outcome:
    host = find_virtual_host(table, request.authority)
    if host is None:
        return NoVirtualHost(table.name, request.authority)
    steps.append(Step("virtual host", host.name, host.origins))
    for number, route in enumerate(host.message.routes):
        if matches_route(route.match, request):
            made_by = host.parts[number : number + 1] or route_origins(route, host)
            steps.append(Step("route", route.name or f"{number}", made_by))
            outcome, further = decide(snapshot, route, request)
            steps.extend(further)
            return outcome
    return NoRoute(host.name)


def route_origins(route: route_components_pb2.Route, host: Host) -> tuple[Origin, ...]:
    """For a table that arrived whole: of the host's origins those of the VirtualService that the route names."""
    istio = route.metadata.filter_metadata
    written = istio["istio"].fields["config"].string_value if "istio" in istio else ""
    place, found, name = written.partition(_OWNER)
    if not found:
        return host.origins
    owner = (place.rpartition("/")[2], name)
    return tuple(o for o in host.origins if isinstance(o, FileOrigin) and (o.namespace, o.name) == owner)


def normalized(path: str) -> str:
    """The path as Envoy normalises it: ``.`` and ``..`` resolved, unreserved characters decoded, query untouched."""
    bare, mark, rest = path.partition("?")
    parts: list[str] = []
    segments = decoded(bare.replace("\\", "/")).split("/")[1:]
    for segment in segments:
        if segment == "..":
            del parts[-1:]
        elif segment != ".":
            parts.append(segment)
    if segments and segments[-1] in (".", ".."):
        parts.append("")
    return f"/{'/'.join(parts)}{mark}{rest}"


def decoded(path: str) -> str:
    """``path`` with percent-encoded unreserved characters written plainly (RFC 3986 §6.2.2.2)."""
    head, *coded = path.split("%")
    for part in coded:
        try:
            character = chr(int(part[:2], 16))
        except ValueError:
            character = ""
        plain = character in _UNRESERVED and len(part) >= 2
        head += character + part[2:] if plain else f"%{part}"
    return head

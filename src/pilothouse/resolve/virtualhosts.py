"""Virtual hosts of the app's HTTP proxy: one per service and port, one per further host of a VirtualService.

Domains carry the port, because one table answers for all ports; a port 80 may be left out, as in HTTP itself. The
table does not strip ports from the Host header: then ``host:9080`` could never match, which is what becomes of it in
istiod's (an intended difference).
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from pilothouse.kit.memo import IdentityMemo
from pilothouse.kit.origin import BuiltIn
from pilothouse.resolve.callees import Callee
from pilothouse.resolve.inbound import HTTP_PROXY_TABLE
from pilothouse.resolve.matching import Vantage
from pilothouse.resolve.routes import default_route, http_routes
from pilothouse.resolve.routing import MeshRouting, RoutingRule
from pilothouse.resolve.view import DirectAnswer, RequestMatch, RouteTable, RouteView, TableHead, VirtualHostView

_UNKNOWN_HOST = BuiltIn("the answer for hosts that no service has")
HEAD = TableHead(HTTP_PROXY_TABLE, (BuiltIn("the app's HTTP proxy port"),), strips_port=False)
BLOCK_ALL = VirtualHostView(
    table=HTTP_PROXY_TABLE,
    name="block_all",
    domains=("*",),
    routes=(
        RouteView(
            match=RequestMatch(),
            action=DirectAnswer(502, b"pilothouse: no service of the mesh has the host and port of this request\n"),
            origins=(_UNKNOWN_HOST,),
            name="block_all",
        ),
    ),
    origins=(_UNKNOWN_HOST,),
)
"""Always there: an empty table would keep the listener closed (Envoy waits for its first virtual host)."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A virtual host to be made: for a service's port, or for a VirtualService's host that no registry knows."""

    host: str
    port: int
    domains: tuple[str, ...]
    callee: Callee | None
    rule: RoutingRule | None


def proxy_table(
    callees: Mapping[str, Callee],
    routing: MeshRouting,
    vantage_of: Callable[[int], Vantage],
    memo: IdentityMemo[VirtualHostView],
) -> RouteTable:
    """The table of the HTTP proxy port for one class, in order of name."""
    taken: set[str] = {"*"}
    hosts = [BLOCK_ALL]
    for entry in (*service_entries(callees, routing), *further_entries(callees, routing)):
        domains = tuple(d for d in map(str.lower, entry.domains) if d not in taken)
        taken.update(domains)
        if not domains:
            continue
        targets = [callees.get(name) for name in entry.rule.targets] if entry.rule is not None else []
        parts = (entry.rule, entry.callee, *targets)
        vantage = vantage_of(entry.port) if entry.rule is None else entry.rule.narrowed(vantage_of(entry.port))

        def make(
            *_: object, entry: Entry = entry, domains: tuple[str, ...] = domains, vantage: Vantage = vantage
        ) -> VirtualHostView:
            return virtual_host(entry, domains, vantage, callees)

        # Classes that see the same rule and the same callees share the view; those that do not keep one each.
        asked = vantage if entry.rule is not None else entry.port
        slot = (HTTP_PROXY_TABLE, entry.host, domains, asked, tuple(map(id, parts)))
        hosts.append(memo.get(slot, make, *parts))
    return RouteTable(HEAD, tuple(sorted(hosts, key=lambda h: h.name)))


def service_entries(callees: Mapping[str, Callee], routing: MeshRouting) -> Iterator[Entry]:
    """One entry per HTTP port of each service, in order of host and port."""
    for host in sorted(callees):
        callee = callees[host]
        for port in callee.service.ports:
            if port.protocol.is_http:
                names = (host, f"{host}.", *callee.service.addresses)
                yield Entry(host, port.number, domains_of(names, port.number), callee, routing.rule_for(host))


def further_entries(callees: Mapping[str, Callee], routing: MeshRouting) -> Iterator[Entry]:
    """Hosts of VirtualServices that no service has: they answer on port 80, where plain HTTP goes."""
    for host in sorted(routing.by_host):
        if host not in callees:
            yield Entry(host, 80, domains_of((host,), 80), None, routing.by_host[host])


def domains_of(names: tuple[str, ...], port: int) -> tuple[str, ...]:
    """The domains of a virtual host: with the port, and for port 80 also without."""
    bracketed = tuple(f"[{name}]" if ":" in name else name for name in names)
    with_port = tuple(f"{name}:{port}" for name in bracketed)
    return (*bracketed, *with_port) if port == 80 else with_port


def virtual_host(
    entry: Entry, domains: tuple[str, ...], vantage: Vantage, callees: Mapping[str, Callee]
) -> VirtualHostView:
    """The virtual host: the rule's routes, or the service's default route. Without any route it answers 404."""
    routes: tuple[RouteView, ...] = ()
    origins = entry.callee.service.origin if entry.callee is not None else None
    if entry.rule is not None:
        routes = http_routes(entry.rule, vantage, callees.get)
        origins = entry.rule.config.origin
    elif entry.callee is not None:
        routes = (default_route(entry.callee, entry.port),)
    return VirtualHostView(
        table=HTTP_PROXY_TABLE,
        name=f"{entry.host}:{entry.port}",
        domains=domains,
        routes=routes,
        origins=(origins,) if origins is not None else (),
    )

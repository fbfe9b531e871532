"""Virtual hosts of the app's HTTP proxy: one per service and port, one per further host of a VirtualService.

Domains carry the port, because one table answers for all ports; a port 80 may be left out, as in HTTP itself. The
table does not strip ports from the Host header: then ``host:9080`` could never match, which is what becomes of it in
istiod's (an intended difference).
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from pilothouse.kit.memo import IdentityMemo
from pilothouse.kit.origin import BuiltIn
from pilothouse.model.service import Protocol
from pilothouse.resolve.callees import Callee, cluster_name
from pilothouse.resolve.inbound import HTTP_PROXY_TABLE
from pilothouse.resolve.matching import Vantage
from pilothouse.resolve.outside import BuiltInCluster
from pilothouse.resolve.routes import default_route, http_routes
from pilothouse.resolve.routing import MeshRouting, RoutingRule
from pilothouse.resolve.view import (
    DirectAnswer,
    Forward,
    RequestMatch,
    RouteTable,
    RouteView,
    TableHead,
    VirtualHostView,
    WeightedTarget,
)

_UNKNOWN_HOST = BuiltIn("the answer for hosts that no service has")
HEAD = TableHead(HTTP_PROXY_TABLE, (BuiltIn("the app's HTTP proxy port"),), strips_port=False)
BLOCK_ALL = VirtualHostView(
    table=HTTP_PROXY_TABLE,
    name="block_all",
    domains=("*",),
    routes=tuple(
        RouteView(
            match=match,
            action=DirectAnswer(
                502, b"pilothouse: no service of the mesh has the host and port of this request: ", names_host=True
            ),
            origins=(_UNKNOWN_HOST,),
            name="block_all",
        )
        for match in (RequestMatch(connect=True), RequestMatch())
    ),
    origins=(_UNKNOWN_HOST,),
)
"""Always there, or ``ALLOW_ANY``: an empty table would keep the listener closed (Envoy waits for its first host)."""
ALLOW_ANY = VirtualHostView(
    table=HTTP_PROXY_TABLE,
    name="allow_any",
    domains=("*",),
    routes=(
        RouteView(
            match=RequestMatch(),
            # Never tried again: a second try would connect without the guard's second look.
            action=Forward((WeightedTarget(BuiltInCluster.OUTSIDE.value, 0),)),
            origins=(_UNKNOWN_HOST,),
            name="allow_any",
        ),
    ),
    origins=(_UNKNOWN_HOST,),
    tunnel=BuiltInCluster.OUTSIDE.value,
    guarded=True,
)
"""Hosts that no service has are resolved and forwarded to (names as in Istio)."""


@dataclass(frozen=True, slots=True)
class Reach:
    """How far the table of a class reaches: into ``CONNECT`` tunnels, and beyond the mesh."""

    tunnels: bool
    outside: bool

    @property
    def http_tunnel(self) -> str:
        """Where the ``CONNECT`` of an HTTP port leads: back into the proxy, or nowhere."""
        return BuiltInCluster.TUNNEL.value if self.tunnels else ""

    @property
    def built_in(self) -> tuple[BuiltInCluster, ...]:
        """The built-in clusters that the table's routes may name."""
        wanted = {BuiltInCluster.TUNNEL: self.tunnels, BuiltInCluster.OUTSIDE: self.outside}
        return tuple(cluster for cluster in BuiltInCluster if wanted.get(cluster, True))


@dataclass(frozen=True, slots=True)
class Entry:
    """A virtual host to be made: for a service's port, or for a VirtualService's host that no registry knows."""

    host: str
    port: int
    domains: tuple[str, ...]
    callee: Callee | None
    rule: RoutingRule | None
    opaque: bool = False
    tunnel: str = ""


def proxy_table(
    callees: Mapping[str, Callee],
    routing: MeshRouting,
    vantage_of: Callable[[int], Vantage],
    memo: IdentityMemo[VirtualHostView],
    reach: Reach,
) -> RouteTable:
    """The table of the HTTP proxy port for one class, in order of name."""
    taken: set[str] = {"*"}
    hosts = [ALLOW_ANY if reach.outside else BLOCK_ALL]
    for entry in (*service_entries(callees, routing, reach), *further_entries(callees, routing, reach)):
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
        slot = (HTTP_PROXY_TABLE, entry.host, domains, asked, entry.tunnel, tuple(map(id, parts)))
        hosts.append(memo.get(slot, make, *parts))
    return RouteTable(HEAD, tuple(sorted(hosts, key=lambda h: h.name)))


def service_entries(callees: Mapping[str, Callee], routing: MeshRouting, reach: Reach) -> Iterator[Entry]:
    """One entry per port of each service, in order of host and port.

    What arrives inside a ``CONNECT`` for an HTTP port is routed like any other request; a port of another protocol
    is tunnelled to as it is. UDP has no place here.
    """
    for host in sorted(callees):
        callee = callees[host]
        for port in callee.service.ports:
            names = (host, f"{host}.", *callee.service.addresses)
            domains = domains_of(names, port.number)
            if port.protocol.is_http:
                rule = routing.rule_for(host)
                yield Entry(host, port.number, domains, callee, rule, tunnel=reach.http_tunnel)
            elif port.protocol is not Protocol.UDP and callee.cluster(port.number, "") is not None:
                cluster = cluster_name(port.number, "", host)
                yield Entry(host, port.number, domains, callee, None, opaque=True, tunnel=cluster)


def further_entries(callees: Mapping[str, Callee], routing: MeshRouting, reach: Reach) -> Iterator[Entry]:
    """Hosts of VirtualServices that no service has: they answer on port 80, where plain HTTP goes."""
    for host in sorted(routing.by_host):
        if host not in callees:
            yield Entry(host, 80, domains_of((host,), 80), None, routing.by_host[host], tunnel=reach.http_tunnel)


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
    elif entry.opaque and entry.callee is not None:
        routes = (opaque_route(entry.callee),)
    elif entry.callee is not None:
        routes = (default_route(entry.callee, entry.port),)
    return VirtualHostView(
        table=HTTP_PROXY_TABLE,
        name=f"{entry.host}:{entry.port}",
        domains=domains,
        routes=routes,
        origins=(origins,) if origins is not None else (),
        tunnel=entry.tunnel,
    )


def opaque_route(callee: Callee) -> RouteView:
    """The answer to plain HTTP requests for a port that does not speak HTTP."""
    text = b"pilothouse: not an HTTP port, reach it by CONNECT or by a TCP listener (pilothouse agent --tcp): "
    return RouteView(
        match=RequestMatch(),
        action=DirectAnswer(502, text, names_host=True),
        origins=(callee.service.origin,),
        name="not_http",
    )

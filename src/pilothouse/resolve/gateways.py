"""What gateway proxies serve: the servers of the Gateways that select them, and the routes bound to those.

Servers on one bind and port become one listener and one route table; routes of several VirtualServices for one host
are appended, oldest first, with those that catch everything last. Source: istio-behaviour §2.3, §1.4.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from pilothouse.config.gateway import Gateway, Server
from pilothouse.config.objects import ConfigObject
from pilothouse.kit.memo import IdentityMemo
from pilothouse.kit.origin import FileOrigin, Origin
from pilothouse.model.hosts import matches, specificity
from pilothouse.model.labels import Labels, labels_of
from pilothouse.model.service import protocol_of
from pilothouse.resolve.callees import Callee
from pilothouse.resolve.matching import Vantage
from pilothouse.resolve.routes import http_routes
from pilothouse.resolve.routing import RoutingRule
from pilothouse.resolve.services import is_exported
from pilothouse.resolve.view import ListenerKind, ListenerView, RouteTable, RouteView, TableHead, VirtualHostView

ANY_ADDRESS: Final = "0.0.0.0"
"""What a server without ``bind`` is bound to."""


@dataclass(frozen=True, slots=True)
class BoundServer:
    """One server of one Gateway, with the Gateway's full name."""

    gateway: str
    namespace: str
    spec: Server
    origin: FileOrigin


@dataclass(frozen=True, slots=True)
class Edge:
    """All servers of one bind address and port: one listener, one table."""

    bind: str
    port: int
    servers: tuple[BoundServer, ...]

    @property
    def table(self) -> str:
        """Istio's name of the route configuration."""
        return f"http.{self.port}.{self.bind}" if self.bind else f"http.{self.port}"

    @property
    def origins(self) -> tuple[Origin, ...]:
        """The servers' places."""
        return tuple(server.origin for server in self.servers)


def selected_edges(gateways: Iterable[ConfigObject], matched: frozenset[Labels]) -> tuple[Edge, ...]:
    """The edges that proxies with these matching selectors open, in order of bind and port."""
    groups: dict[tuple[str, int], list[BoundServer]] = {}
    for config in gateways:
        if isinstance(config.spec, Gateway) and labels_of(config.spec.selector) in matched:
            for server in bound_servers(config, config.spec):
                if server.spec.port is not None and protocol_of(server.spec.port.protocol).is_http:
                    bind = "" if server.spec.bind == ANY_ADDRESS else server.spec.bind
                    groups.setdefault((bind, server.spec.port.number), []).append(server)
    return tuple(Edge(bind, port, tuple(servers)) for (bind, port), servers in sorted(groups.items()))


def bound_servers(config: ConfigObject, gateway: Gateway) -> Iterator[BoundServer]:
    """The servers of one Gateway."""
    name = f"{config.key.namespace}/{config.key.name}"
    for index, server in enumerate(gateway.servers):
        yield BoundServer(name, config.key.namespace, server, config.origin_at(f"spec.servers[{index}]"))


def gateway_listeners(edges: Iterable[Edge], *, access_log: bool) -> tuple[ListenerView, ...]:
    """One listener per edge."""
    return tuple(
        ListenerView(
            kind=ListenerKind.GATEWAY,
            address=edge.bind or ANY_ADDRESS,
            port=edge.port,
            origins=edge.origins,
            table=edge.table,
            access_log=access_log,
        )
        for edge in edges
    )


@dataclass(frozen=True, slots=True)
class GatewayRouting:
    """What a class of gateways needs to make its tables."""

    rules: tuple[RoutingRule, ...]
    callees: Mapping[str, Callee]
    namespace: str
    matched: frozenset[Labels]
    memo: IdentityMemo[VirtualHostView]

    def table(self, edge: Edge) -> RouteTable:
        """The route table of ``edge``: a virtual host per host that a server and a VirtualService share."""
        vantage = Vantage(self.namespace, self.matched, frozenset(s.gateway for s in edge.servers), edge.port)
        speaking: dict[str, list[RoutingRule]] = {}
        for rule in self.rules:
            for host in sorted(set(shared_hosts(rule, edge, self.namespace)), key=specificity):
                speaking.setdefault(host, []).append(rule)
        hosts = [self._virtual_host(edge, vantage, host, tuple(rules)) for host, rules in speaking.items()]
        head = TableHead(edge.table, edge.origins)
        if not hosts:
            nothing = self.memo.get((edge.table, "blackhole", edge.origins), lambda: blackhole(edge))
            return RouteTable(head, (nothing,))
        return RouteTable(head, tuple(sorted(hosts, key=lambda h: h.name)))

    def _virtual_host(self, edge: Edge, vantage: Vantage, host: str, rules: tuple[RoutingRule, ...]) -> VirtualHostView:
        def make(*_: object) -> VirtualHostView:
            routes = [r for rule in rules for r in http_routes(rule, vantage, self.callees.get)]
            return VirtualHostView(
                table=edge.table,
                name=f"{host}:{edge.port}",
                domains=(host,),
                routes=catch_alls_last(routes),
                origins=tuple(rule.config.origin for rule in rules),
            )

        targets = [self.callees.get(name) for rule in rules for name in rule.targets]
        return self.memo.get((edge.table, host, vantage), make, *rules, *targets)


def shared_hosts(rule: RoutingRule, edge: Edge, namespace: str) -> Iterator[str]:
    """The hosts that a rule and the servers of an edge have in common: of each pair the narrower."""
    if not is_exported(rule.spec.export_to, rule.config.key.namespace, namespace):
        return
    for server in edge.servers:
        if server.gateway not in rule.gateways:
            continue
        for written in server.spec.hosts:
            owner, _, pattern = written.lower().rpartition("/")
            owner = server.namespace if owner == "." else owner
            if owner in ("", "*", rule.config.key.namespace):
                for host in rule.hosts:
                    if matches(pattern, host):
                        yield host
                    elif matches(host, pattern):
                        yield pattern


def catch_alls_last(routes: list[RouteView]) -> tuple[RouteView, ...]:
    """The routes in order, with those that every request matches behind the others; only the first of those counts."""
    catching = [r for r in routes if r.match.catches_all]
    return (*(r for r in routes if not r.match.catches_all), *catching[:1])


def blackhole(edge: Edge) -> VirtualHostView:
    """A virtual host without routes (404), so that a port without any VirtualService answers at all."""
    return VirtualHostView(edge.table, f"blackhole:{edge.port}", ("*",), (), edge.origins)

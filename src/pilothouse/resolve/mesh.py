"""World → MeshSnapshot, and MeshSnapshot × proxy → ProxyView: the order in which decisions are taken.

The Resolver remembers by identity, so that equal parts of successive rounds are the same objects; from nothing it
gives equal values (a property test holds it to that).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from pilothouse.config.analyze import analyze
from pilothouse.config.destinationrule import DestinationRule
from pilothouse.config.gateway import Gateway
from pilothouse.config.objects import ConfigKey, ConfigObject
from pilothouse.config.serviceentry import ServiceEntry
from pilothouse.kit.memo import IdentityMemo, reuse_tuple
from pilothouse.kit.problem import Problem
from pilothouse.model.labels import Labels, labels_of
from pilothouse.model.proxy import Proxy, Role, TcpBind, Workload
from pilothouse.model.world import MeshSettings, OutboundPolicy, World
from pilothouse.resolve.callees import Callee, Callees, cluster_name
from pilothouse.resolve.classify import ANY_NAMESPACE, Consulted, ProxyClass, classify
from pilothouse.resolve.gateways import Edge, GatewayRouting, gateway_listeners, selected_edges
from pilothouse.resolve.inbound import NOTHING_SERVED, ProxyPort, inbound_view, proxy_port, sidecar_listeners
from pilothouse.resolve.matching import MESH, Vantage
from pilothouse.resolve.outside import OutsideGuard, outside_guard
from pilothouse.resolve.routing import RoutingRule, RoutingRules, full_name, mesh_routing
from pilothouse.resolve.rules import RuleIndex, RuleMerge
from pilothouse.resolve.services import MeshService, ServiceIndex, ServiceMerge
from pilothouse.resolve.view import (
    AssignmentView,
    InboundView,
    ListenerView,
    OutboundView,
    OwnView,
    ProxyView,
    RouteTable,
    VirtualHostView,
)
from pilothouse.resolve.virtualhosts import Reach, proxy_table


@dataclass(frozen=True, slots=True, eq=False)
class MeshSnapshot:
    """The World after every merge and precedence. ``consulted`` says, per role, what a class is told apart by.

    ``problems`` are those found on the way here; what the sources found stays with them.
    """

    settings: MeshSettings
    services: ServiceIndex
    rules: RuleIndex
    routing: tuple[RoutingRule, ...]
    gateways: tuple[ConfigObject, ...]
    workloads: Mapping[str, Workload]
    consulted: Mapping[Role, Consulted]
    problems: tuple[Problem, ...]


@dataclass(slots=True)
class Resolver:
    """Takes the decisions, and remembers those of the last round. One per control plane."""

    _services: ServiceMerge = field(default_factory=ServiceMerge)
    _rules: RuleMerge = field(default_factory=RuleMerge)
    _routing: RoutingRules = field(default_factory=RoutingRules)
    _callees: Callees = field(default_factory=Callees)
    _hosts: IdentityMemo[VirtualHostView] = field(default_factory=IdentityMemo)
    _own: IdentityMemo[OwnView] = field(default_factory=IdentityMemo)
    _guards: IdentityMemo[OutsideGuard] = field(default_factory=IdentityMemo)
    _ports: IdentityMemo[ProxyPort] = field(default_factory=IdentityMemo)
    _findings: IdentityMemo[tuple[Problem, ...]] = field(default_factory=IdentityMemo)
    _inbound: IdentityMemo[InboundView] = field(default_factory=IdentityMemo)
    _classes: dict[ProxyClass, "ClassView"] = field(default_factory=dict)
    _mesh: MeshSnapshot | None = None
    _known_hosts: frozenset[str] = frozenset()
    _objects: tuple[ConfigObject, ...] = ()

    def resolve(self, world: World) -> MeshSnapshot:
        """The mesh snapshot of ``world``."""
        objects = self._objects = reuse_tuple(self._objects, ordered_objects(world))
        entries = [o for o in objects if isinstance(o.spec, ServiceEntry)]
        services = self._services.resolve_services(world.registries, entries)
        if self._known_hosts != services.by_host.keys():
            self._known_hosts = frozenset(services.by_host)
        exists = self._known_hosts.__contains__
        rules = self._rules.resolve_rules(
            (
                (full_name(o.spec.host, o.key.namespace, exists), o)
                for o in objects
                if isinstance(o.spec, DestinationRule)
            ),
            world.settings.root_namespace,
        )
        routing = self._routing.resolve_routing(objects, exists)
        gateways = tuple(o for o in objects if isinstance(o.spec, Gateway))
        findings = self._findings.get("findings", analyze, objects, self._known_hosts)
        self._callees.connect_timeout_ms = world.settings.connect_timeout_ms
        self._mesh = MeshSnapshot(
            settings=world.settings,
            services=services,
            rules=rules,
            routing=routing,
            gateways=gateways,
            workloads=world.workloads,
            consulted=consulted_by_role(services, objects, world.settings),
            problems=(*services.problems, *rules.problems, *findings),
        )
        self._sweep()
        return self._mesh

    def _sweep(self) -> None:
        """A new round begins: what the last one did not ask for is forgotten, classes are made anew."""
        self._callees.sweep()
        self._hosts.sweep()
        self._own.sweep()
        self._guards.sweep()
        self._ports.sweep()
        self._inbound.sweep()
        self._classes = {key: view.stale() for key, view in self._classes.items() if not view.unused}

    def view(self, mesh: MeshSnapshot, proxy: Proxy) -> ProxyView:
        """What ``proxy`` gets. Its outbound part is its class's, made once per round."""
        cls = classify(proxy, mesh.consulted[proxy.role])
        known = self._classes.get(cls)
        if known is None or known.mesh is not mesh:
            known = self._classes[cls] = self._class_view(mesh, cls, known)
        workload = mesh.workloads.get(proxy.workload_id)
        inbound = self._inbound_of(workload) if proxy.role is Role.SIDECAR else NOTHING_SERVED
        if proxy.role is Role.GATEWAY:
            return ProxyView(known.outbound, inbound, self._own.get(proxy.id, OwnView, known.listeners))
        port, tcp = self._port_of(proxy, cls, mesh.settings), known.tcp_targets(proxy)

        def own_view(*_: object) -> OwnView:
            return OwnView(sidecar_listeners(proxy, workload, inbound, port, tcp))

        return ProxyView(
            known.outbound, inbound, self._own.get((proxy.id, tcp), own_view, proxy, workload, inbound, port)
        )

    def _port_of(self, proxy: Proxy, cls: ProxyClass, settings: MeshSettings) -> ProxyPort:
        guard = self._guards.get(proxy.id, outside_guard, proxy) if cls.outside else None

        def decided() -> ProxyPort:
            return proxy_port(guard, tunnels=cls.tunnels, access_log=settings.access_log)

        return self._ports.get((guard, cls.tunnels, settings.access_log), decided)

    def _inbound_of(self, workload: Workload | None) -> InboundView:
        if workload is None:
            return NOTHING_SERVED
        view = inbound_view(workload)
        return self._inbound.get(view.served, lambda: view)

    def _class_view(self, mesh: MeshSnapshot, cls: ProxyClass, last: "ClassView | None") -> "ClassView":
        seen = self._visible(mesh, cls.namespace)
        callees = {host: callee for host, (_, callee) in seen.items()}
        if cls.role is Role.GATEWAY:
            edges = selected_edges(mesh.gateways, cls.matched)
            routing = GatewayRouting(mesh.routing, callees, cls.namespace, cls.matched, self._hosts)
            tables = tuple(routing.table(edge) for edge in edges)
            reach = Reach(tunnels=False, outside=False)
            listeners = self._edge_listeners(edges, mesh, last)
        else:
            reach = Reach(tunnels=cls.tunnels, outside=cls.outside)
            tables = (self._proxy_table(mesh, cls, callees, reach),)
            listeners = ()
        clusters = tuple(cluster for callee in callees.values() for cluster in callee.clusters)
        assignments: tuple[AssignmentView, ...] = tuple(
            a for found, callee in seen.values() for a in self._callees.resolve_assignments(callee, found.endpoints)
        )
        outbound = OutboundView(clusters, assignments, tables, reach.built_in)
        return ClassView(mesh, reuse_outbound(last, outbound), listeners)

    def _visible(self, mesh: MeshSnapshot, namespace: str) -> dict[str, tuple[MeshService, Callee]]:
        """Each service that clients in ``namespace`` see, with its callee, in order of host."""
        seen = {}
        for host in mesh.services.by_host:
            found = mesh.services.visible(host, namespace)
            if found is not None:
                rule = mesh.rules.effective(host, found.service.namespace, namespace)
                seen[host] = (found, self._callees.resolve_callee(found, rule))
        return seen

    def _proxy_table(
        self, mesh: MeshSnapshot, cls: ProxyClass, callees: Mapping[str, Callee], reach: Reach
    ) -> RouteTable:
        def vantage_of(port: int) -> Vantage:
            return Vantage(cls.namespace, cls.matched, frozenset((MESH,)), port)

        return proxy_table(callees, mesh_routing(mesh.routing, cls.namespace), vantage_of, self._hosts, reach)

    def _edge_listeners(
        self, edges: tuple[Edge, ...], mesh: MeshSnapshot, last: "ClassView | None"
    ) -> tuple[ListenerView, ...]:
        listeners = gateway_listeners(edges, access_log=mesh.settings.access_log)
        return last.listeners if last is not None and last.listeners == listeners else listeners


@dataclass(slots=True, eq=False)
class ClassView:
    """What a class got in one round, kept for the next to share with."""

    mesh: MeshSnapshot | None
    outbound: OutboundView
    listeners: tuple[ListenerView, ...]
    unused: bool = False

    def tcp_targets(self, proxy: Proxy) -> tuple[tuple[TcpBind, str], ...]:
        """The TCP listeners that ``proxy`` asks for, each with its cluster; without those that have none (yet)."""
        if not proxy.tcp:
            return ()
        known = {cluster.name for cluster in self.outbound.clusters}
        targets = ((bind, cluster_name(bind.port, "", bind.host)) for bind in proxy.tcp)
        return tuple((bind, cluster) for bind, cluster in targets if cluster in known)

    def stale(self) -> "ClassView":
        """The same, due to be made anew; forgotten if it is stale already."""
        return ClassView(None, self.outbound, self.listeners, unused=self.mesh is None)


def reuse_outbound(last: ClassView | None, new: OutboundView) -> OutboundView:
    """The last view where ``new`` holds the very same parts."""
    if last is None:
        return new
    old = last.outbound
    known = {t.head: t for t in old.tables}
    tables = reuse_tuple(old.tables, tuple(reuse_table(known.get(t.head), t) for t in new.tables))
    clusters = reuse_tuple(old.clusters, new.clusters)
    assignments = reuse_tuple(old.assignments, new.assignments)
    same = tables is old.tables and clusters is old.clusters and assignments is old.assignments
    if same and old.built_in == new.built_in:
        return old
    return OutboundView(clusters, assignments, tables, new.built_in)


def reuse_table(old: RouteTable | None, new: RouteTable) -> RouteTable:
    """The old table where the new one holds the same virtual hosts; otherwise the new one, with the old head."""
    if old is None:
        return new
    hosts = reuse_tuple(old.hosts, new.hosts)
    return old if hosts is old.hosts else RouteTable(old.head, hosts)


def ordered_objects(world: World) -> tuple[ConfigObject, ...]:
    """All objects, oldest first, then by name and namespace. Of one key the first source by name counts."""
    found: dict[ConfigKey, ConfigObject] = {}
    for source in sorted(world.configs):
        for config in world.configs[source].objects:
            if isinstance(config, ConfigObject):
                found.setdefault(config.key, config)
    return tuple(sorted(found.values(), key=lambda o: (o.created, o.key.name, o.key.namespace, o.key.kind)))


def consulted_by_role(
    services: ServiceIndex, objects: Iterable[ConfigObject], settings: MeshSettings
) -> dict[Role, Consulted]:
    """What tells classes apart: sourceLabels, namespaces and policy, and for gateways the selectors of Gateways."""
    source_labels: set[Labels] = set()
    gateway_selectors: set[Labels] = set()
    namespaces = set(namespaces_of_services(services))
    for config in objects:
        spec = config.spec
        if isinstance(spec, Gateway):
            gateway_selectors.add(labels_of(spec.selector))
            continue
        export_to = spec.export_to
        namespaces.update(config.key.namespace if e == "." else e for e in export_to if e not in ("*", "~"))
        if isinstance(spec, DestinationRule):
            namespaces.add(config.key.namespace)
        elif not isinstance(spec, ServiceEntry):
            for match in (m for http in spec.http for m in http.match):
                source_labels.add(labels_of(match.source_labels))
                namespaces.add(match.source_namespace)
    known = frozenset(namespaces - {ANY_NAMESPACE})
    return {
        Role.SIDECAR: Consulted(
            tuple(sorted(source_labels - {()})), known, outside=settings.outbound is OutboundPolicy.ALLOW_ANY
        ),
        Role.GATEWAY: Consulted(tuple(sorted(gateway_selectors | (source_labels - {()}))), known),
    }


def namespaces_of_services(services: ServiceIndex) -> Iterable[str]:
    """Namespaces that decide which service a client sees."""
    for found in services.by_host.values():
        for one in found:
            yield from (one.service.namespace if e == "." else e for e in one.service.export_to if e not in ("*", "~"))
            if len(found) > 1:
                yield one.service.namespace

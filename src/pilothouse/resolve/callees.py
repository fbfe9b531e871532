"""Callees: a service together with the rule that its clients keep to, and the clusters that come of the two.

What routes point at. A callee is remembered by service and rule, so classes that see the same of both share it.
"""

from dataclasses import dataclass, field, replace
from typing import Final, TypeAlias

from msgspec import structs

from pilothouse.kit.memo import IdentityMemo, reuse
from pilothouse.kit.origin import Origin
from pilothouse.model.labels import Labels, labels_of, selects
from pilothouse.model.service import Endpoint, Health, Port, Resolution, Service
from pilothouse.resolve.rules import MergedRule, NamedSubset
from pilothouse.resolve.services import MeshService
from pilothouse.resolve.traffic import effective_parts, traffic_policy
from pilothouse.resolve.view import AssignmentView, ClusterView, Discovery

MOST_WEIGHT: Final = 2**32 - 1
"""What the weights of one assignment may add up to."""

_DISCOVERY = {
    Resolution.STATIC: Discovery.EDS,
    Resolution.NONE: Discovery.EDS,
    Resolution.DNS: Discovery.STRICT_DNS,
    Resolution.DNS_ROUND_ROBIN: Discovery.LOGICAL_DNS,
}


@dataclass(frozen=True, slots=True, eq=False)
class Callee:
    """One service as some clients see it: ports, subsets, clusters. Endpoints are looked up apart from it."""

    service: Service
    rule: MergedRule | None
    clusters: tuple[ClusterView, ...]

    @property
    def subsets(self) -> frozenset[str]:
        """The names of the subsets that exist."""
        return frozenset(s.spec.name for s in self.rule.subsets) if self.rule is not None else frozenset()

    def cluster(self, port: int, subset: str) -> ClusterView | None:
        """The cluster of a port and subset, if it exists."""
        name = cluster_name(port, subset, self.service.host)
        return next((c for c in self.clusters if c.name == name), None)


Slot: TypeAlias = tuple[str, str, Labels]
"""What a load assignment depends on beside the endpoints: cluster name, namespace, and the subset's labels."""


@dataclass(slots=True)
class Callees:
    """Makes callees and load assignments, and remembers them."""

    connect_timeout_ms: int = 10_000
    _callees: IdentityMemo[Callee] = field(default_factory=IdentityMemo)
    _dns: IdentityMemo[Callee] = field(default_factory=IdentityMemo)
    _assignments: dict[Slot, tuple[tuple[Endpoint, ...], AssignmentView]] = field(default_factory=dict)
    _used: set[Slot] = field(default_factory=set)

    def resolve_callee(self, found: MeshService, rule: MergedRule | None) -> Callee:
        """The callee of a service under a rule. A DNS service carries its endpoints inside its clusters."""
        slot = (found.key, None if rule is None else rule.keys)
        if found.service.resolution in (Resolution.DNS, Resolution.DNS_ROUND_ROBIN):
            return self._dns.get(slot, self._callee, found.service, rule, found.endpoints)
        return self._callees.get(slot, self._callee, found.service, rule)

    def _callee(self, service: Service, rule: MergedRule | None, endpoints: tuple[Endpoint, ...] = ()) -> Callee:
        clusters = tuple(
            cluster_view(service, rule, port, subset, self.connect_timeout_ms, endpoints)
            for port in service.ports
            for subset in (None, *(rule.subsets if rule is not None else ()))
        )
        usable = tuple(c for c in clusters if c.discovery is Discovery.EDS or c.endpoints)
        return Callee(service, rule, usable)

    def resolve_assignments(self, callee: Callee, endpoints: tuple[Endpoint, ...]) -> tuple[AssignmentView, ...]:
        """The load assignment of each EDS cluster of ``callee``.

        A subset whose members did not change keeps its old view, so that only what changed is compiled; the rule's
        policy plays no part in it.
        """
        return tuple(
            self._assignment(cluster, callee.service.namespace, endpoints)
            for cluster in callee.clusters
            if cluster.discovery is Discovery.EDS
        )

    def _assignment(self, cluster: ClusterView, namespace: str, endpoints: tuple[Endpoint, ...]) -> AssignmentView:
        slot = (cluster.name, namespace, cluster.members)
        self._used.add(slot)
        known = self._assignments.get(slot)
        if known is not None and known[0] is endpoints:
            return known[1]
        view = AssignmentView(cluster.name, members(cluster, endpoints))
        view = reuse(known[1] if known is not None else None, view)
        self._assignments[slot] = (endpoints, view)
        return view

    def sweep(self) -> None:
        """Forget what the last round did not ask for."""
        self._callees.sweep()
        self._dns.sweep()
        if len(self._used) < len(self._assignments):
            self._assignments = {slot: self._assignments[slot] for slot in self._used}
        self._used = set()


def cluster_name(port: int, subset: str, host: str) -> str:
    """Istio's name of an outbound cluster."""
    return f"outbound|{port}|{subset}|{host}"


def cluster_view(
    service: Service,
    rule: MergedRule | None,
    port: Port,
    subset: NamedSubset | None,
    connect_timeout_ms: int,
    endpoints: tuple[Endpoint, ...],
) -> ClusterView:
    """The cluster of one port of the whole service, or of one subset."""
    policy = rule.policy if rule is not None else None
    own = subset.spec.traffic_policy if subset is not None else None
    name = subset.spec.name if subset is not None else ""
    view = ClusterView(
        name=cluster_name(port.number, name, service.host),
        host=service.host,
        namespace=service.namespace,
        discovery=_DISCOVERY[service.resolution],
        policy=traffic_policy(effective_parts(policy, own, port.number), port, connect_timeout_ms),
        origins=cluster_origins(service, rule, subset),
        subset=name,
        rule=rule.istio_name if rule is not None else "",
        external=service.location_external,
        port_name=port.name,
        members=labels_of(subset.spec.labels) if subset is not None else (),
    )
    if view.discovery is Discovery.EDS:
        return view
    return replace(view, endpoints=members(view, endpoints))


def cluster_origins(service: Service, rule: MergedRule | None, subset: NamedSubset | None) -> tuple[Origin, ...]:
    """Who made a cluster, most specific first: the subset, the rule, the service."""
    made_by: tuple[Origin, ...] = (service.origin,)
    if rule is not None:
        made_by = (rule.policy_origin, *made_by)
    if subset is not None:
        made_by = (subset.origin, *made_by)
    return made_by


def members(cluster: ClusterView, endpoints: tuple[Endpoint, ...]) -> tuple[Endpoint, ...]:
    """The endpoints of a cluster that may receive traffic, ordered by address and port."""
    chosen = (
        e
        for e in endpoints
        if e.service_port == cluster.port_name
        and e.health is not Health.UNHEALTHY
        and selects(cluster.members, e.labels)
    )
    return fitted(tuple(sorted(chosen, key=lambda e: (e.locality, e.address, e.port, e.workload_id))))


def fitted(endpoints: tuple[Endpoint, ...]) -> tuple[Endpoint, ...]:
    """The endpoints, with weights whose sum Envoy can hold: scaled down together where it could not."""
    total = sum(endpoint.weight for endpoint in endpoints)
    if total <= MOST_WEIGHT:
        return endpoints
    return tuple(structs.replace(e, weight=max(1, e.weight * MOST_WEIGHT // (2 * total))) for e in endpoints)

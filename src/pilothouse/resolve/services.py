"""Which services exist: registries and ServiceEntries merged into one index by host name.

The first decision of a round. Services of one host and namespace become one, with the endpoints of all; which
service a client sees, where several namespaces have the host, is decided by ``ServiceIndex.visible``.
Source: istio-behaviour §1.2, §1.3, §2.4.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from msgspec import structs

from pilothouse.config.objects import ConfigObject
from pilothouse.config.serviceentry import Location, ServiceEntry
from pilothouse.kit.codes import PORT_CONFLICT, RESOLUTION_CONFLICT
from pilothouse.kit.memo import IdentityMemo
from pilothouse.kit.problem import Problem
from pilothouse.model.labels import labels_of
from pilothouse.model.service import (
    Endpoint,
    Port,
    Resolution,
    Service,
    ServiceKey,
    locality_of,
    protocol_of,
)
from pilothouse.model.world import Registered


@dataclass(frozen=True, slots=True, eq=False)
class MeshService:
    """One service of the mesh: what it is, and apart from it who serves it now.

    ``endpoints`` of all sources, in a defined order. ``sources`` are the names of the sources that contributed.
    """

    service: Service
    endpoints: tuple[Endpoint, ...]

    @property
    def key(self) -> ServiceKey:
        """Namespace and host."""
        return ServiceKey(self.service.namespace, self.service.host)


@dataclass(frozen=True, slots=True, eq=False)
class ServiceIndex:
    """All services, by host name; services of one host are ordered oldest first, then by namespace."""

    by_host: Mapping[str, tuple[MeshService, ...]]
    problems: tuple[Problem, ...] = ()

    def visible(self, host: str, namespace: str) -> MeshService | None:
        """The service of ``host`` that a client in ``namespace`` sees: its own namespace's, otherwise the oldest."""
        seen = [
            s for s in self.by_host.get(host, ()) if is_exported(s.service.export_to, s.service.namespace, namespace)
        ]
        return min(seen, key=lambda s: s.service.namespace != namespace, default=None)

    def __iter__(self) -> Iterator[MeshService]:
        for host in self.by_host:
            yield from self.by_host[host]


def is_exported(export_to: tuple[str, ...], owner: str, client: str) -> bool:
    """Whether an object of namespace ``owner`` is visible to a client in namespace ``client``."""
    if export_to in ((), ("*",)):
        return True
    return any(e in ("*", client) or (e == "." and owner == client) for e in export_to)


@dataclass(slots=True)
class ServiceMerge:
    """Collects the services of all sources in a fixed order; remembers converted ServiceEntries and merged services."""

    memo: IdentityMemo[tuple[tuple[Service, tuple[Endpoint, ...]], ...]] = field(default_factory=IdentityMemo)
    merged: IdentityMemo[MeshService] = field(default_factory=IdentityMemo)

    def resolve_services(self, registries: Mapping[str, Registered], entries: Iterable[ConfigObject]) -> ServiceIndex:
        """The index of all services. Sources are taken by name, ServiceEntries after registries, oldest first."""
        parts: dict[ServiceKey, list[tuple[Service, tuple[Endpoint, ...]]]] = {}
        for source in sorted(registries):
            registered = registries[source]
            for key in sorted(registered.services):
                pair = (registered.services[key], registered.endpoints.get(key, ()))
                parts.setdefault(key, []).append(pair)
        for entry in entries:
            for service, endpoints in self.memo.get(entry.key, decode_entry, entry):
                parts.setdefault(ServiceKey(service.namespace, service.host), []).append((service, endpoints))
        problems: list[Problem] = []
        by_host: dict[str, list[MeshService]] = {}
        for key in sorted(parts):
            arguments = tuple(part for pair in parts[key] for part in pair)
            by_host.setdefault(key.host, []).append(self.merged.get(key, merge_service, *arguments))
            problems += conflicts(parts[key])
        self.memo.sweep()
        self.merged.sweep()
        ordered = {h: tuple(sorted(by_host[h], key=age)) for h in sorted(by_host)}
        return ServiceIndex(ordered, tuple(problems))


def age(service: MeshService) -> tuple[str, str]:
    """Sort key: oldest first, then by namespace."""
    return (service.service.created, service.service.namespace)


def merge_service(*parts: object) -> MeshService:
    """One service from alternating services and endpoint sets: the first describes it, all that may serve it do.

    Ports are united by number; where sources disagree, the first wins (``conflicts`` says so).
    """
    services = [p for p in parts if isinstance(p, Service)]
    endpoints = [p for p in parts if isinstance(p, tuple)]
    first = services[0]
    if len(services) == 1:
        return MeshService(first, endpoints[0])
    ports = united_ports(services)
    united = tuple(ports[number] for number in sorted(ports))
    everyone = tuple(
        structs.replace(endpoint, service_port=names.get(endpoint.service_port, endpoint.service_port))
        for service, group in zip(services, endpoints, strict=True)
        if serves_with(first, service)
        for names in ({p.name: ports[p.number].name for p in service.ports},)
        for endpoint in group
    )
    same = united == first.ports
    return MeshService(first if same else structs.replace(first, ports=united), everyone)


def united_ports(services: Iterable[Service]) -> dict[int, Port]:
    """The ports of all, by number. A later one whose name another number has already is named apart."""
    ports: dict[int, Port] = {}
    taken: set[str] = set()
    for port in (port for service in services for port in service.ports):
        if port.number not in ports:
            known = structs.replace(port, name=f"{port.name}-{port.number}") if port.name in taken else port
            ports[port.number] = known
            taken.add(known.name)
    return ports


def serves_with(first: Service, other: Service) -> bool:
    """Whether the endpoints of ``other`` serve beside those of ``first``.

    A cluster finds its endpoints in one way: names among addresses, or a second name in a round-robin record, would be
    refused by Envoy.
    """
    return other is first or (other.resolution is first.resolution is not Resolution.DNS_ROUND_ROBIN)


def conflicts(parts: list[tuple[Service, tuple[Endpoint, ...]]]) -> list[Problem]:
    """A Problem for each source that describes a service otherwise than the first: its resolution, or a port."""
    first = parts[0][0]
    problems = [
        Problem(
            RESOLUTION_CONFLICT,
            "",
            f"{service.host} has the resolution {service.resolution} here and {first.resolution} at {first.origin}, "
            "which counts, so the endpoints given here are left out",
            service.origin,
        )
        for service, _ in parts
        if not serves_with(first, service)
    ]
    return problems + port_conflicts(parts)


def port_conflicts(parts: list[tuple[Service, tuple[Endpoint, ...]]]) -> list[Problem]:
    """A Problem for each port whose protocol two sources declare differently."""
    first: dict[int, tuple[Port, Service]] = {}
    problems = []
    for service, _ in parts:
        for port in service.ports:
            held, owner = first.setdefault(port.number, (port, service))
            if held.protocol is not port.protocol:
                message = (
                    f"port {port.number} of {service.host} is {port.protocol or 'unnamed'} here"
                    f" and {held.protocol or 'unnamed'} at {owner.origin}, which counts"
                )
                problems.append(Problem(PORT_CONFLICT, "", message, service.origin))
    return problems


def decode_entry(entry: ConfigObject) -> tuple[tuple[Service, tuple[Endpoint, ...]], ...]:
    """The services (one per host) and endpoints that a ServiceEntry declares."""
    spec = entry.spec
    if not isinstance(spec, ServiceEntry):
        return ()
    ports = tuple(Port(p.number, p.name, protocol_of(p.protocol or "")) for p in spec.ports)
    endpoints = entry_endpoints(entry, spec)
    resolution = Resolution(spec.resolution.value)
    return tuple(
        (
            Service(
                host=host.lower(),
                namespace=entry.key.namespace,
                ports=ports,
                origin=entry.origin,
                resolution=resolution,
                location_external=spec.location is Location.MESH_EXTERNAL,
                addresses=tuple(a for a in spec.addresses if "/" not in a),
                export_to=spec.export_to or ("*",),
                subject_alt_names=spec.subject_alt_names,
                created=entry.created,
            ),
            endpoints or own_name(entry, spec, host),
        )
        for host in spec.hosts
    )


def entry_endpoints(entry: ConfigObject, spec: ServiceEntry) -> tuple[Endpoint, ...]:
    """One endpoint per declared endpoint and port."""
    return tuple(
        Endpoint(
            address=declared.address,
            port=declared.ports.get(port.name) or port.target_port or port.number,
            service_port=port.name,
            origin=entry.origin_at(f"spec.endpoints[{index}]"),
            labels=labels_of(declared.labels),
            locality=locality_of(declared.locality),
            weight=declared.weight or 1,
            service_account=declared.service_account,
            network=declared.network,
        )
        for index, declared in enumerate(spec.endpoints)
        for port in spec.ports
    )


def own_name(entry: ConfigObject, spec: ServiceEntry, host: str) -> tuple[Endpoint, ...]:
    """A DNS service without endpoints resolves its own host name."""
    if spec.resolution.value not in (Resolution.DNS, Resolution.DNS_ROUND_ROBIN):
        return ()
    return tuple(Endpoint(host, port.target_port or port.number, port.name, entry.origin) for port in spec.ports)

"""Small worlds for tests: services, workloads, proxies and Istio's YAML, and the one function that compiles them.

Every test compiles through ``compile_snapshots`` (or its short form), which records what it made; the last test of a
session shows all of it to a real Envoy (``tests/envoy/test_validate.py``).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b

from pilothouse.compiler.mesh import MeshCompiler
from pilothouse.config.decode import decode_documents
from pilothouse.kit.digest import digest
from pilothouse.kit.origin import RegistryOrigin
from pilothouse.model.labels import labels_of
from pilothouse.model.proxy import CaptureMode, InboundPort, Proxy, Role, TcpBind, Workload
from pilothouse.model.service import Endpoint, Health, Locality, Port, Protocol, Service, ServiceDelta, ServiceKey
from pilothouse.model.world import ConfigDelta, Delta, MeshSettings, WorkloadDelta, World, fold
from pilothouse.simulate.request import Request, request_for
from pilothouse.simulate.verdict import Verdict
from pilothouse.simulate.walk import simulate_request
from pilothouse.xds.resource import Snapshot

PROXY_PORT = 15001
HTTP = Port(9080, "http")


@dataclass(frozen=True)
class ServiceBuilder:
    """A service of a registry, under construction. ``service`` and ``endpoints`` are what the registry would report."""

    service: Service
    endpoints: tuple[Endpoint, ...] = ()
    registry: str = "embedded"

    @property
    def key(self) -> ServiceKey:
        return ServiceKey(self.service.namespace, self.service.host)

    def with_ports(self, *ports: Port) -> "ServiceBuilder":
        return replace(self, service=replace_struct(self.service, ports=ports))

    def exported_to(self, *namespaces: str) -> "ServiceBuilder":
        return replace(self, service=replace_struct(self.service, export_to=namespaces))

    def with_addresses(self, *addresses: str) -> "ServiceBuilder":
        return replace(self, service=replace_struct(self.service, addresses=addresses))

    def created(self, when: str) -> "ServiceBuilder":
        return replace(self, service=replace_struct(self.service, created=when))

    def with_endpoints(self, *versions: str, **common: str) -> "ServiceBuilder":
        """One instance per word, each labelled with it as its ``version`` and serving every port of the service."""
        for version in versions:
            self = self.with_endpoint({"version": version, **common})
        return self

    def with_endpoint(
        self,
        labels: Mapping[str, str],
        *,
        address: str = "",
        locality: str = "",
        weight: int = 1,
        health: Health = Health.HEALTHY,
    ) -> "ServiceBuilder":
        """One instance; its address is made up unless given."""
        number = len({e.address for e in self.endpoints}) + 1
        where = address or f"10.{network_of(self.service.host)}.{number}"
        region, zone, subzone, *_ = (*locality.split("/"), "", "", "")
        new = tuple(
            Endpoint(
                address=where,
                port=port.number + 10_000,
                service_port=port.name,
                origin=RegistryOrigin(self.registry, self.service.host, where),
                labels=labels_of(labels),
                locality=Locality(region, zone, subzone),
                weight=weight,
                health=health,
                workload_id=f"{self.service.namespace}/{where}",
            )
            for port in self.service.ports
        )
        return replace(self, endpoints=(*self.endpoints, *new))


def a_service(name: str, namespace: str = "default", registry: str = "embedded") -> ServiceBuilder:
    """A service with one HTTP port, 9080. A name without a dot lies below ``service.mesh``."""
    host = name if "." in name else f"{name}.service.mesh"
    return ServiceBuilder(Service(host, namespace, (HTTP,), RegistryOrigin(registry, host)), registry=registry)


def network_of(host: str) -> str:
    """Two bytes of an address that are the same in every run."""
    first, second = blake2b(host.encode(), digest_size=2).digest()
    return f"{first}.{second}"


def replace_struct(service: Service, **changes: object) -> Service:
    known = {name: getattr(service, name) for name in service.__struct_fields__}
    return Service(**{**known, **changes})


def a_sidecar(
    name: str, namespace: str = "default", *, bind: str = "127.0.0.1", tcp: tuple[TcpBind, ...] = (), **labels: str
) -> Proxy:
    """A sidecar of our agent: its app uses it as HTTP proxy on ``bind``:15001."""
    return Proxy(
        id=f"sidecar~127.0.0.1~{name}.{namespace}~{namespace}.mesh",
        role=Role.SIDECAR,
        name=name,
        namespace=namespace,
        address="127.0.0.1",
        labels=labels_of({"app": name} | labels),
        capture=CaptureMode.NONE,
        workload_id=f"{namespace}/{name}",
        http_proxy_address=bind,
        http_proxy_port=PROXY_PORT,
        tcp=tcp,
        tunnels=True,
        envoy_version="1.40.0",
    )


def a_gateway(name: str = "ingressgateway", namespace: str = "default", **labels: str) -> Proxy:
    """A gateway; its label ``istio`` is its name."""
    return Proxy(
        id=f"router~127.0.0.2~{name}.{namespace}~{namespace}.mesh",
        role=Role.GATEWAY,
        name=name,
        namespace=namespace,
        address="127.0.0.2",
        labels=labels_of({"istio": name, **labels}),
        capture=CaptureMode.NONE,
    )


def a_workload(name: str, *served: tuple[str, int], namespace: str = "default", address: str = "127.0.1.1") -> Workload:
    """What the agent beside ``name`` registered: the hosts and ports that it serves."""
    ports = tuple(
        InboundPort(host if "." in host else f"{host}.service.mesh", port, port + 10_000, port + 20_000)
        for host, port in served
    )
    return Workload(f"{namespace}/{name}", namespace, address, ports)


def a_port(number: int, protocol: Protocol = Protocol.HTTP, name: str = "") -> Port:
    return Port(number, name or f"{protocol.value.lower()}-{number}", protocol)


def services_of(*services: ServiceBuilder) -> tuple[ServiceDelta, ...]:
    """One complete delta per registry."""
    registries = dict.fromkeys(s.registry for s in services)
    return tuple(
        ServiceDelta(
            registry,
            tuple(s.service for s in services if s.registry == registry),
            tuple((s.key, s.endpoints) for s in services if s.registry == registry),
            complete=True,
        )
        for registry in registries
    )


def objects_of(text: str, source: str = "files", path: str = "input.yaml") -> ConfigDelta:
    """What a file source reports for ``text``, with the Problems."""
    decoded = decode_documents(text, path)
    return ConfigDelta(source, decoded.objects, decoded.problems)


def world_of(
    text: str = "",
    *services: ServiceBuilder,
    workloads: Iterable[Workload] = (),
    settings: MeshSettings | None = None,
) -> World:
    """The world of these services, workloads and objects. Refuses a text with errors: they would be left out."""
    delta = objects_of(text)
    errors = [str(problem) for problem in delta.problems if problem.is_error]
    assert not errors, "\n".join(errors)
    batch: tuple[Delta, ...] = (*services_of(*services), delta, WorkloadDelta(tuple(workloads)))
    return fold(World(settings=settings or MeshSettings()), batch)


@dataclass
class Recorder:
    """Every distinct snapshot that was compiled in this session, by its content."""

    seen: dict[str, Snapshot] = field(default_factory=dict)
    known: set[int] = field(default_factory=set)
    kept: list[Snapshot] = field(default_factory=list)

    def record(self, snapshot: Snapshot) -> None:
        if id(snapshot) in self.known:
            return
        self.known.add(id(snapshot))
        self.kept.append(snapshot)
        self.seen.setdefault(content_of(snapshot), snapshot)


RECORDED = Recorder()


def content_of(snapshot: Snapshot) -> str:
    """A digest of everything that a proxy would hold."""
    lines = sorted(f"{kind} {r.name} {r.version}" for kind in snapshot.layers for r in snapshot.resources(kind))
    return digest("\n".join(lines).encode())


def compile_snapshots(
    world: World, proxies: Sequence[Proxy], compiler: MeshCompiler | None = None
) -> tuple[Snapshot, ...]:
    """One round: the snapshot of each proxy. Records them. A given ``compiler`` keeps its memory between rounds."""
    compiler = compiler or MeshCompiler()
    mesh = compiler.resolve(world)
    snapshots = tuple(compiler.snapshot(mesh, proxy) for proxy in proxies)
    for snapshot in snapshots:
        RECORDED.record(snapshot)
    return snapshots


def compile_snapshot(world: World, proxy: Proxy, compiler: MeshCompiler | None = None) -> Snapshot:
    """One round for one proxy."""
    return compile_snapshots(world, (proxy,), compiler)[0]


def ask(snapshot: Snapshot, request: Request | str, at: tuple[str, int] = ("127.0.0.1", PROXY_PORT)) -> Verdict:
    """What becomes of a request (or of a GET for a URL) at a listener, by default the app's HTTP proxy."""
    return simulate_request(snapshot, request_for(request) if isinstance(request, str) else request, at)

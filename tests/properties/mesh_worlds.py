"""Random worlds and what happens to them: services, endpoints and objects that come, change and go.

Few names and few values, so that they meet: the same host from two sources, rules for hosts that are gone, gateways
that share a port. Every object is valid by itself; what they make of each other is the compiler's business.
"""

from dataclasses import dataclass, field

from hypothesis import strategies as st

from pilothouse.model.proxy import Proxy
from pilothouse.model.service import Port, Protocol, ServiceDelta
from pilothouse.model.world import ConfigDelta, Delta, WorkloadDelta
from tests.worlds import HTTP, ServiceBuilder, a_gateway, a_port, a_service, a_sidecar, a_workload, objects_of

NAMES = ("reviews", "ratings", "stock")
NAMESPACES = ("default", "shop")
REGISTRIES = ("consul", "embedded")
HOSTS = (
    "reviews.service.mesh",
    "reviews",
    "ratings.service.mesh",
    "files.example.com",
    "*.service.mesh",
    "nowhere.mesh",
)
PORTS: tuple[tuple[Port, ...], ...] = (
    (HTTP,),
    (HTTP, a_port(80)),
    (a_port(80, name="http"),),
    (HTTP, a_port(7070, Protocol.GRPC), a_port(27017, Protocol.MONGO)),
)
VERSIONS = ("v1", "v2", "v3")
PROXIES: tuple[Proxy, ...] = (
    a_sidecar("productpage"),
    a_sidecar("gold", tier="gold"),
    a_sidecar("cart", namespace="shop"),
    a_gateway(),
    a_gateway("second", tier="gold"),
)
HEADER = (
    "apiVersion: networking.istio.io/v1\nkind: {kind}\nmetadata: {{name: {name}, namespace: {namespace}{created}}}\n"
)
CREATED = ("", ', creationTimestamp: "2024-01-01T00:00:00Z"', ', creationTimestamp: "2024-02-01T00:00:00Z"')

POLICIES = (
    "{loadBalancer: {simple: RANDOM}}",
    "{connectionPool: {tcp: {maxConnections: 7}, http: {h2UpgradePolicy: UPGRADE}}}",
    "{outlierDetection: {consecutive5xxErrors: 1}}",
    "{loadBalancer: {consistentHash: {httpHeaderName: x-user}}}",
    "{portLevelSettings: [{port: {number: 80}, loadBalancer: {simple: ROUND_ROBIN}}]}",
    "{loadBalancer: {consistentHash: {httpCookie: {name: c, ttl: 0s}, maglev: {tableSize: 65537}}}}",
    "{loadBalancer: {simple: ROUND_ROBIN, warmup: {duration: 10s}}}",
)
MATCHES = (
    "",
    "match: [{uri: {prefix: /a}}], ",
    "match: [{sourceLabels: {tier: gold}}], ",
    "match: [{sourceNamespace: shop}], ",
    "match: [{port: 80}, {headers: {x: {exact: '1'}}}], ",
    "match: [{gateways: [default/edge]}, {uri: {exact: /b}}], ",
)
EXTRAS = (
    "",
    ", timeout: 2s",
    ", retries: {attempts: 2, retryOn: '5xx,503', retryRemoteLocalities: true}",
    ", fault: {abort: {grpcStatus: UNAVAILABLE, percentage: {value: 0.5}}}",
    ", headers: {request: {set: {host: b.example.com, x: '1'}, remove: [y]}, response: {add: {z: '2'}}}",
    ", rewrite: {uri: /new/, authority: c.example.com}",
)
EXPORTS = ("", 'exportTo: ["."]\n', "exportTo: [shop]\n")


def indented(text: str) -> str:
    return "".join(f"  {line}\n" for line in text.splitlines())


def document(kind: str, name: str, namespace: str, created: str, spec: str) -> str:
    head = HEADER.format(kind=kind, name=name, namespace=namespace, created=created)
    return f"{head}spec:\n{indented(spec)}"


@st.composite
def destination_rules(draw: st.DrawFn, name: str, namespace: str) -> str:
    subsets = draw(st.lists(st.sampled_from(VERSIONS[:2]), unique=True, max_size=2))
    chosen = [(name, draw(st.sampled_from((name, "v3")))) for name in subsets]
    listed = "".join(f"- {{name: {name}, labels: {{version: {version}}}}}\n" for name, version in chosen)
    spec = f"host: '{draw(st.sampled_from(HOSTS))}'\n{draw(st.sampled_from(EXPORTS))}"
    spec += f"trafficPolicy: {draw(st.sampled_from(POLICIES))}\n" + (f"subsets:\n{listed}" if listed else "")
    return document("DestinationRule", name, namespace, draw(st.sampled_from(CREATED)), spec)


@st.composite
def targets(draw: st.DrawFn) -> str:
    host = draw(st.sampled_from([h for h in HOSTS if "*" not in h]))
    subset = draw(st.sampled_from(("", ", subset: v1", ", subset: v2")))
    port = draw(st.sampled_from(("", "", ", port: {number: 9080}", ", port: {number: 80}")))
    return f"destination: {{host: {host}{subset}{port}}}"


@st.composite
def actions(draw: st.DrawFn) -> str:
    shares = draw(st.lists(targets(), min_size=0, max_size=3))
    if not shares:
        return "directResponse: {status: 418}"
    extra = draw(st.sampled_from(EXTRAS))
    if len(shares) == 1:
        return f"route: [{{{shares[0]}}}]{extra}"
    weighted = ", ".join(f"{{{share}, weight: {n * 10}}}" for n, share in enumerate(shares, 1))
    return f"route: [{weighted}]{extra}"


@st.composite
def virtual_services(draw: st.DrawFn, name: str, namespace: str) -> str:
    hosts = [draw(st.sampled_from(HOSTS)), *draw(st.sampled_from(((), ("shop.example.com",), ("Shop.Example.com",))))]
    routes = draw(st.lists(st.tuples(st.sampled_from(MATCHES), actions()), min_size=1, max_size=3))
    gateways = draw(st.sampled_from(("", "", "gateways: [default/edge]\n", "gateways: [default/edge, mesh]\n")))
    spec = f"hosts: {hosts}\n{gateways}{draw(st.sampled_from(EXPORTS))}http:\n"
    spec += "".join(f"- {{{match}{action}}}\n" for match, action in routes)
    return document("VirtualService", name, namespace, draw(st.sampled_from(CREATED)), spec)


@st.composite
def gateways(draw: st.DrawFn, name: str, namespace: str) -> str:
    hosts = draw(st.sampled_from(('["*"]', "[shop.example.com]", '["*.example.com", "*/reviews.service.mesh"]')))
    selector = draw(st.sampled_from(("{istio: ingressgateway}", "{tier: gold}", "{istio: nobody}")))
    ports = draw(st.lists(st.sampled_from((8080, 8081)), min_size=1, max_size=2, unique=True))
    bind = draw(st.sampled_from(("", "", "bind: 0.0.0.0, ", "bind: 127.0.0.1, ")))
    port = "- {{port: {{number: {0}, name: p{0}, protocol: HTTP}}, {1}hosts: {2}}}\n"
    servers = "".join(port.format(number, bind, hosts) for number in ports)
    spec = f"selector: {selector}\nservers:\n{servers}"
    return document("Gateway", name, namespace, draw(st.sampled_from(CREATED)), spec)


@st.composite
def service_entries(draw: st.DrawFn, name: str, namespace: str) -> str:
    host = draw(st.sampled_from(("files.example.com", "reviews.service.mesh")))
    static = "resolution: STATIC\nendpoints: [{address: 10.9.0.1, labels: {version: v1}}, {address: 10.9.0.2}]\n"
    dns = "resolution: DNS\nendpoints: [{address: eu.example.com, labels: {version: v1}}]\n"
    how = draw(st.sampled_from((static, dns, "resolution: DNS\n", "resolution: DNS_ROUND_ROBIN\n")))
    spec = f"hosts: [{host}]\n{how}{draw(st.sampled_from(EXPORTS))}"
    spec += "ports: [{number: 9080, name: web, protocol: HTTP}]\n"
    return document("ServiceEntry", name, namespace, draw(st.sampled_from(CREATED)), spec)


KINDS = (
    destination_rules,
    virtual_services,
    virtual_services,
    virtual_services,
    gateways,
    destination_rules,
    service_entries,
)


@dataclass(frozen=True)
class PutService:
    """A registry reports a service with its endpoints."""

    service: ServiceBuilder


@dataclass(frozen=True)
class PutEndpoints:
    """A registry reports the endpoints of a service that it may not have."""

    service: ServiceBuilder


@dataclass(frozen=True)
class DropService:
    """A registry loses a service."""

    service: ServiceBuilder


@dataclass(frozen=True)
class PutObject:
    """An object is written under a file name, or removed with no text."""

    file: str
    text: str


@dataclass(frozen=True)
class PutWorkload:
    """An agent registers what its workload serves, or leaves."""

    name: str
    ports: tuple[int, ...]


Change = PutService | PutEndpoints | DropService | PutObject | PutWorkload


@st.composite
def services(draw: st.DrawFn) -> ServiceBuilder:
    service = a_service(
        draw(st.sampled_from(NAMES)), draw(st.sampled_from(NAMESPACES)), draw(st.sampled_from(REGISTRIES))
    )
    service = service.with_ports(*draw(st.sampled_from(PORTS)))
    if draw(st.booleans()):
        service = service.exported_to(".")
    return service.with_endpoints(*draw(st.lists(st.sampled_from(VERSIONS), max_size=3)))


@st.composite
def objects(draw: st.DrawFn) -> PutObject:
    number, made = draw(st.sampled_from(tuple(enumerate(KINDS))))
    name, namespace = draw(st.sampled_from(("edge", "two"))), draw(st.sampled_from(NAMESPACES))
    gone = draw(st.integers(0, 5)) == 5
    return PutObject(f"{number}-{namespace}-{name}.yaml", "" if gone else draw(made(f"{name}-{number}", namespace)))


@st.composite
def edges(draw: st.DrawFn) -> PutObject:
    """The Gateway that VirtualServices refer to."""
    return PutObject("edge.yaml", draw(gateways("edge", "default")))


WORKLOADS = st.builds(
    PutWorkload, st.sampled_from(("productpage", "gold")), st.sampled_from(((), (9080,), (9080, 7070)))
)
CHANGES: st.SearchStrategy[Change] = st.one_of(
    services().map(PutService),
    services().map(PutEndpoints),
    services().map(DropService),
    *(objects() for _ in range(6)),
    edges(),
    WORKLOADS,
)

START: tuple[Change, ...] = (
    *(PutService(a_service(name).with_endpoints("v1", "v2")) for name in NAMES),
    PutObject(
        "edge.yaml",
        document(
            "Gateway",
            "edge",
            "default",
            "",
            "selector: {istio: ingressgateway}\n"
            "servers: [{port: {number: 8080, name: p, protocol: HTTP}, hosts: ['*']}]\n",
        ),
    ),
    PutObject(
        "0-default-two.yaml",
        document(
            "DestinationRule",
            "two-0",
            "default",
            "",
            "host: reviews\nsubsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}]\n",
        ),
    ),
)
"""What every history begins with: services, a rule with subsets, and an edge, so that later changes meet something."""
HISTORIES = st.lists(CHANGES, min_size=4, max_size=12).map(lambda changes: [*START, *changes])


@dataclass
class Files:
    """The state of the one source of objects: it always reports all of them."""

    texts: dict[str, str] = field(default_factory=dict)

    def report(self) -> ConfigDelta:
        parts = [objects_of(text, path=file) for file, text in sorted(self.texts.items())]
        errors = [str(p) for part in parts for p in part.problems if p.is_error]
        assert not errors, errors
        return ConfigDelta("files", tuple(o for part in parts for o in part.objects))


def delta_of(change: Change, files: Files) -> Delta:
    """What the source of a change reports."""
    match change:
        case PutService(service):
            return ServiceDelta(service.registry, (service.service,), ((service.key, service.endpoints),))
        case PutEndpoints(service):
            return ServiceDelta(service.registry, (), ((service.key, service.endpoints),))
        case DropService(service):
            return ServiceDelta(service.registry, removed=(service.key,))
        case PutObject(file, text):
            files.texts.pop(file, None)
            files.texts.update({file: text} if text else {})
            return files.report()
        case PutWorkload(name, ports):
            workload = a_workload(name, *(("reviews", port) for port in ports))
            return WorkloadDelta((workload,)) if ports else WorkloadDelta(removed=(workload.id,))

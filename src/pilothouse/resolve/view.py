"""The ProxyView: what one class of proxies gets, with every decision finished.

``compiler`` turns these values into Envoy's messages one for one. Equal parts are the same objects from one view to
the next, which is how the compiler knows what not to do again. Times are milliseconds.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeAlias

from pilothouse.kit.origin import Origin
from pilothouse.model.labels import Labels
from pilothouse.model.service import Endpoint
from pilothouse.resolve.outside import BuiltInCluster, OutsideGuard
from pilothouse.resolve.policy import HashKey, TrafficPolicy

BLACK_HOLE: Final[str] = BuiltInCluster.BLACK_HOLE.value
"""The cluster that never has an endpoint (Istio's name). Every proxy holds it."""


class Discovery(StrEnum):
    """How a cluster finds its endpoints."""

    EDS = "EDS"
    STRICT_DNS = "STRICT_DNS"
    LOGICAL_DNS = "LOGICAL_DNS"
    STATIC = "STATIC"


@dataclass(frozen=True, slots=True)
class ClusterView:
    """One outbound cluster. ``endpoints`` is filled only where they live inside the cluster (DNS).

    ``rule`` is the Istio name of the DestinationRule that shaped it, as istioctl expects it in the metadata.
    ``port_name`` and ``members`` (the subset's labels) say which endpoints of the service belong to it.
    """

    name: str
    host: str
    namespace: str
    discovery: Discovery
    policy: TrafficPolicy
    origins: tuple[Origin, ...]
    subset: str = ""
    rule: str = ""
    external: bool = False
    port_name: str = ""
    members: Labels = ()
    endpoints: tuple[Endpoint, ...] = ()


@dataclass(frozen=True, slots=True)
class AssignmentView:
    """The endpoints of one EDS cluster: those of the subset that may receive traffic, in a defined order."""

    cluster: str
    endpoints: tuple[Endpoint, ...]


class MatchKind(StrEnum):
    """How a text is compared. PRESENT ignores the value."""

    EXACT = "exact"
    PREFIX = "prefix"
    REGEX = "regex"
    PRESENT = "present"


@dataclass(frozen=True, slots=True)
class TextMatch:
    """One comparison; ``ignore_case`` never applies to REGEX (it has its own flags)."""

    kind: MatchKind
    value: str = ""
    ignore_case: bool = False


@dataclass(frozen=True, slots=True)
class NamedMatch:
    """A comparison of a header or query parameter. ``inverted`` also holds where the header is missing."""

    name: str
    text: TextMatch
    inverted: bool = False


ANY_PATH = TextMatch(MatchKind.PREFIX, "/")


@dataclass(frozen=True, slots=True)
class RequestMatch:
    """What a request must look like. All parts must hold. ``conditional`` is false only for a route without a match.

    ``connect``: the request is a ``CONNECT``, which has no path and which no comparison of paths matches.
    """

    path: TextMatch = ANY_PATH
    headers: tuple[NamedMatch, ...] = ()
    query: tuple[NamedMatch, ...] = ()
    conditional: bool = False
    connect: bool = False

    @property
    def catches_all(self) -> bool:
        """Whether every request matches, so that routes after it are unreachable."""
        whole = self.path == ANY_PATH or (self.path.kind is MatchKind.REGEX and self.path.value == ".*")
        return whole and not self.connect and not self.headers and not self.query


@dataclass(frozen=True, slots=True)
class HeaderChanges:
    """Operations on headers, each in the order in which they are applied. Keys are lower case."""

    set_: tuple[tuple[str, str], ...] = ()
    add: tuple[tuple[str, str], ...] = ()
    remove: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class HeaderPolicy:
    """Changes on the way to the upstream and on the way back."""

    request: HeaderChanges = HeaderChanges()
    response: HeaderChanges = HeaderChanges()


@dataclass(frozen=True, slots=True)
class WeightedTarget:
    """One cluster of a split, its share, and what changes for this share only: headers, and the authority."""

    cluster: str
    weight: int
    headers: HeaderPolicy = HeaderPolicy()
    authority_rewrite: str = ""
    hash_key: HashKey | None = None


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """``attempts`` retries beyond the first try, on ``conditions`` (Envoy's words) or on ``status_codes``."""

    attempts: int = 2
    conditions: tuple[str, ...] = ("connect-failure", "refused-stream", "unavailable", "cancelled")
    status_codes: tuple[int, ...] = ()
    states_codes: bool = True
    per_try_timeout_ms: int = 0
    backoff_ms: int = 0
    avoid_previous_hosts: bool = True
    other_localities: bool = False


@dataclass(frozen=True, slots=True)
class Forward:
    """Send the request on. ``timeout_ms`` 0 means none.

    A split with one target is a plain route; what that target changes is part of the route's own changes.
    """

    targets: tuple[WeightedTarget, ...]
    timeout_ms: int = 0
    retries: RetryPolicy | None = None
    prefix_rewrite: str = ""
    authority_rewrite: str = ""


@dataclass(frozen=True, slots=True)
class Redirect:
    """Answer with a redirect. Empty parts stay as the request had them; ``port`` 0 likewise."""

    code: int = 301
    authority: str = ""
    path: str = ""
    prefix: str = ""
    scheme: str = ""
    port: int = 0


@dataclass(frozen=True, slots=True)
class DirectAnswer:
    """Answer at once with a fixed status and body. ``names_host`` adds the request's authority and a full stop."""

    status: int
    body: bytes = b""
    names_host: bool = False


Action: TypeAlias = Forward | Redirect | DirectAnswer


@dataclass(frozen=True, slots=True)
class Delay:
    """Hold this many of a million requests for ``ms``."""

    ms: int
    per_million: int


@dataclass(frozen=True, slots=True)
class Abort:
    """Answer this many of a million requests with an error; exactly one of the two statuses is set."""

    per_million: int
    http_status: int = 0
    grpc_status: int | None = None


@dataclass(frozen=True, slots=True)
class Fault:
    """Faults injected before the request is sent on."""

    delay: Delay | None = None
    abort: Abort | None = None


@dataclass(frozen=True, slots=True)
class RouteView:
    """One route. ``rule`` is the Istio name of the VirtualService that made it ("" for a default route)."""

    match: RequestMatch
    action: Action
    origins: tuple[Origin, ...]
    name: str = ""
    rule: str = ""
    operation: str = ""
    stat_prefix: str = ""
    fault: Fault | None = None
    headers: HeaderPolicy = HeaderPolicy()


@dataclass(frozen=True, slots=True)
class VirtualHostView:
    """One virtual host: a resource of its own on delta streams. Domains are unique within ``table``.

    ``tunnel`` is the cluster that ``CONNECT`` requests are tunnelled to ("": they are not served).
    ``guarded`` subjects its requests to the guard of the proxy's listener (``ListenerView.guard``).
    """

    table: str
    name: str
    domains: tuple[str, ...]
    routes: tuple[RouteView, ...]
    origins: tuple[Origin, ...]
    tunnel: str = ""
    guarded: bool = False


@dataclass(frozen=True, slots=True)
class TableHead:
    """What a route configuration is apart from its virtual hosts. ``strips_port`` ignores the port of Host."""

    name: str
    origins: tuple[Origin, ...]
    strips_port: bool = True


@dataclass(frozen=True, slots=True, eq=False)
class RouteTable:
    """A route configuration: its head, and its virtual hosts in name order."""

    head: TableHead
    hosts: tuple[VirtualHostView, ...]


@dataclass(frozen=True, slots=True)
class ServedPort:
    """One port that a workload serves: the inbound cluster and its route. ``host`` is the service.

    ``tcp``: the port's bytes are passed on unread.
    """

    service_port: int
    host: str
    namespace: str
    app_address: str
    app_port: int
    http2: bool
    origins: tuple[Origin, ...]
    tcp: bool = False

    @property
    def cluster(self) -> str:
        """Istio's name: ``inbound|PORT||``."""
        return f"inbound|{self.service_port}||"


@dataclass(frozen=True, slots=True, eq=False)
class OutboundView:
    """What the workload may call: shared by almost everybody."""

    clusters: tuple[ClusterView, ...]
    assignments: tuple[AssignmentView, ...]
    tables: tuple[RouteTable, ...]
    built_in: tuple[BuiltInCluster, ...] = (BuiltInCluster.BLACK_HOLE,)


@dataclass(frozen=True, slots=True)
class InboundView:
    """What the workload serves: shared by the replicas of one service."""

    served: tuple[ServedPort, ...]


class ListenerKind(StrEnum):
    """Which recipe makes a listener."""

    HTTP_PROXY = "http-proxy"
    TUNNEL = "tunnel"
    TCP = "tcp"
    INBOUND = "inbound"
    GATEWAY = "gateway"


@dataclass(frozen=True, slots=True)
class ListenerView:
    """One listener: the own part, because only this proxy's addresses and ports decide it.

    ``table`` names the route configuration (HTTP_PROXY, TUNNEL and GATEWAY); ``served`` is the inbound port (INBOUND);
    ``cluster`` is where connections go (TCP). TUNNEL is internal: it has a name, and no address and port.
    ``guard`` is there where requests may leave the mesh.
    """

    kind: ListenerKind
    address: str
    port: int
    origins: tuple[Origin, ...]
    table: str = ""
    served: ServedPort | None = None
    access_log: bool = True
    cluster: str = ""
    guard: OutsideGuard | None = None

    @property
    def name(self) -> str:
        """Istio's name: ``ADDRESS_PORT``; that of the tunnel is its cluster's."""
        if self.kind is ListenerKind.TUNNEL:
            return BuiltInCluster.TUNNEL.value
        return f"{self.address}_{self.port}"


@dataclass(frozen=True, slots=True)
class OwnView:
    """The small part that belongs to one proxy."""

    listeners: tuple[ListenerView, ...]


@dataclass(frozen=True, slots=True, eq=False)
class ProxyView:
    """Everything that one proxy gets: two shared parts and its own."""

    outbound: OutboundView
    inbound: InboundView
    own: OwnView

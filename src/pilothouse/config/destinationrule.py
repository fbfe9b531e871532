"""DestinationRule: ``networking/v1alpha3/destination_rule.proto`` as typed values, and what of it is not served yet.

Rules on the values are in ``validate_destinationrule``.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from msgspec import field

from pilothouse.config.duration import Duration
from pilothouse.config.schema import Int32, Message, PortSelector, UInt32, UInt64, WorkloadSelector


class TcpKeepalive(Message, frozen=True):
    """Probes on idle connections."""

    probes: UInt32 = 0
    time: Duration | None = None
    interval: Duration | None = None


class TCPSettings(Message, frozen=True):
    """Limits for connections of any protocol. ``idle_timeout`` 0s switches the timeout off."""

    max_connections: Int32 = 0
    connect_timeout: Duration | None = None
    tcp_keepalive: TcpKeepalive | None = None
    max_connection_duration: Duration | None = None
    idle_timeout: Duration | None = None


class H2UpgradePolicy(StrEnum):
    """Whether HTTP/1.1 requests travel as HTTP/2."""

    DEFAULT = "DEFAULT"
    DO_NOT_UPGRADE = "DO_NOT_UPGRADE"
    UPGRADE = "UPGRADE"


class ConnectionKeepalive(Message, frozen=True):
    """HTTP/2 PING frames on idle connections."""

    interval: Duration | None = None
    timeout: Duration | None = None


class HTTPSettings(Message, frozen=True):
    """Limits for HTTP; 0 means that none was written."""

    http1_max_pending_requests: Int32 = 0
    http2_max_requests: Int32 = 0
    max_requests_per_connection: Int32 = 0
    max_retries: Int32 = 0
    idle_timeout: Duration | None = None
    h2_upgrade_policy: H2UpgradePolicy = H2UpgradePolicy.DEFAULT
    use_client_protocol: bool = False
    max_concurrent_streams: Int32 = 0
    http2_keep_alive: ConnectionKeepalive | None = None


class ConnectionPoolSettings(Message, frozen=True):
    """The circuit breaker's limits."""

    tcp: TCPSettings | None = None
    http: HTTPSettings | None = None


class OutlierDetection(Message, frozen=True):
    """When an endpoint is ejected. None leaves Envoy's default, 0 switches a detector off."""

    split_external_local_origin_errors: bool = False
    consecutive_local_origin_failures: UInt32 | None = None
    consecutive_gateway_errors: UInt32 | None = None
    consecutive_5xx_errors: UInt32 | None = field(name="consecutive5xxErrors", default=None)
    interval: Duration | None = None
    base_ejection_time: Duration | None = None
    max_ejection_percent: Int32 = 0
    min_health_percent: Int32 = 0
    outlier_detection_http_error_codes: tuple[UInt32, ...] = ()


class SimpleLB(StrEnum):
    """Load balancing without affinity."""

    UNSPECIFIED = "UNSPECIFIED"
    RANDOM = "RANDOM"
    PASSTHROUGH = "PASSTHROUGH"
    ROUND_ROBIN = "ROUND_ROBIN"
    LEAST_REQUEST = "LEAST_REQUEST"


class RingHash(Message, frozen=True):
    """A hash ring; 0 leaves Envoy's default size."""

    minimum_ring_size: UInt64 = 0


class MagLev(Message, frozen=True):
    """A Maglev table; its size is a prime number."""

    table_size: UInt64 = 0


class CookieAttribute(Message, frozen=True):
    """One attribute of the cookie that Envoy sets."""

    name: str = ""
    value: str = ""


class HTTPCookie(Message, frozen=True):
    """The cookie whose value is hashed. With ``ttl`` Envoy sets it where it is missing (0s: a session cookie)."""

    name: str = ""
    path: str = ""
    ttl: Duration | None = None
    attributes: tuple[CookieAttribute, ...] = ()


class ConsistentHashLB(Message, frozen=True):
    """Affinity: exactly one key, and at most one of ``ring_hash`` and ``maglev``."""

    http_header_name: str | None = None
    http_cookie: HTTPCookie | None = None
    use_source_ip: bool | None = None
    http_query_parameter_name: str | None = None
    ring_hash: RingHash | None = None
    maglev: MagLev | None = None


class LocalityDistribute(Message, frozen=True):
    """How traffic from one locality is spread."""

    from_: str = field(name="from", default="")
    to: Mapping[str, UInt32] = field(default_factory=dict)


class LocalityFailover(Message, frozen=True):
    """Where traffic of one region goes when that region fails."""

    from_: str = field(name="from", default="")
    to: str = ""


class LocalityLoadBalancerSetting(Message, frozen=True):
    """Preference for near endpoints."""

    distribute: tuple[LocalityDistribute, ...] = ()
    failover: tuple[LocalityFailover, ...] = ()
    failover_priority: tuple[str, ...] = ()
    enabled: bool | None = None


class ZoneAwareLoadBalancerSetting(Message, frozen=True):
    """Preference for the own zone, by Envoy's own arithmetic."""

    enabled: bool | None = None
    failover: tuple[LocalityFailover, ...] = ()
    failover_priority: tuple[str, ...] = ()
    min_cluster_size: UInt64 | None = None


class WarmupConfiguration(Message, frozen=True):
    """How a new endpoint is led up to its full share. Unset: 10 percent at first, aggression 1."""

    duration: Duration | None = None
    minimum_percent: float | None = None
    aggression: float | None = None


class LoadBalancerSettings(Message, frozen=True):
    """Which endpoint takes the next request. ``simple`` and ``consistent_hash`` exclude each other."""

    simple: SimpleLB | None = None
    consistent_hash: ConsistentHashLB | None = None
    locality_lb_setting: LocalityLoadBalancerSetting | None = None
    zone_aware_lb_setting: ZoneAwareLoadBalancerSetting | None = None
    warmup: WarmupConfiguration | None = None


class ClientTLSMode(StrEnum):
    """How the client side of a connection is secured."""

    DISABLE = "DISABLE"
    SIMPLE = "SIMPLE"
    MUTUAL = "MUTUAL"
    ISTIO_MUTUAL = "ISTIO_MUTUAL"


class ClientTLSSettings(Message, frozen=True):
    """TLS towards the upstream."""

    mode: ClientTLSMode = ClientTLSMode.DISABLE
    client_certificate: str = ""
    private_key: str = ""
    ca_certificates: str = ""
    credential_name: str = ""
    subject_alt_names: tuple[str, ...] = ()
    sni: str = ""
    insecure_skip_verify: bool | None = None
    ca_crl: str = ""


class PortTrafficPolicy(Message, frozen=True):
    """Policy for one port. It replaces, and does not merge with, what the rule says for all ports."""

    port: PortSelector | None = None
    load_balancer: LoadBalancerSettings | None = None
    connection_pool: ConnectionPoolSettings | None = None
    outlier_detection: OutlierDetection | None = None
    tls: ClientTLSSettings | None = None


class TunnelSettings(Message, frozen=True):
    """Tunnelling of TCP over HTTP."""

    protocol: str = ""
    target_host: str = ""
    target_port: UInt32 = 0


class ProxyProtocolVersion(StrEnum):
    """Version of the PROXY protocol's header."""

    V1 = "V1"
    V2 = "V2"


class ProxyProtocol(Message, frozen=True):
    """the PROXY protocol towards the upstream."""

    version: ProxyProtocolVersion = ProxyProtocolVersion.V1


class RetryBudget(Message, frozen=True):
    """Retries limited to a share of the active requests."""

    percent: float | None = None
    min_retry_concurrency: UInt32 = 0
    budget_interval: Duration | None = None


class TrafficPolicy(Message, frozen=True):
    """What callers of a service, or of one subset, keep to."""

    load_balancer: LoadBalancerSettings | None = None
    connection_pool: ConnectionPoolSettings | None = None
    outlier_detection: OutlierDetection | None = None
    tls: ClientTLSSettings | None = None
    port_level_settings: tuple[PortTrafficPolicy, ...] = ()
    tunnel: TunnelSettings | None = None
    proxy_protocol: ProxyProtocol | None = None
    retry_budget: RetryBudget | None = None


class Subset(Message, frozen=True):
    """Instances of a service, chosen by labels."""

    name: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    traffic_policy: TrafficPolicy | None = None


class DestinationRule(Message, frozen=True):
    """Policy and subsets of one host."""

    host: str = ""
    traffic_policy: TrafficPolicy | None = None
    subsets: tuple[Subset, ...] = ()
    export_to: tuple[str, ...] = ()
    workload_selector: WorkloadSelector | None = None


_POLICY: Final = {
    "tls": "TLS of a DestinationRule",
    "connectionPool.http.http2KeepAlive": "HTTP/2 keepalive",
    "outlierDetection.outlierDetectionHttpErrorCodes": "ejection by chosen status codes",
    "loadBalancer.localityLbSetting": "load balancing by locality",
    "loadBalancer.zoneAwareLbSetting": "load balancing by zone",
}
_WHOLE_POLICY: Final = {
    **_POLICY,
    "tunnel": "a tunnel",
    "proxyProtocol": "the PROXY protocol",
    "retryBudget": "a retry budget",
    **{f"portLevelSettings[].{path}": what for path, what in _POLICY.items()},
}

NOT_SERVED: Final = {
    "workloadSelector": "a DestinationRule for chosen client workloads",
    **{f"trafficPolicy.{path}": what for path, what in _WHOLE_POLICY.items()},
    **{f"subsets[].trafficPolicy.{path}": what for path, what in _WHOLE_POLICY.items()},
}
"""Path pattern (``[]`` stands for every item) → what a user must not expect yet."""

"""A DestinationRule's policy for one port and subset, finished: precedence applied, defaults filled in.

Precedence inside one rule, for a port and a subset: the subset's port-level block, the subset's policy, the rule's
port-level block, the rule's policy. A matching port-level block replaces the four common parts wholesale; a subset's
own parts override one by one. Source: istio-behaviour §1.5, §2.2.
"""

from dataclasses import dataclass

from pilothouse.config import destinationrule as spec
from pilothouse.config.duration import Duration
from pilothouse.model.service import Port
from pilothouse.resolve.policy import (
    UNLIMITED,
    ConnectionPool,
    HashCookie,
    HashHeader,
    HashKey,
    HashQueryParameter,
    HashSourceIp,
    KeepAlive,
    LoadBalancing,
    Maglev,
    OutlierDetection,
    RingHash,
    SimpleLb,
    SlowStart,
    TrafficPolicy,
    UpstreamProtocol,
)


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of a policy that port-level blocks replace as a whole and subsets override one by one."""

    load_balancer: spec.LoadBalancerSettings | None = None
    connection_pool: spec.ConnectionPoolSettings | None = None
    outlier_detection: spec.OutlierDetection | None = None

    def overridden_by(self, other: "Parts") -> "Parts":
        """These parts, with those that ``other`` has in their place."""
        return Parts(
            other.load_balancer or self.load_balancer,
            other.connection_pool or self.connection_pool,
            other.outlier_detection or self.outlier_detection,
        )


def parts_for(policy: spec.TrafficPolicy | None, port: int) -> tuple[Parts, bool]:
    """The parts that ``policy`` has for ``port``, and whether a port-level block gave them."""
    if policy is None:
        return Parts(), False
    for level in policy.port_level_settings:
        if level.port is not None and level.port.number == port:
            return Parts(level.load_balancer, level.connection_pool, level.outlier_detection), True
    return Parts(policy.load_balancer, policy.connection_pool, policy.outlier_detection), False


def effective_parts(rule: spec.TrafficPolicy | None, subset: spec.TrafficPolicy | None, port: int) -> Parts:
    """The parts in force for one port of one subset (``subset`` None: the whole service)."""
    whole, _ = parts_for(rule, port)
    own, replaces = parts_for(subset, port)
    return own if replaces else whole.overridden_by(own)


def traffic_policy(parts: Parts, port: Port, connect_timeout_ms: int) -> TrafficPolicy:
    """The finished policy of one cluster."""
    balancer = parts.load_balancer
    return TrafficPolicy(
        pool=connection_pool(parts.connection_pool, connect_timeout_ms),
        outliers=outlier_detection(parts.outlier_detection),
        balancing=load_balancing(balancer),
        hash_key=hash_key(balancer.consistent_hash) if balancer and balancer.consistent_hash else None,
        slow_start=slow_start(balancer.warmup) if balancer and balancer.warmup else None,
        protocol=upstream_protocol(parts.connection_pool, port),
    )


def connection_pool(pool: spec.ConnectionPoolSettings | None, connect_timeout_ms: int) -> ConnectionPool:
    """Limits with Istio's defaults: unlimited, and the mesh's connect timeout."""
    tcp = (pool and pool.tcp) or spec.TCPSettings()
    http = (pool and pool.http) or spec.HTTPSettings()
    return ConnectionPool(
        max_connections=tcp.max_connections or UNLIMITED,
        max_pending_requests=http.http1_max_pending_requests or UNLIMITED,
        max_requests=http.http2_max_requests or UNLIMITED,
        max_retries=http.max_retries or UNLIMITED,
        connect_timeout_ms=ms(tcp.connect_timeout) or connect_timeout_ms,
        max_requests_per_connection=http.max_requests_per_connection,
        max_connection_duration_ms=ms(tcp.max_connection_duration),
        idle_timeout_ms=ms(http.idle_timeout if http.idle_timeout is not None else tcp.idle_timeout),
        max_concurrent_streams=http.max_concurrent_streams,
        keepalive=keepalive(tcp.tcp_keepalive),
    )


def keepalive(settings: spec.TcpKeepalive | None) -> KeepAlive | None:
    """TCP keepalive, if it is set."""
    if settings is None:
        return None
    return KeepAlive(settings.probes, ms(settings.time), ms(settings.interval))


def outlier_detection(settings: spec.OutlierDetection | None) -> OutlierDetection | None:
    """Ejection rules. What is not set keeps Envoy's default, as in Istio."""
    if settings is None:
        return None
    return OutlierDetection(
        consecutive_5xx=settings.consecutive_5xx_errors,
        consecutive_gateway_errors=settings.consecutive_gateway_errors,
        consecutive_local_origin_failures=settings.consecutive_local_origin_failures,
        split_local_origin=settings.split_external_local_origin_errors,
        interval_ms=optional_ms(settings.interval),
        base_ejection_ms=optional_ms(settings.base_ejection_time),
        max_ejection_percent=settings.max_ejection_percent,
        min_health_percent=settings.min_health_percent,
    )


_SIMPLE = {
    spec.SimpleLB.RANDOM: SimpleLb.RANDOM,
    spec.SimpleLB.ROUND_ROBIN: SimpleLb.ROUND_ROBIN,
}


def load_balancing(settings: spec.LoadBalancerSettings | None) -> LoadBalancing:
    """The algorithm; least request where none is chosen."""
    if settings is None:
        return SimpleLb.LEAST_REQUEST
    hashing = settings.consistent_hash
    if hashing is None:
        return _SIMPLE.get(settings.simple or spec.SimpleLB.UNSPECIFIED, SimpleLb.LEAST_REQUEST)
    if hashing.maglev is not None:
        return Maglev(hashing.maglev.table_size)
    return RingHash() if hashing.ring_hash is None else RingHash(hashing.ring_hash.minimum_ring_size)


def hash_key(settings: spec.ConsistentHashLB) -> HashKey | None:
    """What is hashed."""
    if settings.http_header_name:
        return HashHeader(settings.http_header_name)
    if settings.http_cookie is not None:
        cookie = settings.http_cookie
        attributes = tuple((a.name, a.value) for a in cookie.attributes)
        return HashCookie(cookie.name, cookie.path, optional_ms(cookie.ttl), attributes)
    if settings.use_source_ip:
        return HashSourceIp()
    if settings.http_query_parameter_name:
        return HashQueryParameter(settings.http_query_parameter_name)
    return None


def slow_start(settings: spec.WarmupConfiguration) -> SlowStart | None:
    """Warm-up of new endpoints; nothing without a duration."""
    if not settings.duration:
        return None
    return SlowStart(
        window_ms=ms(settings.duration),
        minimum_percent=10.0 if settings.minimum_percent is None else settings.minimum_percent,
        aggression=1.0 if settings.aggression is None else settings.aggression,
    )


def upstream_protocol(pool: spec.ConnectionPoolSettings | None, port: Port) -> UpstreamProtocol:
    """What is spoken to the endpoints: HTTP/2 where the port says so or the rule upgrades it."""
    http = pool.http if pool is not None else None
    if port.protocol.is_http2:
        return UpstreamProtocol.HTTP2
    if http is not None and http.use_client_protocol:
        return UpstreamProtocol.SAME_AS_CLIENT
    if http is not None and http.h2_upgrade_policy is spec.H2UpgradePolicy.UPGRADE and port.protocol.is_http:
        return UpstreamProtocol.HTTP2
    return UpstreamProtocol.HTTP1


def ms(duration: Duration | None) -> int:
    """Milliseconds, 0 where nothing is set."""
    return 0 if duration is None else duration.milliseconds


def optional_ms(duration: Duration | None) -> int | None:
    """Milliseconds, None where nothing is set."""
    return None if duration is None else duration.milliseconds

"""Istio's rules for a DestinationRule: traffic policies, subsets, and the numbers inside.

Source: istiod's ``ValidateDestinationRule`` and its helpers, corrected by the recorded answers (reference §2.2 and
§12), and by what makes an Envoy cluster fail late (a ring larger than Envoy's largest).
"""

from collections.abc import Iterator, Sequence
from math import isqrt
from typing import Final

from pilothouse.config.destinationrule import (
    ConnectionPoolSettings,
    ConsistentHashLB,
    DestinationRule,
    H2UpgradePolicy,
    HTTPCookie,
    HTTPSettings,
    LoadBalancerSettings,
    OutlierDetection,
    PortTrafficPolicy,
    SimpleLB,
    Subset,
    TCPSettings,
    TrafficPolicy,
    WarmupConfiguration,
)
from pilothouse.config.findings import Finding, Path
from pilothouse.config.headers import check_header_name
from pilothouse.config.rules import (
    check_dns_label,
    check_duration,
    check_export_to,
    check_host,
    check_labels,
    check_not_negative,
    check_percent,
    check_port,
)
from pilothouse.config.served import not_served
from pilothouse.kit import codes

MAGLEV_LIMIT: Final = 5_000_011
"""Envoy's largest Maglev table; sizes stay below it."""
MAX_RING: Final = 8_388_608
"""Envoy's largest hash ring. A larger minimum is not refused but never warms, and holds up every later update."""

_SECOND: Final = 1_000_000_000


def validate_destinationrule(spec: DestinationRule, namespace: str) -> Iterator[Finding]:
    """Everything that is wrong with a DestinationRule in ``namespace``."""
    root: Path = ("spec",)
    yield from check_host((*root, "host"), spec.host)
    if spec.traffic_policy is not None:
        yield from check_policy((*root, "trafficPolicy"), spec.traffic_policy)
    yield from check_subsets((*root, "subsets"), spec.subsets)
    yield from check_export_to((*root, "exportTo"), spec.export_to, namespace)


def check_subsets(path: Path, subsets: Sequence[Subset]) -> Iterator[Finding]:
    """Names that are unique and can stand in a cluster's name, and labels."""
    seen: set[str] = set()
    for index, subset in enumerate(subsets):
        where = (*path, index)
        yield from check_dns_label((*where, "name"), "subset name", subset.name)
        if subset.name and subset.name in seen:
            message = f"the subset '{subset.name}' is defined twice"
            yield Finding(codes.DUPLICATE_ENTRY, (*where, "name"), message)
        seen.add(subset.name)
        yield from check_labels((*where, "labels"), subset.labels)
        if subset.traffic_policy is not None:
            yield from check_policy((*where, "trafficPolicy"), subset.traffic_policy)


def check_policy(path: Path, policy: TrafficPolicy) -> Iterator[Finding]:
    """A policy for all ports, and those for single ports inside it."""
    if policy == TrafficPolicy():
        yield Finding(codes.MISSING_FIELD, path, "the traffic policy is empty", "Add a setting, or remove it.")
    if policy.tunnel is not None and policy.proxy_protocol is not None:
        yield Finding(codes.CONFLICTING_FIELDS, path, "tunnel and proxyProtocol exclude each other")
    yield from _check_settings(path, policy)
    ports: set[int] = set()
    for index, settings in enumerate(policy.port_level_settings):
        where = (*path, "portLevelSettings", index)
        if settings.port is None:
            yield Finding(codes.MISSING_FIELD, (*where, "port"), "the settings do not say for which port they are")
        else:
            yield from check_port((*where, "port", "number"), settings.port.number)
            if settings.port.number in ports:
                message = f"the port {settings.port.number} has settings twice"
                yield Finding(codes.DUPLICATE_ENTRY, (*where, "port"), message)
            ports.add(settings.port.number)
        if settings == PortTrafficPolicy(port=settings.port):
            yield Finding(codes.MISSING_FIELD, where, "the settings of the port are empty")
        yield from _check_settings(where, settings)


def _check_settings(path: Path, policy: TrafficPolicy | PortTrafficPolicy) -> Iterator[Finding]:
    if policy.connection_pool is not None:
        yield from check_pool((*path, "connectionPool"), policy.connection_pool)
    if policy.outlier_detection is not None:
        yield from check_outliers((*path, "outlierDetection"), policy.outlier_detection)
    if policy.load_balancer is not None:
        yield from check_balancer((*path, "loadBalancer"), policy.load_balancer)


def check_pool(path: Path, pool: ConnectionPoolSettings) -> Iterator[Finding]:
    """Limits that are not negative, and durations."""
    if pool.tcp is None and pool.http is None:
        yield Finding(codes.MISSING_FIELD, path, "the connection pool is empty", "Add tcp or http.")
    if pool.tcp is not None:
        yield from _check_tcp((*path, "tcp"), pool.tcp)
    if pool.http is not None:
        yield from _check_http((*path, "http"), pool.http)


def _check_tcp(path: Path, tcp: TCPSettings) -> Iterator[Finding]:
    yield from check_not_negative((*path, "maxConnections"), tcp.max_connections)
    yield from check_duration((*path, "connectTimeout"), tcp.connect_timeout)
    yield from check_duration((*path, "maxConnectionDuration"), tcp.max_connection_duration)
    if tcp.idle_timeout:
        yield from check_duration((*path, "idleTimeout"), tcp.idle_timeout)
    keepalive = tcp.tcp_keepalive
    if keepalive is not None:
        where = (*path, "tcpKeepalive")
        for name, duration in (("time", keepalive.time), ("interval", keepalive.interval)):
            if duration is not None and duration < _SECOND:
                message = f"the duration {duration} is shorter than a second, in which the kernel counts"
                yield Finding(codes.INVALID_DURATION, (*where, name), message)


def _check_http(path: Path, http: HTTPSettings) -> Iterator[Finding]:
    counts = {
        "http1MaxPendingRequests": http.http1_max_pending_requests,
        "http2MaxRequests": http.http2_max_requests,
        "maxRequestsPerConnection": http.max_requests_per_connection,
        "maxRetries": http.max_retries,
        "maxConcurrentStreams": http.max_concurrent_streams,
    }
    for name, count in counts.items():
        yield from check_not_negative((*path, name), count)
    yield from check_duration((*path, "idleTimeout"), http.idle_timeout)
    if http.h2_upgrade_policy is H2UpgradePolicy.UPGRADE and http.use_client_protocol:
        message = "h2UpgradePolicy UPGRADE and useClientProtocol exclude each other"
        yield Finding(codes.CONFLICTING_FIELDS, path, message)


def check_outliers(path: Path, outliers: OutlierDetection) -> Iterator[Finding]:
    """Durations and percentages; local failures need their own switch."""
    yield from check_duration((*path, "interval"), outliers.interval)
    yield from check_duration((*path, "baseEjectionTime"), outliers.base_ejection_time)
    yield from check_percent((*path, "maxEjectionPercent"), outliers.max_ejection_percent)
    yield from check_percent((*path, "minHealthPercent"), outliers.min_health_percent)
    if outliers.consecutive_local_origin_failures and not outliers.split_external_local_origin_errors:
        message = "consecutiveLocalOriginFailures counts only with splitExternalLocalOriginErrors"
        where = (*path, "consecutiveLocalOriginFailures")
        yield Finding(codes.CONFLICTING_FIELDS, where, message, "Add 'splitExternalLocalOriginErrors: true'.")


def check_balancer(path: Path, balancer: LoadBalancerSettings) -> Iterator[Finding]:
    """One way of choosing, and a warm-up that fits."""
    if balancer.simple is not None and balancer.consistent_hash is not None:
        yield Finding(codes.CONFLICTING_FIELDS, path, "simple and consistentHash exclude each other")
    if balancer.simple is SimpleLB.PASSTHROUGH:
        yield not_served((*path, "simple"), "PASSTHROUGH load balancing")
    if balancer.consistent_hash is not None:
        yield from check_hash((*path, "consistentHash"), balancer.consistent_hash)
    if balancer.warmup is not None:
        yield from _check_warmup((*path, "warmup"), balancer.warmup)
        if balancer.consistent_hash is not None or balancer.simple is SimpleLB.RANDOM:
            message = "a warm-up works only with ROUND_ROBIN and LEAST_REQUEST"
            yield Finding(codes.NO_EFFECT, (*path, "warmup"), message, "Remove it, or use one of these two.")


def _check_warmup(path: Path, warmup: WarmupConfiguration) -> Iterator[Finding]:
    if warmup.duration is None:
        yield Finding(codes.MISSING_FIELD, (*path, "duration"), "the warm-up has no duration")
    yield from check_duration((*path, "duration"), warmup.duration)
    if warmup.minimum_percent is not None:
        yield from check_percent((*path, "minimumPercent"), warmup.minimum_percent)
    if warmup.aggression is not None and not 0 < warmup.aggression < float("inf"):
        message = f"the aggression {warmup.aggression:g} is not above 0"
        yield Finding(codes.OUT_OF_RANGE, (*path, "aggression"), message)


def check_hash(path: Path, hashing: ConsistentHashLB) -> Iterator[Finding]:
    """Exactly one key, at most one algorithm, and sizes that Envoy can make."""
    keys = {
        "httpHeaderName": hashing.http_header_name is not None,
        "httpCookie": hashing.http_cookie is not None,
        "useSourceIp": hashing.use_source_ip is not None,
        "httpQueryParameterName": hashing.http_query_parameter_name is not None,
    }
    given = [name for name, is_set in keys.items() if is_set]
    if len(given) > 1:
        yield Finding(codes.CONFLICTING_FIELDS, path, f"{' and '.join(given)} exclude each other")
    if not given or hashing.use_source_ip is False:
        remedy = "Add httpHeaderName, httpCookie, httpQueryParameterName or 'useSourceIp: true'."
        yield Finding(codes.MISSING_FIELD, path, "nothing is said of what to hash", remedy)
    if hashing.ring_hash is not None and hashing.maglev is not None:
        yield Finding(codes.CONFLICTING_FIELDS, path, "ringHash and maglev exclude each other")
    if hashing.http_header_name is not None:
        yield from check_header_name((*path, "httpHeaderName"), hashing.http_header_name)
    if hashing.http_query_parameter_name == "":
        yield Finding(codes.MISSING_FIELD, (*path, "httpQueryParameterName"), "the parameter's name is empty")
    if hashing.http_cookie is not None:
        yield from _check_cookie((*path, "httpCookie"), hashing.http_cookie)
    if hashing.ring_hash is not None and hashing.ring_hash.minimum_ring_size > MAX_RING:
        message = f"a ring of {hashing.ring_hash.minimum_ring_size} is larger than Envoy's largest, {MAX_RING}"
        yield Finding(codes.OUT_OF_RANGE, (*path, "ringHash", "minimumRingSize"), message)
    if hashing.maglev is not None:
        yield from _check_table((*path, "maglev", "tableSize"), hashing.maglev.table_size)


def _check_cookie(path: Path, cookie: HTTPCookie) -> Iterator[Finding]:
    if not cookie.name:
        yield Finding(codes.MISSING_FIELD, (*path, "name"), "the cookie has no name")
    if cookie.ttl:
        yield from check_duration((*path, "ttl"), cookie.ttl)
    seen: set[str] = set()
    for index, attribute in enumerate(cookie.attributes):
        where = (*path, "attributes", index, "name")
        if not attribute.name:
            yield Finding(codes.MISSING_FIELD, where, "the cookie's attribute has no name")
        elif attribute.name in seen:
            yield Finding(codes.DUPLICATE_ENTRY, where, f"the cookie's attribute '{attribute.name}' is here twice")
        seen.add(attribute.name)


def _check_table(path: Path, size: int) -> Iterator[Finding]:
    if size == 0:
        yield Finding(codes.MISSING_FIELD, path, "a Maglev table needs a size", "Write a prime number, such as 65537.")
    elif size >= MAGLEV_LIMIT:
        yield Finding(codes.OUT_OF_RANGE, path, f"a Maglev table of {size} is not below {MAGLEV_LIMIT}")
    elif not is_prime(size):
        yield Finding(codes.INVALID_VALUE, path, f"{size} is not a prime number", "Write a prime, such as 65537.")


def is_prime(number: int) -> bool:
    """Whether ``number`` is prime; 1 counts as prime here, as it does in Envoy."""
    if number < 4:
        return number > 0
    return number % 2 == 1 and all(number % factor for factor in range(3, isqrt(number) + 1, 2))

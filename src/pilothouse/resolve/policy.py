"""Finished traffic policy: what a cluster does, with every merge and every default already decided.

Durations are milliseconds. The compiler writes these down in Envoy's words and adds nothing.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeAlias

UNLIMITED: Final = 2**32 - 1
"""Istio's "no limit": circuit breakers are always written, so that Envoy's own default of 1024 never surprises."""


@dataclass(frozen=True, slots=True)
class KeepAlive:
    """TCP keepalive; 0 leaves the system's default."""

    probes: int = 0
    time_ms: int = 0
    interval_ms: int = 0


@dataclass(frozen=True, slots=True)
class ConnectionPool:
    """Limits and lifetimes of connections to one cluster. 0 means unset, except where ``UNLIMITED`` is the default."""

    max_connections: int = UNLIMITED
    max_pending_requests: int = UNLIMITED
    max_requests: int = UNLIMITED
    max_retries: int = UNLIMITED
    connect_timeout_ms: int = 10_000
    max_requests_per_connection: int = 0
    max_connection_duration_ms: int = 0
    idle_timeout_ms: int = 0
    max_concurrent_streams: int = 0
    keepalive: KeepAlive | None = None


@dataclass(frozen=True, slots=True)
class OutlierDetection:
    """When an endpoint is ejected. None leaves Envoy's default; 0 turns a detector off."""

    consecutive_5xx: int | None = None
    consecutive_gateway_errors: int | None = None
    consecutive_local_origin_failures: int | None = None
    split_local_origin: bool = False
    interval_ms: int | None = None
    base_ejection_ms: int | None = None
    max_ejection_percent: int = 0
    min_health_percent: int = 0


class SimpleLb(StrEnum):
    """Load balancing without affinity."""

    LEAST_REQUEST = "LEAST_REQUEST"
    ROUND_ROBIN = "ROUND_ROBIN"
    RANDOM = "RANDOM"


@dataclass(frozen=True, slots=True)
class RingHash:
    """Consistent hashing on a ring; 0 leaves Envoy's default size."""

    minimum_size: int = 1024


@dataclass(frozen=True, slots=True)
class Maglev:
    """Consistent hashing by Maglev table; 0 leaves Envoy's default size."""

    table_size: int = 0


LoadBalancing: TypeAlias = SimpleLb | RingHash | Maglev


@dataclass(frozen=True, slots=True)
class HashHeader:
    """Affinity by a request header."""

    name: str


@dataclass(frozen=True, slots=True)
class HashCookie:
    """Affinity by a cookie. ``ttl_ms`` None: use the cookie only if the client sent it."""

    name: str
    path: str = ""
    ttl_ms: int | None = None
    attributes: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class HashSourceIp:
    """Affinity by the caller's address."""


@dataclass(frozen=True, slots=True)
class HashQueryParameter:
    """Affinity by a query parameter."""

    name: str


HashKey: TypeAlias = HashHeader | HashCookie | HashSourceIp | HashQueryParameter


@dataclass(frozen=True, slots=True)
class SlowStart:
    """Warm-up of new endpoints (round robin and least request only)."""

    window_ms: int
    minimum_percent: float = 10.0
    aggression: float = 1.0


class UpstreamProtocol(StrEnum):
    """What is spoken to the endpoints."""

    HTTP1 = "HTTP1"
    HTTP2 = "HTTP2"
    SAME_AS_CLIENT = "SAME_AS_CLIENT"


@dataclass(frozen=True, slots=True)
class TrafficPolicy:
    """Everything that a DestinationRule can say of one cluster in this version, merged."""

    pool: ConnectionPool = ConnectionPool()
    outliers: OutlierDetection | None = None
    balancing: LoadBalancing = SimpleLb.LEAST_REQUEST
    hash_key: HashKey | None = None
    slow_start: SlowStart | None = None
    protocol: UpstreamProtocol = UpstreamProtocol.HTTP1

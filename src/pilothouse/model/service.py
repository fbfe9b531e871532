"""What a registry says: services, their ports and their endpoints. The abstract model of every adapter.

Adapters yield these, ``world`` keeps them per source, ``resolve`` merges them. Nothing here knows Envoy.
"""

from enum import StrEnum

import msgspec

from pilothouse.kit.origin import Origin


class Protocol(StrEnum):
    """The protocol that a service port is declared to speak (Istio's words, istio-behaviour §1.7)."""

    HTTP = "HTTP"
    HTTP2 = "HTTP2"
    GRPC = "GRPC"
    GRPC_WEB = "GRPC-Web"
    HTTPS = "HTTPS"
    TLS = "TLS"
    TCP = "TCP"
    UDP = "UDP"
    MONGO = "Mongo"
    REDIS = "Redis"
    MYSQL = "MySQL"
    UNSUPPORTED = ""

    @property
    def is_http(self) -> bool:
        """Whether HTTP routing applies to the port."""
        return self in _HTTP

    @property
    def is_http2(self) -> bool:
        """Whether the upstream must be spoken to in HTTP/2."""
        return self in _HTTP2


_HTTP = frozenset({Protocol.HTTP, Protocol.HTTP2, Protocol.GRPC, Protocol.GRPC_WEB})
_HTTP2 = frozenset({Protocol.HTTP2, Protocol.GRPC, Protocol.GRPC_WEB})


def protocol_of(word: str) -> Protocol:
    """The protocol for a declared word, any case; UNSUPPORTED for a word that is not known."""
    return _BY_WORD.get(word.lower(), Protocol.UNSUPPORTED)


_BY_WORD = {p.value.lower(): p for p in Protocol}


class Resolution(StrEnum):
    """How the addresses of a service are found."""

    STATIC = "STATIC"
    DNS = "DNS"
    DNS_ROUND_ROBIN = "DNS_ROUND_ROBIN"
    NONE = "NONE"


class Health(StrEnum):
    """What is known of an endpoint's health. Only HEALTHY and UNKNOWN receive traffic; DRAINING keeps connections."""

    HEALTHY = "HEALTHY"
    UNKNOWN = "UNKNOWN"
    DRAINING = "DRAINING"
    UNHEALTHY = "UNHEALTHY"


class Locality(msgspec.Struct, frozen=True, order=True):
    """Region, zone, sub-zone. All empty means unknown."""

    region: str = ""
    zone: str = ""
    subzone: str = ""

    def __str__(self) -> str:
        return "/".join((self.region, self.zone, self.subzone)).rstrip("/")


def locality_of(text: str) -> Locality:
    """A locality from Istio's ``region/zone/subzone`` spelling; missing parts are empty."""
    region, zone, subzone, *_ = (*text.split("/"), "", "", "")
    return Locality(region, zone, subzone)


class Port(msgspec.Struct, frozen=True, order=True):
    """A service port: the number that callers write. ``name`` is unique within its service."""

    number: int
    name: str
    protocol: Protocol = Protocol.HTTP


class Service(msgspec.Struct, frozen=True):
    """A service by one host name, as one source describes it. Endpoints travel apart (they change far more often).

    ``addresses`` are virtual IPs. ``created`` orders conflicting services, oldest first (RFC 3339; "" is oldest).
    ``location_external`` is true for what lies outside the mesh.
    """

    host: str
    namespace: str
    ports: tuple[Port, ...]
    origin: Origin
    resolution: Resolution = Resolution.STATIC
    location_external: bool = False
    addresses: tuple[str, ...] = ()
    export_to: tuple[str, ...] = ("*",)
    labels: tuple[tuple[str, str], ...] = ()
    subject_alt_names: tuple[str, ...] = ()
    created: str = ""


class Endpoint(msgspec.Struct, frozen=True):
    """One address and port where one port of one service is served.

    ``address`` is an IP (STATIC) or a host name (DNS). ``port`` is where callers connect: for a workload with a
    sidecar its inbound port, never the app's. ``service_port`` is the name of the service's port. ``workload_id``
    joins it to the proxy that stands before it. ``weight`` is at least 1.
    """

    address: str
    port: int
    service_port: str
    origin: Origin
    labels: tuple[tuple[str, str], ...] = ()
    locality: Locality = Locality()
    weight: int = 1
    health: Health = Health.HEALTHY
    workload_id: str = ""
    service_account: str = ""
    network: str = ""


class ServiceKey(msgspec.Struct, frozen=True, order=True):
    """A service within one source."""

    namespace: str
    host: str


class ServiceDelta(msgspec.Struct, frozen=True):
    """What a registry reports: whole services (never patches), whole endpoint sets, and what is gone.

    ``source`` names the registry. With ``complete`` the delta is the registry's full state: services that it does
    not name are gone. Endpoints may be given without their service (an endpoint-only change) and the other way
    round; what is not named stays as it was.
    """

    source: str
    services: tuple[Service, ...] = ()
    endpoints: tuple[tuple[ServiceKey, tuple[Endpoint, ...]], ...] = ()
    removed: tuple[ServiceKey, ...] = ()
    complete: bool = False

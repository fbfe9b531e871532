"""The proxy as it announced itself, and the workload that stands beside it.

A node is what xDS announces (id and metadata in Istio's format); a Proxy is our model of it. Everything is frozen:
what a proxy holds or acknowledged belongs to its stream, not to it.
"""

from enum import StrEnum

import msgspec

from pilothouse.model.labels import Labels
from pilothouse.model.service import Locality, Protocol


class Role(StrEnum):
    """What a proxy is for. The words of Istio's node id."""

    SIDECAR = "sidecar"
    GATEWAY = "router"


class CaptureMode(StrEnum):
    """How an app's outbound traffic reaches its sidecar (Istio's INTERCEPTION_MODE)."""

    REDIRECT = "REDIRECT"
    TPROXY = "TPROXY"
    NONE = "NONE"


class InboundPort(msgspec.Struct, frozen=True, order=True):
    """One served port of a workload: the three ports of a service, which are distinct everywhere.

    ``service_port`` is what callers write, ``inbound_port`` is the sidecar's and is what the registry tells
    callers, ``app_port`` is the app's own on loopback and is told to nobody.
    """

    host: str
    service_port: int
    inbound_port: int
    app_port: int
    app_address: str = "127.0.0.1"
    protocol: Protocol = Protocol.HTTP


class Workload(msgspec.Struct, frozen=True):
    """One running instance, as its agent registered it. Joined to its proxy by ``id``, never by IP alone."""

    id: str
    namespace: str
    address: str
    ports: tuple[InboundPort, ...]
    labels: Labels = ()
    locality: Locality = Locality()
    service_account: str = ""
    weight: int = 1


class Place(msgspec.Struct, frozen=True, order=True):
    """An IP address and a port."""

    address: str
    port: int

    def __str__(self) -> str:
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"


class TcpBind(msgspec.Struct, frozen=True, order=True):
    """A loopback listener that the app asked for: connections to ``at`` go to that port of the service ``host``."""

    host: str
    port: int
    at: Place

    def __str__(self) -> str:
        return f"{self.host}:{self.port}={self.at}"


class Proxy(msgspec.Struct, frozen=True):
    """A proxy that opened a stream.

    ``id`` is the whole node id (``sidecar~IP~NAME.NAMESPACE~DOMAIN``). ``http_proxy_address`` and
    ``http_proxy_port`` say where the app's HTTP proxy port listens (0: none). ``bind_address`` is where inbound
    listeners are bound in capture mode NONE. ``tcp`` are the listeners for TCP services that the app asked for.
    ``tunnels`` tells whether this Envoy was started so that it can have internal listeners, which ``CONNECT`` needs.
    ``guarded`` are places that the app must not reach through its proxy port: Envoy's admin, the control plane.
    """

    id: str
    role: Role
    name: str
    namespace: str
    address: str
    labels: Labels = ()
    locality: Locality = Locality()
    capture: CaptureMode = CaptureMode.REDIRECT
    workload_id: str = ""
    http_proxy_address: str = "127.0.0.1"
    http_proxy_port: int = 0
    envoy_version: str = ""
    network: str = ""
    tcp: tuple[TcpBind, ...] = ()
    tunnels: bool = False
    guarded: tuple[Place, ...] = ()

"""What one agent is told: whom it stands beside, where everything listens, and which control plane it joins.

The composition root fills these from flags, environment and files, and hands them to ``run.run_agent``. Frozen, and
free of I/O: nothing here opens a file or a socket. ``validate_settings`` says everything that is wrong at once.
"""

import re
from collections.abc import Iterator
from enum import StrEnum
from ipaddress import ip_address
from typing import Any, Final

import msgspec

from pilothouse.kit.digest import digest
from pilothouse.model.labels import Labels
from pilothouse.model.proxy import InboundPort, Role, TcpBind, Workload
from pilothouse.model.service import Locality, Protocol

LONGEST_SOCKET_PATH: Final = 107
"""Bytes in the path of a Unix socket on Linux."""


class PortMapping(msgspec.Struct, frozen=True):
    """One port that the workload serves. ``service`` without a dot means ``service.DOMAIN_SUFFIX``.

    ``service_port`` is what callers write, ``inbound_port`` the sidecar's, ``app_port`` the app's own.
    """

    service: str
    service_port: int
    inbound_port: int
    app_port: int
    app_address: str = "127.0.0.1"
    protocol: Protocol = Protocol.HTTP


class CheckKind(StrEnum):
    """How the app's health is asked for. NONE: an app is healthy because its agent runs."""

    HTTP = "http"
    TCP = "tcp"
    NONE = "none"


class HealthCheck(msgspec.Struct, frozen=True):
    """The app's health check. HTTP passes on 200 to 399, TCP passes when the connection is made.

    ``port`` 0 and an empty ``address`` mean the app's port and address of the first mapping. The thresholds count
    results in a row; the very first result decides alone.
    """

    kind: CheckKind = CheckKind.NONE
    path: str = "/"
    address: str = ""
    port: int = 0
    interval_seconds: float = 1.0
    timeout_seconds: float = 1.0
    unhealthy_threshold: int = 2
    healthy_threshold: int = 1


class Listen(msgspec.Struct, frozen=True):
    """An address and a port that this agent or its Envoy binds."""

    address: str
    port: int

    def __str__(self) -> str:
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"


class AgentSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything one agent is told. Times are seconds.

    ``token`` is the credential of the registration stream and of ``/debug``; it is shown in no representation.
    ``address`` is the workload's own address: node id, inbound listeners and, where their own field is empty, the
    HTTP proxy port, status and readiness. ``http_proxy_port`` 0 means no proxy port. ``tcp`` are loopback listeners for
    TCP services. ``state_dir`` is created with
    mode 0700 and holds the bootstrap; logs go to ``log_dir``, or to ``state_dir/logs``. ``envoy_binary`` overrides
    where Envoy is looked for. ``drain_seconds`` bounds how long requests in flight may take on the way out.
    ``direct_xds``: Envoy connects to the control plane itself, without the agent's relay, and so without the last good
    configuration that the relay keeps in ``state_dir``, in at most ``most_stored_bytes``.
    ``owner_pid`` is a process with which Envoy ends, because Envoy does not end with its agent; 0 for none.
    """

    name: str
    token: str
    state_dir: str
    discovery_host: str = "127.0.0.1"
    discovery_port: int = 15010
    role: Role = Role.SIDECAR
    namespace: str = "default"
    address: str = "127.0.0.1"
    services: tuple[PortMapping, ...] = ()
    labels: Labels = ()
    locality: Locality = Locality()
    service_account: str = "default"
    weight: int = 1
    domain_suffix: str = "service.mesh"
    mesh_id: str = "cluster.local"
    cluster_id: str = "Pilothouse"
    network: str = ""
    http_proxy_address: str = ""
    http_proxy_port: int = 0
    tcp: tuple[TcpBind, ...] = ()
    admin_address: str = "127.0.0.1"
    admin_port: int = 15000
    status_address: str = ""
    status_port: int = 15020
    readiness_address: str = ""
    readiness_port: int = 15021
    log_dir: str = ""
    envoy_binary: str = ""
    concurrency: int = 1
    health: HealthCheck = HealthCheck()
    drain_seconds: float = 5.0
    app_metrics_url: str = ""
    direct_xds: bool = False
    most_stored_bytes: int = 64 * 1024 * 1024
    owner_pid: int = 0

    def __repr__(self) -> str:
        return f"AgentSettings(node={self.node_id!r}, discovery={self.discovery})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        """What rich prints, in tracebacks too: no token."""
        return [("node", self.node_id), ("discovery", str(self.discovery))]

    @property
    def workload_id(self) -> str:
        """``NAMESPACE/NAME``: what joins the registered workload to its proxy."""
        return f"{self.namespace}/{self.name}"

    @property
    def node_id(self) -> str:
        """Istio's node id: ``ROLE~IP~NAME.NAMESPACE~DOMAIN``; the domain's first label is the namespace."""
        return f"{self.role}~{self.address}~{self.name}.{self.namespace}~{self.namespace}.{self.domain_suffix}"

    @property
    def discovery(self) -> Listen:
        """Where the control plane listens for xDS and for registrations."""
        return Listen(self.discovery_host, self.discovery_port)

    @property
    def relay_socket(self) -> str:
        """Where Envoy reaches the agent's relay: in the state folder, or near the root where that path is too long."""
        path = f"{self.state_dir}/xds.sock"
        if len(path.encode()) <= LONGEST_SOCKET_PATH:
            return path
        return f"/tmp/pilothouse-{digest(self.state_dir.encode())[:16]}/xds.sock"

    @property
    def admin(self) -> Listen:
        """Envoy's admin interface."""
        return Listen(self.admin_address, self.admin_port)

    @property
    def status(self) -> Listen:
        """Health, merged metrics and debug."""
        return Listen(self.status_address or self.address, self.status_port)

    @property
    def readiness(self) -> Listen:
        """Readiness alone, for load balancers."""
        return Listen(self.readiness_address or self.address, self.readiness_port)

    @property
    def http_proxy(self) -> Listen | None:
        """The app's HTTP proxy port, if it has one."""
        if not self.http_proxy_port:
            return None
        return Listen(self.http_proxy_address or self.address, self.http_proxy_port)

    @property
    def envoy_listeners(self) -> tuple[Listen, ...]:
        """What a ready Envoy of this workload listens on, known from here without asking the control plane.

        A gateway's listeners come from Gateway objects, so nothing is known of them here.
        """
        if self.role is Role.GATEWAY:
            return ()
        inbound = tuple(Listen(self.address, mapping.inbound_port) for mapping in self.services)
        return inbound if self.http_proxy is None else (*inbound, self.http_proxy)


def workload_of(settings: AgentSettings) -> Workload | None:
    """What the agent registers; None for a gateway and for a workload that only calls others."""
    if settings.role is Role.GATEWAY or not settings.services:
        return None
    ports = tuple(
        InboundPort(
            host=mapping.service if "." in mapping.service else f"{mapping.service}.{settings.domain_suffix}",
            service_port=mapping.service_port,
            inbound_port=mapping.inbound_port,
            app_port=mapping.app_port,
            app_address=mapping.app_address,
            protocol=mapping.protocol,
        )
        for mapping in settings.services
    )
    return Workload(
        id=settings.workload_id,
        namespace=settings.namespace,
        address=settings.address,
        ports=ports,
        labels=settings.labels,
        locality=settings.locality,
        service_account=settings.service_account,
        weight=settings.weight,
    )


def validate_settings(settings: AgentSettings) -> tuple[str, ...]:
    """Every mistake in ``settings``, one sentence each; empty if an agent can start with them."""
    return (*name_mistakes(settings), *port_mistakes(settings), *health_mistakes(settings), *relay_mistakes(settings))


def relay_mistakes(settings: AgentSettings) -> Iterator[str]:
    """A store that holds nothing."""
    if settings.most_stored_bytes < 1:
        yield "most_stored_bytes must be at least 1"


_LABEL = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?")
_DNS_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")


def name_mistakes(settings: AgentSettings) -> Iterator[str]:
    """Names that would break the node id, addresses that are none, and a missing token."""
    if not _LABEL.fullmatch(settings.name):
        yield f"name {settings.name!r} may hold letters, digits, '-', '_' and '.', and begins and ends with the former"
    if not _DNS_LABEL.fullmatch(settings.namespace):
        yield f"namespace {settings.namespace!r} is not a DNS label (lower-case letters, digits and '-')"
    for field in ("address", "http_proxy_address", "admin_address", "status_address", "readiness_address"):
        value = getattr(settings, field)
        if (value or field in ("address", "admin_address")) and not is_ip(value):
            yield f"{field} {value!r} is not an IP address"
    if not settings.token:
        yield "token is empty; it is what the control plane's token file holds"


def port_mistakes(settings: AgentSettings) -> Iterator[str]:
    """Ports out of range, and two uses of one address and port."""
    for mapping in settings.services:
        for port in (mapping.service_port, mapping.inbound_port, mapping.app_port):
            if not 0 < port < 65536:
                yield f"port {port} of service {mapping.service!r} is not between 1 and 65535"
    seen: dict[Listen, str] = {}
    for use, listen in uses_of(settings):
        if not 0 < listen.port < 65536:
            yield f"{use}: port {listen.port} is not between 1 and 65535"
        elif listen in seen:
            yield f"{listen} is given to {seen[listen]} and to {use}; give one of them another port"
        seen[listen] = use


def uses_of(settings: AgentSettings) -> tuple[tuple[str, Listen], ...]:
    """Everything that this agent and its Envoy bind, with what it is for. A gateway's own ports come by xDS."""
    fixed = (("Envoy's admin interface", settings.admin), *own_uses_of(settings))
    proxy = () if settings.http_proxy is None else (("the app's HTTP proxy port", settings.http_proxy),)
    inbound = tuple(
        (f"inbound traffic of {mapping.service}", Listen(settings.address, mapping.inbound_port))
        for mapping in settings.services
    )
    tcp = tuple((f"the TCP listener for {b.host}:{b.port}", Listen(b.at.address, b.at.port)) for b in settings.tcp)
    return (*fixed, *proxy, *inbound, *tcp)


def own_uses_of(settings: AgentSettings) -> tuple[tuple[str, Listen], ...]:
    """What the agent itself binds. The rest is Envoy's, and bound already where a running Envoy is adopted."""
    return (("status and metrics", settings.status), ("readiness", settings.readiness))


def health_mistakes(settings: AgentSettings) -> Iterator[str]:
    """A check without a target, and times or thresholds that cannot be."""
    check = settings.health
    if check.kind is not CheckKind.NONE and not check.port and not settings.services:
        yield "the health check needs a port, because no service gives one"
    if check.kind is CheckKind.HTTP and not check.path.startswith("/"):
        yield f"the health check's path {check.path!r} does not begin with '/'"
    if min(check.interval_seconds, check.timeout_seconds) <= 0:
        yield "the health check's interval and timeout must be above 0"
    if min(check.unhealthy_threshold, check.healthy_threshold) < 1:
        yield "the health check's thresholds must be at least 1"
    if settings.drain_seconds < 0 or settings.concurrency < 1 or settings.weight < 1:
        yield "drain_seconds must not be negative; concurrency and weight must be at least 1"


def is_ip(text: str) -> bool:
    """Whether ``text`` is an IPv4 or IPv6 address."""
    try:
        ip_address(text)
    except ValueError:
        return False
    return True

"""Which processes make the demo's mesh, where does each listen, and what is it started with?

Pure: a base port and folders in, every command line and environment out. ``processes`` runs the plan, ``ports`` asks
whether its ports are free, ``config`` writes the starting configuration. Nothing here opens or starts anything.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Self

import msgspec

from pilothouse.agent.settings import Listen
from pilothouse.kit.errors import SettingsError

BASE_PORT: Final = 8080
"""The gateway's port from which all others keep their distance."""
SERVICE_PORT: Final = 9080
"""What apps write after a name. Nothing listens there, so it does not move."""
XDS_PORT, ADMIN_PORT = 15010, 15014
PROXY_PORT, ENVOY_ADMIN_PORT, STATUS_PORT, READINESS_PORT = 15001, 15000, 15020, 15021
INBOUND_PORT, APP_PORT = 19080, 29080
HIGHEST_PORT: Final = APP_PORT

DOMAIN: Final = "service.mesh"
LOOPBACK: Final = "127.0.0.1"
GATEWAY_NAME: Final = "gateway"
GATEWAY_ADDRESS: Final = "127.44.0.9"
GATEWAY_LABELS: Final = (("app", "istio-ingressgateway"), ("istio", "ingressgateway"))
CONTROL_PLANE: Final = "control-plane"

WORKLOADS: Final = (
    ("productpage", "v1", "127.44.0.1"),
    ("details", "v1", "127.44.0.2"),
    ("reviews", "v1", "127.44.0.3"),
    ("reviews", "v2", "127.44.0.4"),
    ("reviews", "v3", "127.44.0.5"),
    ("ratings", "v1", "127.44.0.6"),
)

COMMAND_MODULE: Final = "pilothouse.cli.main"


class Kind(StrEnum):
    """What a process of the mesh is."""

    CONTROL_PLANE = "control plane"
    GATEWAY = "gateway"
    SIDECAR = "sidecar"
    APP = "app"


@dataclass(frozen=True, slots=True)
class ProcessPlan:
    """One process. ``arguments`` follow ``python -m`` of the module that they begin with; ``environment`` is added to
    what every process gets. Its output is appended to the file ``log``."""

    name: str
    kind: Kind
    arguments: tuple[str, ...]
    environment: tuple[tuple[str, str], ...]
    log: str


@dataclass(frozen=True, slots=True)
class WorkloadPlan:
    """One app and its sidecar on an address of their own."""

    service: str
    version: str
    address: str
    offset: int

    @property
    def name(self) -> str:
        """``reviews-v1``."""
        return f"{self.service}-{self.version}"

    @property
    def app(self) -> Listen:
        """Where the app itself listens. Nobody but its sidecar is told."""
        return Listen(self.address, APP_PORT + self.offset)

    @property
    def inbound(self) -> Listen:
        """Where the sidecar takes what callers send; this is what is registered."""
        return Listen(self.address, INBOUND_PORT + self.offset)

    @property
    def proxy(self) -> Listen:
        """The app's HTTP proxy: its sidecar."""
        return Listen(self.address, PROXY_PORT + self.offset)

    @property
    def mapping(self) -> str:
        """The three ports of the service as ``pilothouse agent --service`` takes them."""
        return f"{self.service}:{SERVICE_PORT}:{self.inbound.port}:{self.app.port}/http"

    @property
    def proxy_environment(self) -> tuple[tuple[str, str], ...]:
        """What makes any HTTP client of the app go through its sidecar, and nothing else."""
        url, direct = f"http://{self.proxy}", "localhost,127.0.0.1"
        return (("HTTP_PROXY", url), ("http_proxy", url), ("NO_PROXY", direct), ("no_proxy", direct))


@dataclass(frozen=True, slots=True)
class MeshPlan:
    """The whole mesh. ``folder`` holds the token, the state and the logs; ``config_folder`` the user's YAML."""

    port: int
    folder: str
    config_folder: str
    workloads: tuple[WorkloadPlan, ...]
    direct_xds: bool = False

    @classmethod
    def of(cls, port: int, folder: str, config_folder: str, *, direct_xds: bool = False) -> Self:
        """The plan whose gateway listens on ``port``. Raises SettingsError if that moves any port out of range."""
        offset = port - BASE_PORT
        least, most = 1, 65535 - HIGHEST_PORT + BASE_PORT
        if not least <= port <= most:
            raise SettingsError(
                f"--port {port}: the other ports keep their distance to it, up to {HIGHEST_PORT + offset}; "
                f"choose a port from 1024 to {most}"
            )
        workloads = tuple(WorkloadPlan(service, version, address, offset) for service, version, address in WORKLOADS)
        return cls(port, folder, config_folder, workloads, direct_xds)

    @property
    def offset(self) -> int:
        """How far every port is moved."""
        return self.port - BASE_PORT

    @property
    def gateway(self) -> Listen:
        """Where the mesh is entered."""
        return Listen(LOOPBACK, self.port)

    @property
    def page_url(self) -> str:
        """Where to click."""
        return f"http://{self.gateway}/productpage"

    @property
    def xds(self) -> Listen:
        """Where agents and Envoys connect."""
        return Listen(LOOPBACK, XDS_PORT + self.offset)

    @property
    def admin(self) -> Listen:
        """Where the control plane answers people."""
        return Listen(LOOPBACK, ADMIN_PORT + self.offset)

    @property
    def token_file(self) -> str:
        """The credential of this mesh."""
        return f"{self.folder}/token"

    @property
    def settings_file(self) -> str:
        """The control plane's settings."""
        return f"{self.folder}/mesh.yaml"

    @property
    def log_folder(self) -> str:
        """Where every process logs."""
        return f"{self.folder}/logs"

    @property
    def proxy_names(self) -> tuple[str, ...]:
        """The proxies in the order in which they are shown, the gateway last."""
        return (*(workload.name for workload in self.workloads), GATEWAY_NAME)

    def envoy_admin(self, name: str) -> Listen:
        """The admin interface of the Envoy of a workload or of the gateway. Raises KeyError for any other name."""
        return Listen(self._address(name), ENVOY_ADMIN_PORT + self.offset)

    def log_of(self, name: str, file: str) -> str:
        """A log file of a workload or of the gateway: ``access.log``, ``envoy.log``, ``agent.log`` or ``app.log``."""
        return f"{self.log_folder}/{name}/{file}"

    def uses(self) -> Iterator[tuple[str, Listen]]:
        """Everything that is listened on, with what it is for."""
        yield "the gateway", self.gateway
        yield "the control plane (xDS)", self.xds
        yield "the control plane (admin)", self.admin
        for workload in self.workloads:
            yield f"the app {workload.name}", workload.app
            yield f"the sidecar of {workload.name}", workload.inbound
            yield f"the HTTP proxy of {workload.name}", workload.proxy
        for name in self.proxy_names:
            address = self._address(name)
            yield f"the Envoy of {name} (admin)", self.envoy_admin(name)
            yield f"the agent of {name} (status)", Listen(address, STATUS_PORT + self.offset)
            yield f"the agent of {name} (readiness)", Listen(address, READINESS_PORT + self.offset)

    def settings_text(self) -> str:
        """The control plane's settings file, as a person would write it."""

        def quote(text: str) -> str:
            return msgspec.json.encode(text).decode()  # JSON's strings are YAML's, whatever a path holds.

        return (
            "# The control plane of this mesh: `pilothouse serve --config` with this file.\n"
            f"xds_address: {self.xds}\n"
            f"admin_address: {self.admin}\n"
            f"config_folder: {quote(self.config_folder)}\n"
            f"state_dir: {quote(self.folder + '/state/' + CONTROL_PLANE)}\n"
            f"token_file: {quote(self.token_file)}\n"
            f"domain: {DOMAIN}\n"
        )

    def processes(self) -> tuple[ProcessPlan, ...]:
        """Every process in the order of starting: what others wait for comes first."""
        sidecars = tuple(self._sidecar(workload) for workload in self.workloads)
        apps = tuple(self._app(workload) for workload in self.workloads)
        return (self._control_plane(), self._gateway(), *sidecars, *apps)

    def _address(self, name: str) -> str:
        return {GATEWAY_NAME: GATEWAY_ADDRESS, **{one.name: one.address for one in self.workloads}}[name]

    def _control_plane(self) -> ProcessPlan:
        arguments = (COMMAND_MODULE, "serve", "--config", self.settings_file)
        return ProcessPlan(CONTROL_PLANE, Kind.CONTROL_PLANE, arguments, (), f"{self.log_folder}/control-plane.log")

    def _agent(self, name: str, labels: tuple[tuple[str, str], ...], *rest: str) -> tuple[str, ...]:
        """What sidecars and the gateway have in common."""
        chosen = [text for key, value in labels for text in ("--label", f"{key}={value}")]
        offset, address = self.offset, self._address(name)
        return (
            *(COMMAND_MODULE, "agent", "--name", name, "--address", address),
            *("--discovery", str(self.xds), "--token-file", self.token_file),
            *("--state-dir", f"{self.folder}/state/{name}", "--log-dir", f"{self.log_folder}/{name}"),
            *("--admin-address", address, "--admin-port", str(ENVOY_ADMIN_PORT + offset)),
            *("--status-port", str(STATUS_PORT + offset), "--readiness-port", str(READINESS_PORT + offset)),
            *(("--direct-xds",) if self.direct_xds else ()),
            *chosen,
            *rest,
        )

    def _gateway(self) -> ProcessPlan:
        arguments = self._agent(GATEWAY_NAME, GATEWAY_LABELS, "--gateway")
        return ProcessPlan(GATEWAY_NAME, Kind.GATEWAY, arguments, (), self.log_of(GATEWAY_NAME, "agent.log"))

    def _sidecar(self, workload: WorkloadPlan) -> ProcessPlan:
        labels = (("app", workload.service), ("version", workload.version))
        name = workload.name
        arguments = self._agent(
            name,
            labels,
            *("--service", workload.mapping, "--app-address", workload.address),
            *("--http-proxy-port", str(workload.proxy.port), "--health", "http:/health"),
        )
        return ProcessPlan(f"{name} sidecar", Kind.SIDECAR, arguments, (), self.log_of(name, "agent.log"))

    def _app(self, workload: WorkloadPlan) -> ProcessPlan:
        arguments = (
            f"pilothouse_bookinfo.{workload.service}",
            *("--address", workload.app.address, "--port", str(workload.app.port)),
            *("--version", workload.version, "--domain", DOMAIN),
        )
        name = workload.name
        return ProcessPlan(f"{name} app", Kind.APP, arguments, workload.proxy_environment, self.log_of(name, "app.log"))

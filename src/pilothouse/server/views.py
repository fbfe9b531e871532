"""Reads the live state for people: the status, and istiod's debug shapes.

Between the admin API and the parts that hold state. Every answer is made at the moment of asking and only reads.
Sources of the debug shapes: istio-behaviour §4 and §8 (``pilot/pkg/xds/debug.go``, field names as Go writes them).
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from pilothouse import __version__
from pilothouse.aio.clock import Clock
from pilothouse.config.kinds import KINDS
from pilothouse.config.objects import ConfigObject
from pilothouse.model.node import decode_node
from pilothouse.model.proxy import Role, TcpBind
from pilothouse.model.service import Endpoint, Resolution, Service
from pilothouse.registry.directory import SOURCE as EMBEDDED
from pilothouse.registry.leases import Suspect
from pilothouse.server.ads import AdsServer
from pilothouse.server.agents import AgentBoard, AgentReport
from pilothouse.server.counters import Counters
from pilothouse.server.pipeline import Pipeline
from pilothouse.server.readmodel import (
    AgentState,
    ProxyStatus,
    Status,
    SuspectState,
    show_problem,
    show_suspect,
    show_type,
)
from pilothouse.server.stream import XdsStream
from pilothouse.xds.protocol import SyncState
from pilothouse.xds.resource import CLUSTER, ENDPOINT, LISTENER, ROUTE, SHORT_NAMES, Resource, Snapshot

_RESOLUTIONS: Final = {
    Resolution.STATIC: 0,
    Resolution.DNS: 1,
    Resolution.DNS_ROUND_ROBIN: 2,
    Resolution.NONE: 3,
}
"""istiod's numbers (``model.Resolution``): ClientSideLB, DNSLB, DNSRoundRobinLB, Passthrough."""

UNSPECIFIED: Final = "0.0.0.0"
"""What istiod writes where a service has no address of its own."""

_SYNC_FIELDS: Final = {CLUSTER: "cluster", LISTENER: "listener", ROUTE: "route", ENDPOINT: "endpoint"}


@dataclass(frozen=True, slots=True)
class LiveState:
    """The parts that hold state, as the views read them."""

    pipeline: Pipeline[Any]
    ads: AdsServer
    board: AgentBoard
    counters: Counters
    clock: Clock
    started_at: float
    suspects: Callable[[], tuple[Suspect, ...]] = tuple


def read_status(live: LiveState) -> Status:
    """Everything that ``/api/status`` says."""
    world = live.pipeline.world
    registries = world.registries.values()
    return Status(
        version=__version__,
        ready=live.pipeline.ready,
        started_at=live.started_at,
        now=live.clock.wall(),
        waits_for=live.pipeline.waits_for,
        proxies=tuple(read_proxies(live)),
        problems=tuple(show_problem(problem) for problem in live.pipeline.problems),
        services=sum(len(registered.services) for registered in registries),
        endpoints=sum(len(members) for registered in registries for members in registered.endpoints.values()),
        workloads=len(world.workloads),
        objects=sum(len(config.objects) for config in world.configs.values()),
        suspects=read_suspects(live),
    )


def read_suspects(live: LiveState) -> tuple[SuspectState, ...]:
    """The workloads whose agents are lost, in wall-clock time; longest first."""
    offset = live.clock.wall() - live.clock.monotonic()
    return tuple(show_suspect(suspect, offset) for suspect in live.suspects())


def read_proxies(live: LiveState) -> Iterable[ProxyStatus]:
    """Every proxy in the order of its id: those with a stream, and those of which only an agent speaks."""
    newest: dict[str, XdsStream[Any, Any]] = {}
    count: dict[str, int] = {}
    for stream in live.ads.streams:
        newest[stream.proxy.id] = stream
        count[stream.proxy.id] = count.get(stream.proxy.id, 0) + 1
    offset = live.clock.wall() - live.clock.monotonic()
    shown = [_connected(stream, count[i], live.board.find(i), offset) for i, stream in newest.items()]
    shown += [_unconnected(report) for report in live.board.all() if report.node_id not in newest]
    return sorted(shown, key=lambda proxy: proxy.id)


def _connected(
    stream: XdsStream[Any, Any], streams: int, report: AgentReport | None, wall_offset: float
) -> ProxyStatus:
    proxy = stream.proxy
    return ProxyStatus(
        id=proxy.id,
        name=proxy.name,
        namespace=proxy.namespace,
        role=proxy.role.value,
        address=proxy.address,
        version=proxy.envoy_version,
        variant=stream.variant,
        connected_since=stream.connected_at,
        streams=streams,
        types=tuple(show_type(status, wall_offset, stream.connected_at) for status in stream.status()),
        agent=_agent(report),
        tcp=tuple(show_bind(bind, stream.offered) for bind in proxy.tcp),
    )


def show_bind(bind: TcpBind, snapshot: Snapshot | None) -> str:
    """A TCP listener that the agent asked for, with why the proxy has none."""
    held = snapshot is not None and snapshot.find(LISTENER, f"{bind.at.address}_{bind.at.port}") is not None
    return str(bind) if held else f"{bind} (no such service and port)"


def _unconnected(report: AgentReport) -> ProxyStatus:
    try:
        proxy = decode_node(report.node_id, {})
        name, namespace, role, address = proxy.name, proxy.namespace, proxy.role.value, proxy.address
    except ValueError:
        name, namespace, role, address = report.node_id, "", Role.SIDECAR.value, ""
    return ProxyStatus(
        id=report.node_id,
        name=name,
        namespace=namespace,
        role=role,
        address=address,
        version=report.envoy.version if report.envoy else "",
        variant="",
        connected_since=None,
        streams=0,
        agent=_agent(report),
    )


def _agent(report: AgentReport | None) -> AgentState | None:
    if report is None:
        return None
    return AgentState(report.pid, report.connected, report.heard_at, report.workload_id, report.envoy)


def read_syncz(live: LiveState) -> list[dict[str, object]]:
    """istiod's ``/debug/syncz``: what was sent equals what was acknowledged exactly where a type is SYNCED."""
    answer: list[dict[str, object]] = []
    for stream in live.ads.streams:
        proxy = stream.proxy
        row: dict[str, object] = {
            "cluster_id": "pilothouse",
            "proxy": f"{proxy.name}.{proxy.namespace}",
            "proxy_type": proxy.role.value,
            "proxy_version": proxy.envoy_version,
            "istio_version": __version__,
        }
        for status in stream.status():
            field = _SYNC_FIELDS.get(status.type_url)
            if field is not None and status.state is not SyncState.NOT_SENT:
                sent = f"{status.resources}@{status.since:.3f}"
                row[f"{field}_sent"] = sent
                row[f"{field}_acked"] = sent if status.state is SyncState.SYNCED else ""
        answer.append(row)
    return answer


def read_registryz(live: LiveState) -> list[dict[str, object]]:
    """istiod's ``/debug/registryz``: every service of every registry, in order; ``suspects`` is ours."""
    suspects = read_suspects(live)
    return [
        _service(registry, service)
        | {"suspects": [_suspect(s) for s in suspects if registry == EMBEDDED and service.host in s.services]}
        for registry, registered in sorted(live.pipeline.world.registries.items())
        for _, service in sorted(registered.services.items())
    ]


def _suspect(suspect: SuspectState) -> dict[str, object]:
    return {
        "workload": suspect.workload,
        "suspect since": datetime.fromtimestamp(suspect.since, UTC).isoformat(timespec="milliseconds"),
        "reason": suspect.reason,
        "held": suspect.held,
    }


def _service(registry: str, service: Service) -> dict[str, object]:
    return {
        "Attributes": {
            "ServiceRegistry": registry,
            "Name": service.host.split(".", 1)[0],
            "Namespace": service.namespace,
            "Labels": dict(service.labels),
            "ExportTo": list(service.export_to),
        },
        "ports": [{"name": p.name, "port": p.number, "protocol": p.protocol.value} for p in service.ports],
        "hostname": service.host,
        "clusterVIPs": {"Addresses": {registry: list(service.addresses)}} if service.addresses else {},
        "defaultAddress": service.addresses[0] if service.addresses else UNSPECIFIED,
        "Resolution": _RESOLUTIONS[service.resolution],
        "MeshExternal": service.location_external,
        "origin": str(service.origin),
    }


def read_endpointz(live: LiveState) -> list[dict[str, object]]:
    """istiod's ``/debug/endpointz``: per service and port, its instances."""
    return [
        {"svc": f"{key.host}:{port}", "ep": [_instance(key.host, e) for e in members if e.service_port == port]}
        for _, registered in sorted(live.pipeline.world.registries.items())
        for key, members in sorted(registered.endpoints.items())
        for port in sorted({e.service_port for e in members})
    ]


def _instance(host: str, endpoint: Endpoint) -> dict[str, object]:
    return {
        "service": host,
        "endpoint": {
            "Address": endpoint.address,
            "EndpointPort": endpoint.port,
            "ServicePortName": endpoint.service_port,
            "Labels": dict(endpoint.labels),
            "Locality": {"Label": str(endpoint.locality)},
            "LbWeight": endpoint.weight,
            "Network": endpoint.network,
            "ServiceAccount": endpoint.service_account,
            "HealthStatus": endpoint.health.value,
            "WorkloadName": endpoint.workload_id,
        },
        "origin": str(endpoint.origin),
    }


def read_configz(live: LiveState) -> list[dict[str, object]]:
    """istiod's ``/debug/configz``: every object as it is served, in the form of the Kubernetes API."""
    return [
        _object(config)
        for _, delta in sorted(live.pipeline.world.configs.items())
        for config in delta.objects
        if isinstance(config, ConfigObject)
    ]


def _object(config: ConfigObject) -> dict[str, object]:
    kind = KINDS.get(config.key.kind)
    return {
        "kind": config.key.kind,
        "apiVersion": kind.api_version if kind else "",
        "metadata": {
            "name": config.key.name,
            "namespace": config.key.namespace,
            "labels": dict(config.labels),
            "creationTimestamp": config.created or None,
            "annotations": {"pilothouse.dev/origin": str(config.origin)},
        },
        "spec": msgspec.to_builtins(config.spec, str_keys=True),
    }


def read_config_dump(live: LiveState, proxy_id: str) -> dict[str, object] | None:
    """What a proxy should hold: per type, the names, versions and origins of its resources. None if it is unknown.

    ``proxy_id`` is a node id, or ``NAME.NAMESPACE`` as istioctl writes it.
    """
    for stream in reversed(live.ads.streams):
        proxy = stream.proxy
        if proxy_id not in (proxy.id, f"{proxy.name}.{proxy.namespace}"):
            continue
        offered = stream.offered
        layers = offered.layers if offered is not None else {}
        return {
            "proxy": proxy.id,
            "configs": {
                SHORT_NAMES.get(type_url, type_url): [
                    _show_resource(r) for layer in layers[type_url] for r in layer.by_name.values()
                ]
                for type_url in layers
            },
        }
    return None


def _show_resource(resource: Resource) -> dict[str, object]:
    """One resource of ``config_dump``. ``parts`` are the places that made a virtual host's routes, in their order."""
    shown: dict[str, object] = {
        "name": resource.name,
        "version": resource.version,
        "bytes": len(resource.body),
        "origins": [str(origin) for origin in resource.origins],
    }
    if resource.parts:
        shown["parts"] = [str(origin) for origin in resource.parts]
    return shown

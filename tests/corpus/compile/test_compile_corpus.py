"""Each folder beside this file is a case: what Istio's objects become for given services and proxies, reviewed as text.

``input.yaml`` holds the objects. ``services.yaml`` says which services and proxies there are (``reviews`` with v1 and
v2, and the sidecar of ``productpage``, unless said otherwise), and the outbound policy. ``expect/`` holds the resources
with their origins, and the Problems. ``requests.txt`` holds requests and what becomes of them. ``--update`` rewrites
both.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.endpoint.v3 import endpoint_pb2
from envoy.config.listener.v3 import listener_pb2
from envoy.config.route.v3 import route_components_pb2, route_pb2
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from msgspec import structs

from pilothouse.compiler.mesh import MeshCompiler
from pilothouse.kit.problem import Problem
from pilothouse.model.node import decode_node
from pilothouse.model.proxy import Proxy, Role, Workload
from pilothouse.model.service import Port, protocol_of
from pilothouse.model.world import MeshSettings, OutboundPolicy, WorkloadDelta, World, fold
from pilothouse.simulate.request import request_for
from pilothouse.xds.resource import CLUSTER, ENDPOINT, LISTENER, ROUTE, VIRTUAL_HOST, Snapshot
from tests.worlds import (
    PROXY_PORT,
    ServiceBuilder,
    a_gateway,
    a_service,
    a_sidecar,
    a_workload,
    ask,
    compile_snapshots,
    objects_of,
    services_of,
)

CASES = Path(__file__).parent
FILES: Mapping[str, tuple[tuple[str, type[Message]], ...]] = {
    "clusters.yaml": ((CLUSTER, cluster_pb2.Cluster),),
    "endpoints.yaml": ((ENDPOINT, endpoint_pb2.ClusterLoadAssignment),),
    "listeners.yaml": ((LISTENER, listener_pb2.Listener),),
    "routes.yaml": ((ROUTE, route_pb2.RouteConfiguration), (VIRTUAL_HOST, route_components_pb2.VirtualHost)),
}
MAPS = ("filter_metadata", "typed_per_filter_config", "typed_extension_protocol_options")
"""Fields whose keys come in no order."""
DEFAULT_SERVICES: dict[str, Any] = {
    "services": [{"name": "reviews", "endpoints": ["v1", "v2"]}],
    "proxies": [{"sidecar": "productpage"}],
}


class Case:
    """One folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        described = folder / "services.yaml"
        told = yaml.safe_load(described.read_text()) if described.exists() else {}
        self.told = {**DEFAULT_SERVICES, **told}
        self.proxies = {name: proxy for name, proxy in map(proxy_of, self.told["proxies"])}

    def world(self) -> World:
        objects = objects_of((self.folder / "input.yaml").read_text())
        services = services_of(*map(service_of, self.told["services"]))
        served = (w for w in self.told.get("workloads", ()))
        workloads = WorkloadDelta(tuple(workload_of(w) for w in served))
        settings = MeshSettings(outbound=OutboundPolicy(self.told.get("outbound", "ALLOW_ANY")))
        return fold(World(settings=settings), (*services, objects, workloads))

    def compiled(self) -> tuple[dict[str, Snapshot], list[str]]:
        """The snapshot of each proxy, and all Problems in brief: their texts have a corpus of their own."""
        world = self.world()
        snapshots = compile_snapshots(world, list(self.proxies.values()))
        found = [p for config in world.configs.values() for p in config.problems]
        found += MeshCompiler().resolve(world).problems
        return dict(zip(self.proxies, snapshots, strict=True)), [brief(problem) for problem in dict.fromkeys(found)]


def brief(problem: Problem) -> str:
    where = f"{problem.origin}: {problem.severity} [{problem.code.code}] {problem.origin.subject}"
    return f"{where} {problem.path}" if problem.path else where


def service_of(told: dict[str, Any]) -> ServiceBuilder:
    service = a_service(told["name"], told.get("namespace", "default"), told.get("registry", "embedded"))
    if "ports" in told:
        service = service.with_ports(*(Port(p["number"], p["name"], protocol_of(p["protocol"])) for p in told["ports"]))
    if "exportTo" in told:
        service = service.exported_to(*told["exportTo"])
    return service.with_endpoints(*told.get("endpoints", ()))


def workload_of(told: dict[str, Any]) -> Workload:
    made = a_workload(told["name"], *((p["host"], p["port"]) for p in told["serves"]))
    protocols = (protocol_of(p.get("protocol", "HTTP")) for p in told["serves"])
    ports = tuple(
        structs.replace(port, protocol=protocol) for port, protocol in zip(made.ports, protocols, strict=True)
    )
    return structs.replace(made, ports=ports)


def proxy_of(told: dict[str, Any]) -> tuple[str, Proxy]:
    """A proxy: ``tcp`` and ``guarded`` are what its agent announces, ``bind`` and ``address`` where it listens."""
    name = told.get("sidecar") or told["gateway"]
    made = a_sidecar if "sidecar" in told else a_gateway
    proxy = made(name, told.get("namespace", "default"), **told.get("labels", {}))
    announced = decode_node(proxy.id, {key: told[key] for key in told if key.startswith("PILOTHOUSE_")})
    return name, structs.replace(
        proxy,
        tcp=announced.tcp,
        guarded=announced.guarded,
        address=told.get("address", proxy.address),
        envoy_version=told.get("envoy", proxy.envoy_version),
        http_proxy_address=told.get("bind", proxy.http_proxy_address),
    )


def shown(snapshot: Snapshot, kinds: tuple[tuple[str, type[Message]], ...]) -> list[dict[str, Any]]:
    """Resources as YAML values, each with its origins."""
    return [
        {
            "name": resource.name,
            "origins": [str(origin) for origin in resource.origins],
            "resource": plain(MessageToDict(message.FromString(resource.body), preserving_proto_field_name=True)),
        }
        for type_url, message in kinds
        for resource in snapshot.resources(type_url)
    ]


def plain(value: Any, *, sort: bool = False) -> Any:
    """Dictionaries and lists only, as the YAML writer wants them; the keys of protobuf's maps in order."""
    if isinstance(value, dict):
        keys = sorted(value) if sort else list(value)
        return {key: plain(value[key], sort=sort or key in MAPS) for key in keys}
    return [plain(item, sort=sort) for item in value] if isinstance(value, list) else value


def expectations(case: Case) -> Iterator[tuple[Path, str]]:
    """Every expected file with the text that it should have."""
    snapshots, problems = case.compiled()
    for name, kinds in FILES.items():
        yield (
            case.folder / "expect" / name,
            dumped({proxy: shown(snapshot, kinds) for proxy, snapshot in snapshots.items()}),
        )
    yield case.folder / "expect" / "problems.yaml", dumped(problems)
    asked = case.folder / "requests.txt"
    if asked.exists():
        yield asked, answered(asked.read_text(), case.proxies, snapshots)


def dumped(value: object) -> str:
    return yaml.dump(value, Dumper=yaml.CSafeDumper, sort_keys=False, width=120, allow_unicode=True)


def answered(text: str, proxies: Mapping[str, Proxy], snapshots: Mapping[str, Snapshot]) -> str:
    """The requests with what becomes of each.

    ``GET URL from PROXY [at ADDRESS:PORT]``, lines with headers, a line with ``→ verdict``. Other lines stay.
    """
    out: list[str] = []
    headers: dict[str, str] = {}
    asked: list[str] = []
    for line in [*text.splitlines(), ""]:
        words = line.split()
        if asked and (not words or words[0] == "→"):
            out.append(f"  → {verdict(asked, headers, proxies, snapshots)}")
            asked, headers = [], {}
            if not words:
                out.append(line)
            continue
        out.append(line)
        if len(words) >= 4 and words[2] == "from":
            asked = words
        elif asked:
            name, _, value = line.strip().partition(": ")
            headers[name] = value
    return "\n".join(out).rstrip() + "\n"


def verdict(
    asked: list[str], headers: dict[str, str], proxies: Mapping[str, Proxy], snapshots: Mapping[str, Snapshot]
) -> str:
    method, url, _, proxy, *place = asked
    address, _, port = place[1].rpartition(":") if place else ("127.0.0.1", "", str(PROXY_PORT))
    if proxies[proxy].role is Role.GATEWAY:
        assert place, f"{url}: a request to a gateway says at which address"
    return str(ask(snapshots[proxy], request_for(url, method, headers), (address, int(port))))


@pytest.mark.parametrize(
    "folder", sorted(f for f in CASES.iterdir() if (f / "input.yaml").exists()), ids=lambda folder: folder.name
)
def test_case_compiles_to_what_was_reviewed(folder: Path, request: pytest.FixtureRequest) -> None:
    case = Case(folder)
    for path, text in expectations(case):
        if request.config.getoption("--update"):
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        assert path.exists(), f"{path.relative_to(CASES)} is missing: write it with --update and review it"
        assert path.read_text() == text, f"{path.relative_to(CASES)} differs: review, or rewrite it with --update"


def test_every_expected_file_belongs_to_a_case() -> None:
    known = {*FILES, "problems.yaml"}
    strange = [
        p for p in CASES.glob("*/expect/*") if p.name not in known or not (p.parent.parent / "input.yaml").exists()
    ]
    assert not strange

"""A compiler that a test can read, a pipeline around it, and clients on loopback."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
import grpc.aio
from envoy.service.discovery.v3 import discovery_pb2
from starlette.types import ASGIApp, Message

from pilothouse.aio.clock import SystemClock
from pilothouse.aio.tasks import Tasks
from pilothouse.kit.digest import digest
from pilothouse.kit.origin import RegistryOrigin
from pilothouse.kit.problem import Problem
from pilothouse.model.proxy import Proxy
from pilothouse.model.service import Port, Service, ServiceDelta, ServiceKey
from pilothouse.model.world import World
from pilothouse.server.ads import SERVER_OPTIONS, SERVICE, AdsServer
from pilothouse.server.counters import Counters
from pilothouse.server.pipeline import Pipeline
from pilothouse.server.settings import Debounce
from pilothouse.server.stream import StreamParts
from pilothouse.xds.resource import CLUSTER, ENDPOINT, Resource, ResourceSet, Snapshot, resource_set
from pilothouse.xds.settings import StreamSettings

NODE = "sidecar~127.0.0.9~reviews-v1.default~mesh"
AT_ONCE = Debounce(quiet=0.0, at_most=0.0)


@dataclass(frozen=True)
class FakeMesh:
    """A mesh of as many clusters as there are services."""

    world: World
    layer: ResourceSet
    problems: tuple[Problem, ...] = ()


@dataclass
class FakeCompiler:
    """One cluster per service, its load assignment empty; fails where a test says so. Counts what it was asked."""

    resolved: int = 0
    asked: list[str] = field(default_factory=list)
    fail_resolve: bool = False
    fail_for: str = ""
    padding: int = 0
    _snapshots: dict[int, tuple[FakeMesh, Snapshot]] = field(default_factory=dict)

    def resolve(self, world: World, previous: FakeMesh | None) -> FakeMesh:
        """The mesh of a World."""
        self.resolved += 1
        if self.fail_resolve:
            raise RuntimeError("resolve has a bug")
        hosts = sorted(key.host for registered in world.registries.values() for key in registered.services)
        return FakeMesh(world, resource_set(*(a_cluster(host, self.padding) for host in hosts)))

    def snapshot(self, mesh: FakeMesh, proxy: Proxy) -> Snapshot:
        """The same for every proxy."""
        self.asked.append(proxy.name)
        if proxy.name == self.fail_for:
            raise RuntimeError("compile has a bug")
        known = self._snapshots.setdefault(id(mesh), (mesh, Snapshot({CLUSTER: (mesh.layer,)})))
        return known[1]

    def sotw(self, snapshot: Snapshot) -> Snapshot:
        """Marked, so that a test sees that it was asked for."""
        return Snapshot(snapshot.layers, version="sotw")


def a_cluster(name: str, padding: int = 0) -> Resource:
    """A cluster resource; the body is not a cluster, which no one here minds."""
    body = name.encode() + b"." * padding
    return Resource(name, digest(body), body, (RegistryOrigin("test", name),), follows=((ENDPOINT, name),))


def services(*hosts: str) -> ServiceDelta:
    """A registry's full state."""
    found = tuple(Service(h, "default", (Port(80, "http"),), RegistryOrigin("test", h)) for h in hosts)
    return ServiceDelta("test", found, tuple((ServiceKey("default", h), ()) for h in hosts), complete=True)


async def until(condition: Callable[[], bool], seconds: float = 20) -> None:
    """Wait for a condition."""
    for _ in range(round(seconds / 0.01)):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise TimeoutError("the condition did not come true")


@dataclass
class Plane:
    """A pipeline with a fake compiler behind a real gRPC server."""

    compiler: FakeCompiler
    counters: Counters
    pipeline: Pipeline[FakeMesh]
    ads: AdsServer
    address: str
    channel: grpc.aio.Channel

    def submit(self, *hosts: str) -> None:
        """The registry reports these services."""
        self.pipeline.submit(services(*hosts))

    def delta(self) -> "DeltaClient":
        """A new delta stream."""
        return DeltaClient(self.channel)


@asynccontextmanager
async def a_plane(*, write_timeout: float = 20.0, ack_deadline: float = 5.0, padding: int = 0) -> AsyncIterator[Plane]:
    """A running control plane of the test's own on a free port, in which nothing is known yet."""
    compiler, counters, clock = FakeCompiler(padding=padding), Counters(), SystemClock()
    pipeline: Pipeline[FakeMesh] = Pipeline(compiler, clock, counters, world=World(), required=())
    settings = StreamSettings(ack_deadline=ack_deadline)
    ads = AdsServer(StreamParts(pipeline, clock, counters, settings, write_timeout))
    pipeline.turned = (ads.turn,)
    server = grpc.aio.server(options=SERVER_OPTIONS)
    server.add_generic_rpc_handlers((ads.handlers(),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with Tasks() as tasks, grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=LOCAL) as channel:
        tasks.start("pipeline", pipeline.run(AT_ONCE))
        yield Plane(compiler, counters, pipeline, ads, f"127.0.0.1:{port}", channel)
        ads.calls.close()
        await server.stop(0.5)


LOCAL = (
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_http_proxy", 0),
    ("grpc.max_receive_message_length", -1),
)


class DeltaClient:
    """A delta stream as Envoy would open it."""

    def __init__(self, channel: grpc.aio.Channel, node: str = NODE) -> None:
        connect = channel.stream_stream(
            f"/{SERVICE}/DeltaAggregatedResources",
            request_serializer=discovery_pb2.DeltaDiscoveryRequest.SerializeToString,
            response_deserializer=discovery_pb2.DeltaDiscoveryResponse.FromString,
        )
        self.call = connect()
        self._node = node

    async def ask(self, type_url: str = CLUSTER, *, node: str | None = None, **fields: Any) -> None:
        """Send a request; the first one carries the node."""
        request = discovery_pb2.DeltaDiscoveryRequest(type_url=type_url, **fields)
        name, self._node = (node if node is not None else self._node), ""
        if name:
            request.node.id = name
        await self.call.write(request)

    async def answer(self) -> discovery_pb2.DeltaDiscoveryResponse:
        """The next response."""
        async with asyncio.timeout(20):
            response = await self.call.read()
        assert isinstance(response, discovery_pb2.DeltaDiscoveryResponse), await self.call.details()
        return response

    async def acknowledge(self, response: discovery_pb2.DeltaDiscoveryResponse, error: str = "") -> None:
        """ACK, or NACK with a reason."""
        fields: dict[str, Any] = {"response_nonce": response.nonce}
        if error:
            fields["error_detail"] = {"message": error}
        await self.ask(response.type_url, **fields)

    async def end(self) -> tuple[grpc.StatusCode, str]:
        """How the server ended the stream."""
        async with asyncio.timeout(20):
            return await self.call.code(), await self.call.details() or ""


def names(response: discovery_pb2.DeltaDiscoveryResponse) -> list[str]:
    """The names of the resources in a response."""
    return [resource.name for resource in response.resources]


@dataclass(frozen=True)
class Reply:
    """An answer of the admin application."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


async def get(app: ASGIApp, path: str, **headers: str) -> Reply:
    """GET a path of an ASGI application, with ``Host: localhost`` unless told otherwise."""
    route, _, query = path.partition("?")
    sent: list[Message] = []
    fields = {"host": "localhost"} | {name.replace("_", "-"): value for name, value in headers.items()}
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": route,
        "raw_path": route.encode(),
        "root_path": "",
        "query_string": query.encode(),
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in fields.items()],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 15014),
    }

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    await app(scope, receive, send)
    start = next(message for message in sent if message["type"] == "http.response.start")
    body = b"".join(message.get("body", b"") for message in sent if message["type"] == "http.response.body")
    return Reply(start["status"], {k.decode(): v.decode() for k, v in start["headers"]}, body)

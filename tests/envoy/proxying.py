"""A small mesh around one real Envoy: apps behind inbound ports, and the ports through which a client reaches them.

The Envoy is the sidecar of both sides: what a client sends to its proxy port leaves by a cluster, comes in by an
inbound port and ends at an app, exactly as between two sidecars. A name server of the test's own may be put behind
the forward proxy, because a test may neither ask real ones nor leave loopback.
"""

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from typing import Any

import grpc.aio
from aiohttp import WSMsgType, web
from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.core.v3 import address_pb2 as core_address_pb2
from envoy.config.listener.v3 import listener_pb2
from envoy.extensions.clusters.dynamic_forward_proxy.v3 import cluster_pb2 as forward_cluster_pb2
from envoy.extensions.common.dynamic_forward_proxy.v3 import dns_cache_pb2
from envoy.extensions.filters.http.dynamic_forward_proxy.v3 import dynamic_forward_proxy_pb2
from envoy.extensions.network.dns_resolver.cares.v3 import cares_dns_resolver_pb2
from envoy.type.matcher.v3 import address_pb2
from google.protobuf.any_pb2 import Any as AnyMessage
from msgspec import structs

from pilothouse.compiler.outside import cidr
from pilothouse.kit.origin import RegistryOrigin
from pilothouse.model.proxy import InboundPort, Place, Proxy, TcpBind, Workload
from pilothouse.model.service import Endpoint, Port, Protocol, Service, ServiceDelta, ServiceKey
from pilothouse.model.world import MeshSettings, OutboundPolicy, WorkloadDelta, World, fold
from pilothouse.resolve.outside import NEVER_OUTSIDE
from pilothouse.xds.framing import bytes_field
from pilothouse.xds.resource import CLUSTER, LISTENER, Resource, Snapshot, resource_set
from tests.envoy.static_bootstrap import managers
from tests.envoy.steering import ControlPlane, RealEnvoy, an_envoy, free_port
from tests.worlds import a_sidecar, compile_snapshot

HOST = "127.0.0.1"
WORKLOAD = "default/app"


@dataclass(frozen=True)
class Served:
    """A service with one port, and where its app listens."""

    name: str
    port: int
    protocol: Protocol
    app_port: int
    inbound_port: int

    @property
    def host(self) -> str:
        return f"{self.name}.service.mesh"


def world_of_apps(served: Iterable[Served], policy: OutboundPolicy) -> World:
    """Each service with its one instance, whose sidecar is the Envoy of the test."""
    origin = RegistryOrigin("embedded", "test")
    services = tuple(Service(s.host, "default", (Port(s.port, "p", s.protocol),), origin) for s in served)
    endpoints = tuple((ServiceKey("default", s.host), (Endpoint(HOST, s.inbound_port, "p", origin),)) for s in served)
    ports = tuple(InboundPort(s.host, s.port, s.inbound_port, s.app_port, protocol=s.protocol) for s in served)
    batch = (
        ServiceDelta("embedded", services, endpoints, complete=True),
        WorkloadDelta((Workload(WORKLOAD, "default", HOST, ports),)),
    )
    return fold(World(settings=MeshSettings(outbound=policy, access_log=False)), batch)


@dataclass(frozen=True)
class Mesh:
    """A running mesh: the Envoy, and where a client finds things."""

    envoy: RealEnvoy
    proxy: Place
    tcp: Place
    web: Served
    echo: Served


@contextlib.asynccontextmanager
async def a_mesh(
    policy: OutboundPolicy = OutboundPolicy.ALLOW_ANY, *, resolver: int = 0, **changes: Any
) -> AsyncIterator[Mesh]:
    """The mesh, ready for requests. ``resolver`` is the port of a name server; ``changes`` are the proxy's."""
    async with contextlib.AsyncExitStack() as stack:
        web_app = Served("web", 9080, Protocol.HTTP, await stack.enter_async_context(a_web_app()), free_port())
        echo = Served("echo", 50051, Protocol.GRPC, await stack.enter_async_context(a_grpc_app()), free_port())
        data = Served("db", 5432, Protocol.TCP, await stack.enter_async_context(a_tcp_app()), free_port())
        place, bind = Place(HOST, free_port()), Place(HOST, free_port())
        proxy: Proxy = structs.replace(
            a_sidecar("app", tcp=(TcpBind(data.host, data.port, bind),)),
            **{"http_proxy_port": place.port, "workload_id": WORKLOAD, **changes},
        )
        snapshot = compile_snapshot(world_of_apps((web_app, echo, data), policy), proxy)
        plane = ControlPlane(free_port())
        plane.publish(with_resolver(snapshot, resolver) if resolver else snapshot)
        await plane.start()
        stack.push_async_callback(plane.stop)
        envoy = await stack.enter_async_context(an_envoy(plane.port))
        await plane.sees(lambda: bool(plane._subscribers))
        await plane.synced()
        await envoy.answers(place.port, 200, f"{web_app.host}:{web_app.port}")
        yield Mesh(envoy, place, bind, web_app, echo)


def with_resolver(snapshot: Snapshot, port: int) -> Snapshot:
    """The snapshot with a name server of the test's, and with 127.44.0.0/16 standing for the outside world."""

    def changed(resource: Resource, kind: str) -> Resource:
        if kind == CLUSTER:
            return resource if resource.name != "PassthroughCluster" else changed_cluster(resource, port)
        return changed_listener(resource, port)

    layers = {
        kind: tuple(resource_set(*(changed(r, kind) for r in layer.values())) for layer in sets)
        if kind in (CLUSTER, LISTENER)
        else sets
        for kind, sets in snapshot.layers.items()
    }
    return Snapshot(layers)


def changed_cluster(resource: Resource, port: int) -> Resource:
    cluster = cluster_pb2.Cluster.FromString(resource.body)
    own = forward_cluster_pb2.ClusterConfig()
    cluster.cluster_type.typed_config.Unpack(own)
    own.dns_cache_config.CopyFrom(scripted_cache(port))
    cluster.cluster_type.typed_config.Pack(own)
    return replaced(resource, cluster.SerializeToString())


def changed_listener(resource: Resource, port: int) -> Resource:
    listener = listener_pb2.Listener.FromString(resource.body)
    for one, manager in managers(listener):
        for http_filter in manager.http_filters:
            own = dynamic_forward_proxy_pb2.FilterConfig()
            if http_filter.typed_config.Unpack(own):
                own.dns_cache_config.CopyFrom(scripted_cache(port))
                http_filter.typed_config.Pack(own)
        one.typed_config.Pack(manager)
    return replaced(resource, listener.SerializeToString())


def replaced(resource: Resource, body: bytes) -> Resource:
    return Resource(resource.name, f"{resource.version}-test", body, resource.origins, resource.follows)


def scripted_cache(port: int) -> dns_cache_pb2.DnsCacheConfig:
    """The product's cache, except for where it asks and for one part of loopback."""
    resolver = cares_dns_resolver_pb2.CaresDnsResolverConfig()
    where = core_address_pb2.SocketAddress(address=HOST, port_value=port, protocol="UDP")
    resolver.resolvers.add().socket_address.CopyFrom(where)
    packed = AnyMessage()
    packed.Pack(resolver)
    cache = dns_cache_pb2.DnsCacheConfig(name="outside", dns_lookup_family="V4_PREFERRED")
    cache.typed_dns_resolver_config.name = "envoy.network.dns_resolver.cares"
    cache.typed_dns_resolver_config.typed_config.CopyFrom(packed)
    ranges = [n for n in NEVER_OUTSIDE if n != "127.0.0.0/8"] + ["127.0.0.0/16"]
    never = address_pb2.AddressMatcher(ranges=[cidr(network) for network in ranges])
    cache.MergeFromString(bytes_field(16, never.SerializeToString()))
    return cache


class NameServer(asyncio.DatagramProtocol):
    """Answers questions for A records from ``names``; everything else does not exist."""

    def __init__(self, names: dict[str, tuple[str, ...]]) -> None:
        self.names = names
        self.transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        at, labels = 12, []
        while data[at]:
            labels.append(data[at + 1 : at + 1 + data[at]].decode().lower())
            at += 1 + data[at]
        name, (kind,) = ".".join(labels), struct.unpack(">H", data[at + 1 : at + 3])
        found = self.names.get(name, ()) if kind == 1 else ()
        flags = 0x8180 if name in self.names else 0x8183
        answer = data[:2] + struct.pack(">HHHHH", flags, 1, len(found), 0, 0) + data[12 : at + 5]
        for address in found:
            answer += b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 1, 4) + socket.inet_aton(address)
        self.transport.sendto(answer, addr)


@contextlib.asynccontextmanager
async def a_name_server(**names: tuple[str, ...]) -> AsyncIterator[int]:
    """A name server for ``NAME.example.com``; yields its port."""
    loop = asyncio.get_running_loop()
    known = {f"{name}.example.com": addresses for name, addresses in names.items()}
    transport, _ = await loop.create_datagram_endpoint(lambda: NameServer(known), (HOST, 0))
    try:
        yield transport.get_extra_info("sockname")[1]
    finally:
        transport.close()


@contextlib.asynccontextmanager
async def a_web_app(address: str = HOST, port: int = 0) -> AsyncIterator[int]:
    """Answers with its host and path; ``/stream`` in pieces, ``/ws`` echoes. Yields its port."""

    async def answer(request: web.Request) -> web.Response:
        return web.Response(text=f"{request.method} {request.host} {request.path}")

    async def stream(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        async for part in request.content.iter_any():
            await response.write(part)
        await response.write(b"end")
        return response

    async def socket_echo(request: web.Request) -> web.WebSocketResponse:
        response = web.WebSocketResponse()
        await response.prepare(request)
        async for message in response:
            if message.type is WSMsgType.TEXT:
                await response.send_str(f"echo {message.data}")
        return response

    app = web.Application()
    app.router.add_get("/ws", socket_echo)
    app.router.add_post("/stream", stream)
    app.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    port = port or free_port()
    await web.TCPSite(runner, address, port).start()
    try:
        yield port
    finally:
        await runner.cleanup()


@contextlib.asynccontextmanager
async def a_grpc_app() -> AsyncIterator[int]:
    """``/test.Echo/Say`` and ``/test.Echo/Count`` on bytes; yields its port."""

    async def say(request: bytes, _: Any) -> bytes:
        return b"echo " + request

    async def count(request: bytes, _: Any) -> AsyncIterator[bytes]:
        for number in range(int(request)):
            yield str(number).encode()

    handlers = {
        "Say": grpc.unary_unary_rpc_method_handler(say),
        "Count": grpc.unary_stream_rpc_method_handler(count),
    }
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Echo", handlers),))
    port = server.add_insecure_port(f"{HOST}:0")
    await server.start()
    try:
        yield port
    finally:
        await server.stop(None)


@contextlib.asynccontextmanager
async def a_tcp_app(address: str = HOST) -> AsyncIterator[int]:
    """Sends lines back in upper case; yields its port."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            writer.write(line.upper())
        writer.close()

    server = await asyncio.start_server(serve, address, 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def says(place: Place, *lines: bytes) -> bytes:
    """What a TCP server answers: one line for each line, and for each line that is empty nothing more is sent."""
    reader, writer = await asyncio.wait_for(asyncio.open_connection(place.address, place.port), 10)
    try:
        writer.write(b"".join(lines))
        return await asyncio.wait_for(reader.readline(), 10)
    finally:
        writer.close()

"""A scripted control plane and one real Envoy: what Envoy does with a snapshot is then seen, not believed.

The control plane is the product's own gRPC service and stream machines; only the snapshots are the test's.
"""

import asyncio
import contextlib
import socket
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import grpc.aio
from aiohttp import web

from pilothouse.agent.binary import find_envoy
from pilothouse.agent.bootstrap import encode_bootstrap
from pilothouse.agent.relay import Relay
from pilothouse.agent.settings import AgentSettings
from pilothouse.aio.clock import SystemClock
from pilothouse.compiler.clusters import compile_black_hole, compile_cluster
from pilothouse.compiler.endpoints import compile_assignment
from pilothouse.compiler.listeners import compile_listener
from pilothouse.compiler.routes import compile_table, compile_virtual_host
from pilothouse.kit.origin import BuiltIn
from pilothouse.model.service import Endpoint
from pilothouse.resolve.policy import TrafficPolicy
from pilothouse.resolve.view import (
    AssignmentView,
    ClusterView,
    DirectAnswer,
    Discovery,
    Forward,
    ListenerKind,
    ListenerView,
    RequestMatch,
    RouteView,
    TableHead,
    VirtualHostView,
    WeightedTarget,
)
from pilothouse.server.ads import SERVER_OPTIONS, AdsServer
from pilothouse.server.counters import Counters
from pilothouse.server.pipeline import Subscriber
from pilothouse.server.stream import StreamParts
from pilothouse.xds.protocol import SyncState, TypeStatus
from pilothouse.xds.resource import (
    CLUSTER,
    ENDPOINT,
    LISTENER,
    ROUTE,
    SHORT_NAMES,
    VIRTUAL_HOST,
    Resource,
    Snapshot,
    resource_set,
)
from pilothouse.xds.settings import StreamSettings

ORIGIN = (BuiltIn("a test"),)
ACK_DEADLINE = 2.0
PATIENCE = 15.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def a_cluster(name: str, policy: TrafficPolicy | None = None) -> Resource:
    return compile_cluster(ClusterView(name, name, "default", Discovery.EDS, policy or TrafficPolicy(), ORIGIN))


def an_assignment(name: str, *ports: int) -> Resource:
    return compile_assignment(AssignmentView(name, tuple(Endpoint("127.0.0.1", p, "http", ORIGIN[0]) for p in ports)))


def a_route(*clusters: str) -> RouteView:
    share = 100 // len(clusters)
    return RouteView(RequestMatch(), Forward(tuple(WeightedTarget(c, share) for c in clusters)), ORIGIN)


def an_answer(status: int, body: str) -> RouteView:
    return RouteView(RequestMatch(), DirectAnswer(status, body.encode()), ORIGIN)


def a_host(table: str, name: str, *routes: RouteView, domains: tuple[str, ...] = ()) -> Resource:
    return compile_virtual_host(VirtualHostView(table, name, domains or (name,), routes, ORIGIN))


def a_table(name: str) -> Resource:
    return compile_table(TableHead(name, ORIGIN))


def a_listener(port: int, table: str) -> Resource:
    return compile_listener(ListenerView(ListenerKind.GATEWAY, "127.0.0.1", port, ORIGIN, table=table))


def a_snapshot(**resources: list[Resource]) -> Snapshot:
    """A snapshot from ``clusters=``, ``endpoints=``, ``listeners=``, ``routes=`` and ``hosts=``."""
    types = {"clusters": CLUSTER, "endpoints": ENDPOINT, "listeners": LISTENER, "routes": ROUTE, "hosts": VIRTUAL_HOST}
    layers = {types[word]: (resource_set(*found),) for word, found in resources.items()}
    layers[CLUSTER] = (*layers.get(CLUSTER, ()), resource_set(compile_black_hole()))
    return Snapshot(layers)


@dataclass
class ControlPlane:
    """Serves one snapshot to whoever connects."""

    port: int
    settings: StreamSettings = field(default_factory=lambda: StreamSettings(ack_deadline=ACK_DEADLINE))
    counters: Counters = field(default_factory=Counters)
    snapshot: Snapshot | None = None
    _subscribers: list[Any] = field(default_factory=list)
    _server: grpc.aio.Server | None = None

    def join(self, subscriber: Subscriber) -> None:
        self._subscribers.append(subscriber)
        if self.snapshot is not None:
            subscriber.offer(self.snapshot, 0.0)

    def leave(self, subscriber: Subscriber) -> None:
        self._subscribers.remove(subscriber)

    def publish(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        for subscriber in self._subscribers:
            subscriber.offer(snapshot, 0.0)

    async def start(self) -> None:
        self._server = grpc.aio.server(options=SERVER_OPTIONS)
        ads = AdsServer(StreamParts(self, SystemClock(), self.counters, self.settings))
        self._server.add_generic_rpc_handlers((ads.handlers(),))
        self._server.add_insecure_port(f"127.0.0.1:{self.port}")
        await self._server.start()

    async def stop(self) -> None:
        if self._server is not None:
            await self._server.stop(None)
            self._server = None

    def status(self, type_url: str) -> TypeStatus:
        """Where the one connected proxy stands."""
        return next(s for s in self._subscribers[-1].status() if s.type_url == type_url)

    async def reaches(self, type_url: str, state: SyncState, deadline: float = PATIENCE) -> TypeStatus:
        """Wait until the proxy's type is in ``state``."""
        await self.sees(lambda: bool(self._subscribers) and self.status(type_url).state is state, deadline)
        return self.status(type_url)

    async def synced(self, deadline: float = PATIENCE) -> None:
        """Wait until everything is acknowledged and nothing waits."""

        def everything() -> bool:
            if not self._subscribers:
                return False
            asked = [s for s in self._subscribers[-1].status() if s.type_url != ENDPOINT or s.resources]
            return all(s.state is SyncState.SYNCED for s in asked)

        await self.sees(everything, deadline)

    async def sees(self, condition: Any, deadline: float = PATIENCE) -> None:
        try:
            async with asyncio.timeout(deadline):
                while not condition():
                    await asyncio.sleep(0.02)
        except TimeoutError:
            statuses = [s for subscriber in self._subscribers for s in subscriber.status()]
            found = [(SHORT_NAMES[s.type_url], s.state, s.outstanding, s.refusals) for s in statuses]
            raise AssertionError(f"did not come true within {deadline} s: {found}") from None


@dataclass
class RealEnvoy:
    """One Envoy with the product's own bootstrap."""

    admin_port: int
    process: asyncio.subprocess.Process
    log: Path

    async def admin(self, path: str) -> tuple[int, str]:
        async with (
            aiohttp.ClientSession(trust_env=False) as session,
            session.get(f"http://127.0.0.1:{self.admin_port}{path}") as answer,
        ):
            return answer.status, await answer.text()

    async def get(self, port: int, path: str = "/", host: str = "app") -> tuple[int, str]:
        """Status and body of a request to one of its listeners; 0 if nothing listens."""
        try:
            async with (
                aiohttp.ClientSession(trust_env=False) as session,
                session.get(f"http://127.0.0.1:{port}{path}", headers={"host": host}) as answer,
            ):
                return answer.status, (await answer.text()).strip()
        except aiohttp.ClientError:
            return 0, ""

    async def answers(self, port: int, status: int, host: str = "app", deadline: float = PATIENCE) -> str:
        """Wait until a request is answered with ``status``; its body."""
        last = (0, "")
        try:
            async with asyncio.timeout(deadline):
                while last[0] != status:
                    last = await self.get(port, host=host)
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise AssertionError(f"{host} on {port} answered {last}, not {status}") from None
        return last[1]

    async def names(self, resources: str) -> set[str]:
        """Names in a section of the configuration dump, such as ``dynamic_active_clusters``."""
        import json

        _, text = await self.admin(f"/config_dump?resource={resources}")
        found = json.loads(text).get("configs", [])
        return {(c.get("cluster") or c.get("listener") or c.get("route_config") or c).get("name", "") for c in found}


@contextlib.asynccontextmanager
async def an_envoy(control_plane_port: int, *, relayed: bool = False) -> AsyncIterator[RealEnvoy]:
    """An Envoy that is connected directly, or through a relay of this process."""
    with tempfile.TemporaryDirectory() as folder:
        admin = free_port()
        settings = AgentSettings(
            name="test",
            token="unused",
            state_dir=folder,
            direct_xds=not relayed,
            discovery_port=control_plane_port,
            admin_port=admin,
        )
        bootstrap = Path(folder) / "bootstrap.json"
        bootstrap.write_text(encode_bootstrap(settings, "test"))
        log = Path(folder) / "envoy.log"
        crashed: list[str] = []
        relaying = (
            Relay(settings).serving(lambda name, _: crashed.append(name)) if relayed else contextlib.nullcontext()
        )
        async with relaying, contextlib.AsyncExitStack() as stack:
            output = stack.enter_context(log.open("wb"))
            process = await asyncio.create_subprocess_exec(
                str(find_envoy()),
                *("-c", str(bootstrap), "--disable-hot-restart", "--concurrency", "1", "-l", "warning"),
                stdout=output,
                stderr=output,
            )
            try:
                yield RealEnvoy(admin, process, log)
            finally:
                if process.returncode is None:
                    process.kill()
                await process.wait()
        assert crashed == []


@contextlib.asynccontextmanager
async def an_upstream(name: str, port: int = 0) -> AsyncIterator[int]:
    """A small app that answers with its name; yields its port."""

    async def answer(_: web.Request) -> web.Response:
        return web.Response(text=name)

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    port = port or free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield port
    finally:
        await runner.cleanup()

"""An agent with its relay and a real Envoy, a control plane that comes and goes, and a wire between them that hangs."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from pilothouse.agent.binary import find_envoy
from pilothouse.agent.bootstrap import encode_bootstrap
from pilothouse.agent.run import run_agent
from pilothouse.agent.settings import AgentSettings
from pilothouse.model.proxy import Role
from pilothouse.xds.resource import Snapshot
from tests.envoy.steering import (
    PATIENCE,
    ControlPlane,
    RealEnvoy,
    a_cluster,
    a_host,
    a_listener,
    a_route,
    a_snapshot,
    a_table,
    an_answer,
    an_assignment,
    an_upstream,
    free_port,
)
from tests.load import Load
from tests.unit.agent.support import TOKEN, a_settings


@dataclass
class Wire:
    """A TCP forwarder that can hang as a stopped process does: it accepts, and passes nothing on."""

    target: int
    port: int = field(default_factory=free_port)
    hangs: bool = False
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    @asynccontextmanager
    async def open(self) -> AsyncIterator["Wire"]:
        server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        try:
            yield self
        finally:
            server.close()
            for task in tuple(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await server.wait_closed()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.transport.abort()
            return
        try:
            await asyncio.gather(self._pass(reader, back), self._pass(there, writer))
        except (OSError, asyncio.CancelledError):
            return  # asyncio's streams would report a cancelled handler as a fault
        finally:
            back.transport.abort()
            writer.transport.abort()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            while self.hangs:
                await asyncio.sleep(0.02)
            writer.write(data)
            await writer.drain()
        raise ConnectionResetError


@dataclass
class Site:
    """One gateway: its settings, its port, the app behind it, and the control plane of the moment."""

    settings: AgentSettings
    control: ControlPlane
    port: int
    upstream: int
    session: aiohttp.ClientSession

    def snapshot(self, *, clusters: tuple[str, ...] = ("one",), answer: str = "") -> Snapshot:
        """Traffic to the app, or an answer of Envoy's own."""
        route = an_answer(200, answer) if answer else a_route(clusters[0])
        return a_snapshot(
            clusters=[a_cluster(c) for c in clusters],
            endpoints=[an_assignment(c, self.upstream) for c in clusters],
            listeners=[a_listener(self.port, "web")],
            routes=[a_table("web")],
            hosts=[a_host("web", "app", route)],
        )

    def load(self, **changes: Any) -> Load:
        return Load(f"http://127.0.0.1:{self.port}/", headers={"host": "app"}, **changes)

    @asynccontextmanager
    async def load_when_it_answers(self) -> AsyncIterator[Load]:
        await self.answers()
        async with self.load() as load:
            yield load

    async def back(self, snapshot: Snapshot) -> ControlPlane:
        """A new control plane at the same place."""
        self.control = ControlPlane(self.control.port, snapshot=snapshot)
        await self.control.start()
        return self.control

    async def state(self) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {TOKEN}"}
        async with self.session.get(f"http://{self.settings.status}/debug/state", headers=headers) as answer:
            found: dict[str, Any] = (await answer.json())["snapshot"]
            return found

    async def relay_says(self, deadline: float = PATIENCE, **expected: Any) -> dict[str, Any]:
        """Wait until the relay's state holds these values."""
        relay: dict[str, Any] = {}
        try:
            async with asyncio.timeout(deadline):
                while any({**relay, **relay.get("store", {})}.get(key) != value for key, value in expected.items()):
                    with suppress(aiohttp.ClientError):
                        relay = (await self.state())["relay"]
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise AssertionError(f"the relay says {relay}, not {expected}") from None
        return relay

    async def stored(self, at_least: int = 1) -> None:
        """Wait until what Envoy acknowledged is on disk."""
        async with asyncio.timeout(PATIENCE):
            while (await self.state())["relay"]["store"]["writes"] < at_least:
                await asyncio.sleep(0.05)

    async def answers(self, body: str = "the app") -> None:
        envoy = RealEnvoy(self.settings.admin_port, None, Path())  # type: ignore[arg-type]  # only asked over HTTP
        async with asyncio.timeout(PATIENCE):
            while await envoy.get(self.port) != (200, body):
                await asyncio.sleep(0.02)


@asynccontextmanager
async def a_site(tmp_path: Path, *, rebooted: Site | None = None) -> AsyncIterator[Site]:
    """A site without a control plane yet; ``rebooted``: the same host with the same state folder."""
    control = rebooted.control if rebooted else ControlPlane(free_port())
    async with (
        an_upstream("the app", rebooted.upstream if rebooted else 0) as upstream,
        aiohttp.ClientSession(trust_env=False) as session,
    ):
        settings = (
            rebooted.settings
            if rebooted
            else a_settings(tmp_path, role=Role.GATEWAY, services=(), discovery_port=control.port, drain_seconds=0.0)
        )
        # The stored endpoints name the app's port, so it has to be where it was.
        site = Site(settings, control, rebooted.port if rebooted else free_port(), upstream, session)
        try:
            yield site
        finally:
            await site.control.stop()


@asynccontextmanager
async def an_agent(settings: AgentSettings) -> AsyncIterator[None]:
    """The whole agent in this process, with a real Envoy. It must end by itself when asked."""
    stop = asyncio.Event()
    ended = asyncio.ensure_future(run_agent(settings, stop))
    try:
        yield
    finally:
        stop.set()
        await asyncio.wait((ended,), timeout=30)
        assert ended.result() == 0


@asynccontextmanager
async def an_envoy_of(settings: AgentSettings) -> AsyncIterator[asyncio.subprocess.Process]:
    """An Envoy with the agent's bootstrap and no agent that would take it along."""
    bootstrap = Path(settings.state_dir) / "envoy.json"
    bootstrap.write_text(encode_bootstrap(settings, "test"))
    process = await asyncio.create_subprocess_exec(
        str(find_envoy()),
        *("-c", str(bootstrap), "--disable-hot-restart", "--concurrency", "1", "-l", "off"),
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        process.kill()
        await process.wait()

"""Drills: what is killed or renewed under constant load, and how many requests fail. Each prints both numbers."""

import asyncio
import os
import shutil
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from aiohttp import web

from pilothouse.agent.binary import find_envoy
from pilothouse.agent.control import Reply, Request, ask_agent
from pilothouse.agent.holding import held
from pilothouse.agent.run import run_agent
from pilothouse.agent.settings import AgentSettings, PortMapping
from pilothouse.kit.errors import AgentRunning
from tests.envoy.test_agent_envoy import exists, shared_memory
from tests.envoy.test_agent_run import discovery
from tests.load import Load, until
from tests.unit.agent.support import FakeControlPlane, a_settings, free_ports

pytestmark = [pytest.mark.envoy, pytest.mark.timeout(90)]

PROGRAM = """
import asyncio, signal, sys, msgspec
from pilothouse.agent.run import run_agent
from pilothouse.agent.settings import AgentSettings
settings = msgspec.json.decode(sys.stdin.buffer.read(), type=AgentSettings)
async def main():
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    return await run_agent(settings, stop)
sys.exit(asyncio.run(main()))
"""


@dataclass
class Drill:
    """An agent as a process of its own, its control plane, and questions about both."""

    settings: AgentSettings
    plane: FakeControlPlane
    session: aiohttp.ClientSession
    agents: list[asyncio.subprocess.Process] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://{self.settings.envoy_listeners[0]}/"

    @property
    def state_dir(self) -> Path:
        return Path(self.settings.state_dir)

    async def start(self, settings: AgentSettings | None = None) -> None:
        agent = await asyncio.create_subprocess_exec(
            sys.executable, "-c", PROGRAM, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL
        )
        assert agent.stdin is not None
        agent.stdin.write(msgspec.json.encode(settings or self.settings))
        agent.stdin.close()
        self.agents.append(agent)

    async def kill_agent(self) -> None:
        self.agents[-1].kill()
        await self.agents[-1].wait()

    async def readiness(self) -> tuple[int, str]:
        try:
            async with self.session.get(f"http://{self.settings.readiness}/healthz/ready") as response:
                return response.status, (await response.text()).strip()
        except aiohttp.ClientError as error:
            return 0, str(error)

    async def ready(self) -> None:
        async with asyncio.timeout(20):
            while (await self.readiness())[0] != 200:
                await asyncio.sleep(0.02)

    async def holds(self, **expected: Any) -> Any:
        """What the holder says once it says that."""
        async with asyncio.timeout(20):
            while True:
                state = await held(self.state_dir)
                if state is not None and all(getattr(state, name) == value for name, value in expected.items()):
                    return state
                await asyncio.sleep(0.02)

    async def ask(self, command: Any, binary: str = "") -> Reply:
        """The last line that the agent answers."""
        request = Request(command, binary)
        return (await asyncio.to_thread(lambda: list(ask_agent(self.state_dir, request, 60))))[-1]


@asynccontextmanager
async def drilled(tmp_path: Path, *, direct: bool = False) -> AsyncIterator[Drill]:
    """A ready agent in front of an app that answers at once. ``direct``: its Envoy does not need it for xDS."""

    async def answer(_: web.Request) -> web.Response:
        return web.Response(text="fast")

    app = web.Application()
    app.add_routes([web.get("/{tail:.*}", answer)])
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    port, inbound = free_ports(2)
    await web.TCPSite(runner, "127.0.0.1", port).start()
    settings = a_settings(tmp_path, services=(PortMapping("reviews", 9080, inbound, port),), direct_xds=direct)
    plane = FakeControlPlane(port=settings.discovery_port, extra=(discovery(settings, port),))
    async with aiohttp.ClientSession(trust_env=False) as session:
        drill = Drill(settings, plane, session)
        await plane.start()
        try:
            await drill.start()
            await drill.ready()
            yield drill
        finally:
            for agent in drill.agents:
                if agent.returncode is None:
                    agent.terminate()
                    await agent.wait()
            await plane.stop()
            state = await held(drill.state_dir)
            if state is not None:
                os.kill(state.holder, signal.SIGTERM)
                await until(lambda: not exists(state.holder))
            await runner.cleanup()


def told(what: str, load: Load) -> int:
    """Print the numbers of a drill; how many requests failed."""
    failed = sum(load.failures.values())
    print(f"{what}: {load.requests} requests, {failed} failed {dict(load.failures) or ''}")
    return failed


async def answers_again(load: Load) -> None:
    """Wait for twenty more good answers."""
    served = load.seen["200"]
    await until(lambda: load.seen["200"] > served + 20, what="answers again")


async def test_a_killed_agent_leaves_traffic_alone_and_the_next_one_adopts(tmp_path: Path) -> None:
    async with drilled(tmp_path) as drill:
        before = await drill.holds()
        async with Load(drill.url) as load:
            await drill.kill_agent()
            await load.more(300)
            await drill.start()
            await drill.ready()
            await load.more(300)
        assert told("agent killed and started again", load) == 0
        after = await drill.holds()
        assert (after.pid, after.holder, after.starts, after.epoch) == (before.pid, before.holder, 1, 0)
        await until(lambda: drill.plane.traffic)
        assert drill.plane.of(type(drill.plane.heard[0]))[-1].ready, "it registers only when it has looked"


async def test_a_killed_holder_takes_envoy_along_and_both_are_back_within_a_second(tmp_path: Path) -> None:
    async with drilled(tmp_path) as drill:
        before = await drill.holds()
        (file,) = shared_memory(before.pid)
        async with Load(drill.url, clients=2, pause=0.01) as load:
            began = time.perf_counter()
            os.kill(before.holder, signal.SIGKILL)
            await until(lambda: load.seen["200"] == load.requests or bool(load.failures))
            await answers_again(load)
            seconds = time.perf_counter() - began
        print(f"served again after {seconds:.2f} s")
        failed = told("holder killed", load)
        assert failed < load.requests
        after = await drill.holds()
        assert after.holder != before.holder
        assert not exists(before.pid)
        assert not file.exists()


@pytest.mark.parametrize("agent_lives", [True, False], ids=["with its agent", "without an agent"])
async def test_a_killed_envoy_is_started_again_by_its_holder(tmp_path: Path, agent_lives: bool) -> None:
    # Behind the relay, an Envoy that starts needs its agent, which is started again by systemd or `up`.
    async with drilled(tmp_path, direct=not agent_lives) as drill:
        before = await drill.holds()
        if not agent_lives:
            await drill.kill_agent()
        async with Load(drill.url, clients=2, pause=0.01) as load:
            began = time.perf_counter()
            os.kill(before.pid, signal.SIGKILL)
            await drill.holds(restarts=1)
            await answers_again(load)
            seconds = time.perf_counter() - began
        print(f"served again after {seconds:.2f} s")
        assert told(f"Envoy killed, agent alive: {agent_lives}", load) < load.requests


async def test_a_reload_fails_no_request(tmp_path: Path) -> None:
    async with drilled(tmp_path) as drill:
        before = await drill.holds()
        async with Load(drill.url) as load:
            for epoch in (1, 2):
                assert await drill.ask("reload") == Reply(f"epoch {epoch} serves", done=True)
                await load.more(200)
        assert told("two reloads with the control plane up", load) == 0
        after = await drill.holds()
        assert (after.epoch, after.starts, after.restarts) == (2, 3, 0)
        assert after.pid != before.pid
        assert (await drill.readiness())[0] == 200


async def test_a_reload_while_the_control_plane_is_away_takes_over_with_the_stored_configuration(
    tmp_path: Path,
) -> None:
    async with drilled(tmp_path) as drill:
        async with Load(drill.url) as load:
            await until(lambda: (drill.state_dir / "last-good").exists())
            await drill.plane.stop()
            assert await drill.ask("reload") == Reply("epoch 1 serves", done=True)
            await load.more(200)
        assert told("reload from the stored configuration", load) == 0


async def test_a_reload_while_the_control_plane_is_away_lets_the_old_epoch_serve_on(tmp_path: Path) -> None:
    async with drilled(tmp_path, direct=True) as drill:
        before = await drill.holds()
        async with Load(drill.url) as load:
            await drill.plane.stop()
            reply = await drill.ask("reload")
            assert reply.ok
            assert reply.text.startswith("epoch 0 serves on; epoch 1 waits to take over: envoy waits for its config")
            assert (await drill.readiness())[0] == 200
            assert "has not taken over yet" in (await drill.ask("reload")).text
            await drill.plane.start()
            newest = await drill.holds(epoch=1)
            assert newest.older == (before.pid,)
            await until(lambda: drill.plane.streams > 0)
            await drill.kill_agent()
            await drill.start()
            await drill.ready()
            await load.more(200)
        assert told("reload while the control plane was away", load) == 0


@pytest.fixture(scope="session")
def another_envoy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The binary of another version if ``PILOTHOUSE_OTHER_ENVOY`` names one, else a copy under another path."""
    other = os.environ.get("PILOTHOUSE_OTHER_ENVOY", "")
    if other:
        return Path(other)
    copy = tmp_path_factory.mktemp("other") / "envoy"
    shutil.copy(find_envoy(), copy)
    return copy


def executables(pid: int) -> str:
    """The path of what a process runs."""
    return str(Path(f"/proc/{pid}/exe").readlink())


async def test_another_binary_takes_over_and_back_without_a_failed_request(tmp_path: Path, another_envoy: Path) -> None:
    async with drilled(tmp_path) as drill:
        async with Load(drill.url) as load:
            for binary in (another_envoy, find_envoy()):
                reply = await drill.ask("reload", str(binary))
                assert (reply.ok, reply.text[:5]) == (True, "epoch"), reply
                state = await drill.holds(binary=str(binary))
                assert str(binary) in executables(state.pid)
                await load.more(200)
        assert told(f"binary changed to {another_envoy} and back", load) == 0


def disguised(folder: Path, case: str) -> Path:
    """Envoy, but for one of its answers."""
    path = folder / "disguised-envoy"
    path.write_text(f'#!/bin/sh\ncase "$*" in {case};; *) exec {find_envoy()} "$@";; esac\n')
    path.chmod(0o700)
    return path


async def test_a_binary_that_cannot_take_over_is_drained_to_and_that_is_said(tmp_path: Path) -> None:
    foreign = disguised(tmp_path, "--hot-restart-version) echo 99.1")
    async with drilled(tmp_path) as drill:
        async with Load(drill.url, clients=2, pause=0.01) as load:
            reply = await drill.ask("reload", str(foreign))
            assert reply == Reply("epoch 0 serves", done=True)
            await load.more(50)
        told("binary with another hot restart version", load)
        state = await drill.holds(binary=str(foreign))
        assert (state.epoch, state.restarts) == (0, 0)
        assert not drill.plane.of(type(drill.plane.heard[0]))[1:], "it stays registered"


async def test_a_bootstrap_that_envoy_refuses_replaces_nothing(tmp_path: Path) -> None:
    async with drilled(tmp_path) as drill:
        before = await drill.holds()
        refusing = disguised(tmp_path, '*validate*) echo "no such field: adress"; exit 1')
        async with Load(drill.url) as load:
            reply = await drill.ask("reload", str(refusing))
            assert not reply.ok
            assert reply.text == ("Envoy refuses the bootstrap, and the running one goes on: no such field: adress")
            await load.more(100)
        assert told("refused bootstrap", load) == 0
        assert (await drill.holds()).pid == before.pid


async def test_an_epoch_that_dies_at_its_start_replaces_nothing_and_the_next_one_works(tmp_path: Path) -> None:
    async with drilled(tmp_path) as drill:
        before = await drill.holds()
        broken = disguised(tmp_path, "*restart-epoch*) echo broken >&2; exit 3")
        async with Load(drill.url) as load:
            reply = await drill.ask("reload", str(broken))
            assert reply == Reply(
                "the reload failed, and epoch 0 serves on: epoch 1 ended with exit code 3: broken", done=True, ok=False
            )
            assert (await drill.holds(older=())).pid == before.pid
            assert (await drill.readiness())[0] == 200
            assert await drill.ask("reload", str(find_envoy())) == Reply("epoch 1 serves", done=True)
            await load.more(100)
        assert told("an epoch that dies at its start, then a good one", load) == 0


async def test_an_agent_with_another_bootstrap_restarts_hot(tmp_path: Path) -> None:
    async with drilled(tmp_path) as drill:
        async with Load(drill.url) as load:
            await drill.kill_agent()
            changed = msgspec.structs.replace(drill.settings, labels=(("app", "reviews"), ("version", "v9")))
            await drill.start(changed)
            await drill.ready()
            await drill.holds(epoch=1)
            await load.more(200)
        assert told("agent started again with another bootstrap", load) == 0
        assert '"v9"' in (drill.state_dir / "envoy.next.json").read_text()


async def test_a_second_agent_for_the_same_workload_is_refused_with_the_first_one_s_process(tmp_path: Path) -> None:
    async with drilled(tmp_path) as drill:
        async with Load(drill.url) as load:
            with pytest.raises(AgentRunning, match=f"process {drill.agents[0].pid} owns"):
                await run_agent(drill.settings, asyncio.Event())
            await load.more(50)
        assert told("second agent", load) == 0


async def test_stop_leaves_nothing(tmp_path: Path) -> None:
    async with drilled(tmp_path) as drill:
        state = await drill.holds()
        (file,) = shared_memory(state.pid)
        assert await drill.ask("stop") == Reply("Envoy has ended, and the agent ends", done=True)
        assert await asyncio.wait_for(drill.agents[0].wait(), 10) == 0
        assert not exists(state.pid)
        assert not exists(state.holder)
        assert not file.exists()
        left = {path.name for path in drill.state_dir.iterdir()}
        assert left - {"last-good"} == {"agent.lock", "envoy.json", "logs"}


async def test_a_stopped_agent_does_not_block_envoy_s_logs(tmp_path: Path) -> None:
    async with drilled(tmp_path) as drill:
        os.kill(drill.agents[0].pid, signal.SIGSTOP)
        try:
            async with Load(drill.url) as load:
                await load.more(1000)
            assert told("agent stopped by SIGSTOP", load) == 0
        finally:
            os.kill(drill.agents[0].pid, signal.SIGCONT)

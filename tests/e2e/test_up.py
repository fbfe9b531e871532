"""``pilothouse up`` with real processes: it comes up, survives the loss of any part, and leaves nothing behind."""

import asyncio
import contextlib
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from pilothouse.agent.settings import Listen
from pilothouse.demo.plan import MeshPlan
from tests.e2e.looking import (
    START_SECONDS,
    Mesh,
    alive,
    eventually,
    free_base_port,
    members_of,
    processes_about,
    see_page,
)
from tests.load import Load

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(240)]

COMMAND = (sys.executable, "-m", "pilothouse.cli.main")
SUBSET_V2 = """\
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata:
  name: reviews
spec:
  hosts:
  - reviews.service.mesh
  http:
  - route:
    - destination:
        host: reviews.service.mesh
        subset: v2
"""


async def test_the_page_comes_with_stars_of_three_versions(mesh: Mesh) -> None:
    seen = {(page.version, page.stars) for page in [await mesh.page() for _ in range(30)]}
    assert seen == {("v1", ""), ("v2", "black"), ("v3", "red")}


async def test_an_edit_of_the_folder_is_followed_without_a_failed_request(mesh: Mesh) -> None:
    rule = mesh.running.config_folder / "route.yaml"
    async with Load(mesh.running.plan.page_url, expects=lambda status, body: "data-version" in body) as load:
        rule.write_text(SUBSET_V2)

        async def everybody_is_on_v2() -> bool:
            return {(await mesh.page()).version for _ in range(9)} == {"v2"}

        await eventually(everybody_is_on_v2, 10)
        await mesh.running.wait_converged(10)
        rule.unlink()

        async def all_versions_again() -> bool:
            return {(await mesh.page()).version for _ in range(9)} == {"v1", "v2", "v3"}

        await eventually(all_versions_again, 10)
    assert not load.failures
    assert load.requests > 50


async def test_status_finds_the_mesh_and_shows_every_proxy_as_synced(mesh: Mesh, runtime_root: Path) -> None:
    await mesh.running.wait_converged(10)
    environment = {**os.environ, "XDG_RUNTIME_DIR": str(runtime_root)}
    folder = runtime_root / f"pilothouse-{os.getuid()}"
    folder.symlink_to(runtime_root)  # The fixture's root is the folder itself.
    try:
        asked = await asyncio.create_subprocess_exec(
            *COMMAND, "status", "-o", "wide", env=environment, stdout=asyncio.subprocess.PIPE
        )
        output, _ = await asked.communicate()
    finally:
        folder.unlink()
    lines = output.decode().splitlines()
    assert asked.returncode == 0
    rows = [line for line in lines if line.startswith(mesh.running.plan.proxy_names)]
    assert len(rows) == 7
    assert all(row.count("SYNCED") == 5 and " ready " in row and row.count("MiB") == 4 for row in rows)


@pytest.mark.parametrize("name", ["reviews-v2 app", "reviews-v2 sidecar", "gateway", "productpage-v1 sidecar"])
async def test_a_killed_process_comes_back_and_that_is_told(mesh: Mesh, name: str) -> None:
    before = mesh.kill(name)

    async def replaced() -> bool:
        return mesh.pid(name) not in (0, before)

    await eventually(replaced, 30)
    await mesh.works()
    assert any(event.startswith(f"{name} was killed by SIGKILL, and is started again") for event in mesh.events)


async def test_a_killed_envoy_comes_back_and_its_agent_counts_it(mesh: Mesh) -> None:
    envoys = [
        pid
        for pid, command in processes_about(Path(mesh.running.plan.folder)).items()
        if "state/reviews-v3/envoy.json" in command and "launch.py" not in command
    ]
    (envoy,) = envoys
    os.kill(envoy, signal.SIGKILL)

    async def counted() -> bool:
        proxies = {proxy.name: proxy for proxy in (await mesh.running.status()).proxies}
        agent = proxies["reviews-v3"].agent if "reviews-v3" in proxies else None
        return agent is not None and agent.envoy is not None and agent.envoy.restarts == 1 and agent.envoy.ready

    await eventually(counted, 30)
    await mesh.works()
    assert not alive(envoy)


async def test_no_request_fails_while_the_control_plane_is_killed_and_comes_back(mesh: Mesh) -> None:
    async with Load(mesh.running.plan.page_url, expects=lambda status, body: "data-version" in body) as load:
        before = mesh.kill("control-plane")
        await load.more(20)

        async def replaced() -> bool:
            return mesh.pid("control-plane") not in (0, before)

        await eventually(replaced, 30)
        await mesh.works()
        await load.more(50)
    assert not load.failures


async def test_an_app_that_dies_is_taken_over_by_the_others(mesh: Mesh) -> None:
    plan = next(workload for workload in mesh.running.plan.workloads if workload.name == "reviews-v1")
    mesh.kill("reviews-v1 app")
    # Something else on its port, which hangs up on everybody, keeps the app from coming back.
    squatter = await squat(plan.app)

    async def only_others() -> bool:
        return {(await mesh.page()).version for _ in range(12)} == {"v2", "v3"}

    async def told() -> bool:
        return any("reviews-v1 app ended with exit code 1, and is started again" in event for event in mesh.events)

    try:
        await eventually(only_others, 10)
        await eventually(told, 30, "word of the app that cannot start")
    finally:
        squatter.close()
    await mesh.works()


async def squat(where: Listen) -> asyncio.Server:
    """Listen on ``where`` as soon as it is free, and close every connection."""
    servers: list[asyncio.Server] = []

    async def bound() -> bool:
        with contextlib.suppress(OSError):
            servers.append(await asyncio.start_server(lambda _, writer: writer.close(), where.address, where.port))
        return bool(servers)

    await eventually(bound, 5, "a moment without the app")
    return servers[0]


@dataclass
class Command:
    """``pilothouse up`` as a person's process. ``said`` is everything that it printed."""

    process: asyncio.subprocess.Process
    root: Path
    port: int
    said: bytearray = field(default_factory=bytearray)
    reading: "asyncio.Task[None] | None" = None

    @property
    def text(self) -> str:
        return self.said.decode(errors="replace")

    @property
    def plan(self) -> MeshPlan:
        folder = self.root / f"pilothouse-{os.getuid()}" / str(self.port)
        return MeshPlan.of(self.port, str(folder), str(folder / "config"))

    async def read(self) -> None:
        assert self.process.stdout is not None
        while data := await self.process.stdout.read(4096):
            self.said += data

    async def ready(self) -> None:
        async def told() -> bool:
            assert self.process.returncode is None, self.text
            return "The mesh is ready after" in self.text and "Ctrl-C ends everything" in self.text

        await eventually(told, START_SECONDS, "the mesh being ready")

    async def ended(self, seconds: float = 60.0) -> int:
        async with asyncio.timeout(seconds):
            status = await self.process.wait()
            if self.reading is not None:
                await self.reading
        return status


@asynccontextmanager
async def up(root: Path, *arguments: str, port: int = 0) -> AsyncIterator[Command]:
    """The command, started in a session of its own and surely ended."""
    port = port or free_base_port()
    process = await asyncio.create_subprocess_exec(
        *COMMAND,
        "up",
        "--port",
        str(port),
        *arguments,
        env={**os.environ, "XDG_RUNTIME_DIR": str(root)},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
    )
    command = Command(process, root, port)
    command.reading = asyncio.ensure_future(command.read())
    try:
        yield command
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        await command.reading


def entries(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def groups_of(folder: Path) -> set[int]:
    """The process groups of everything that belongs to the mesh of ``folder``."""
    return {os.getpgid(pid) for pid in processes_about(folder)}


async def gone(root: Path, groups: set[int]) -> None:
    """Nothing of the mesh is left, neither by name nor by process group."""

    async def nothing() -> bool:
        return not processes_about(root) and not members_of(groups)

    await eventually(nothing, 10, "the end of every process")


@pytest.mark.parametrize("crashed", ["", "reviews-v2", "control-plane"])
async def test_ctrl_c_ends_every_process_and_leaves_nothing_even_after_a_crash(tmp_path: Path, crashed: str) -> None:
    async with up(tmp_path) as command:
        await command.ready()
        groups = groups_of(tmp_path)
        assert len(groups) >= 21  # 14 processes, and 7 holders with their Envoys
        if crashed:
            victim = next(
                pid
                for pid, line in processes_about(tmp_path).items()
                if ("serve --config" if crashed == "control-plane" else f"agent --name {crashed} ") in line
            )
            os.kill(victim, signal.SIGKILL)

            async def told() -> bool:
                return "was killed by SIGKILL, and is started again" in command.text

            await eventually(told, 10)
            groups |= groups_of(tmp_path)
        command.process.send_signal(signal.SIGINT)
        assert await command.ended() == 0, command.text
        assert not processes_about(tmp_path)
        assert not members_of(groups)
    assert "All 14 processes and their Envoys have ended." in command.text
    assert entries(tmp_path) == []


async def test_the_second_ctrl_c_kills_at_once(tmp_path: Path) -> None:
    async with up(tmp_path) as command:
        await command.ready()
        groups = groups_of(tmp_path)
        # A stopped process does not answer the first, polite request.
        agents = [pid for pid, line in processes_about(tmp_path).items() if "agent --name" in line]
        for agent in agents:
            os.kill(agent, signal.SIGSTOP)
        command.process.send_signal(signal.SIGINT)

        async def told() -> bool:
            return "Ctrl-C again kills it at once" in command.text

        await eventually(told, 10)

        async def killed() -> bool:
            # A signal right after the first is taken for its echo, so it is sent until it counts.
            if any(alive(agent) for agent in agents):
                command.process.send_signal(signal.SIGINT)
            return not any(alive(agent) for agent in agents)

        await eventually(killed, 5)
        assert await command.ended(10) == 130, command.text
        assert not members_of(groups)


async def test_a_kill_of_up_itself_takes_everything_with_it(tmp_path: Path) -> None:
    async with up(tmp_path) as command:
        await command.ready()
        groups = groups_of(tmp_path)
        command.process.kill()
        await command.process.wait()
        await gone(tmp_path, groups)
        port = command.port
    async with up(tmp_path, port=port) as again:
        await again.ready()
        again.process.send_signal(signal.SIGINT)
        assert await again.ended() == 0


async def test_ctrl_c_while_it_starts_ends_it_too(tmp_path: Path) -> None:
    async with up(tmp_path) as command:

        async def begun() -> bool:
            return bool(processes_about(tmp_path))

        await eventually(begun, 30)
        command.process.send_signal(signal.SIGINT)
        assert await command.ended() == 0, command.text
        assert not processes_about(tmp_path)
    assert entries(tmp_path) == []


async def test_a_folder_that_holds_something_is_used_as_it_is_and_stays(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "only.yaml").write_text("# nothing here\n")
    async with up(tmp_path, "--folder", str(folder)) as command:

        async def begun() -> bool:
            return len(processes_about(tmp_path)) > 3

        await eventually(begun, 30)
        command.process.send_signal(signal.SIGINT)
        assert await command.ended() == 0, command.text
    assert entries(folder) == ["only.yaml"]
    assert f"Kept: {folder}" in command.text


async def test_a_port_in_use_is_named_with_its_holder_and_the_way_out(tmp_path: Path) -> None:
    port = free_base_port()
    holder = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1"),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        plan = MeshPlan.of(port, "", "")

        async def held() -> bool:
            return (await see_page(plan.gateway)).status != 0

        await eventually(held, 15)
        async with up(tmp_path, port=port) as command:
            assert await command.ended(30) == 1
        assert f"127.0.0.1:{port} (the gateway): in use by" in command.text
        assert f"http.server {port}" in command.text
        assert f"(process {holder.pid})" in command.text
        assert re.search(r"pilothouse up --port \d+", command.text)
    finally:
        holder.terminate()
        await holder.wait()
    assert entries(tmp_path) == []

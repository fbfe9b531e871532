"""The supervisor with a real Envoy: it comes back, it leaves nothing behind, it finishes what is in flight."""

import asyncio
import os
import signal
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from aiohttp import web

from pilothouse.agent.admin import EnvoyAdmin, read_memory
from pilothouse.agent.binary import find_envoy, read_version
from pilothouse.agent.bootstrap import compile_bootstrap, encode_bootstrap
from pilothouse.agent.envoy import Envoy, EnvoyCommand
from pilothouse.agent.settings import AgentSettings
from pilothouse.agent.watch import EnvoyWatch
from pilothouse.aio.tasks import Tasks
from pilothouse.model.proxy import Role
from tests.load import until
from tests.unit.agent.support import a_settings, free_ports

pytestmark = pytest.mark.envoy

MANAGER = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"


def static_bootstrap(settings: AgentSettings, app_port: int) -> dict[str, Any]:
    """The agent's bootstrap with one listener of its own instead of a control plane."""
    listen = settings.envoy_listeners[0]
    where = {"socket_address": {"address": listen.address, "port_value": listen.port}}
    manager = {
        "@type": f"type.googleapis.com/{MANAGER}",
        "stat_prefix": "inbound",
        "access_log": [
            {
                "name": "stdout",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog"
                },
            }
        ],
        "http_filters": [
            {
                "name": "router",
                "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"},
            }
        ],
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "all",
                    "domains": ["*"],
                    "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "app", "timeout": "0s"}}],
                }
            ]
        },
    }
    endpoint = {"address": {"socket_address": {"address": "127.0.0.1", "port_value": app_port}}}
    app = {
        "name": "app",
        "load_assignment": {"cluster_name": "app", "endpoints": [{"lb_endpoints": [{"endpoint": endpoint}]}]},
    }
    bootstrap = compile_bootstrap(settings, "0")
    del bootstrap["dynamic_resources"]
    bootstrap["static_resources"]["clusters"].append(app)
    bootstrap["static_resources"]["listeners"] = [
        {
            "name": "inbound",
            "address": where,
            "filter_chains": [{"filters": [{"name": "manager", "typed_config": manager}]}],
        }
    ]
    return bootstrap


@dataclass
class Supervised:
    """A supervisor with everything around it."""

    settings: AgentSettings
    envoy: Envoy
    watch: EnvoyWatch
    session: aiohttp.ClientSession
    command: EnvoyCommand
    envoy_task: "asyncio.Task[None]"

    @property
    def pid(self) -> int:
        return self.envoy.process.value.pid

    async def ready(self) -> None:
        await until(lambda: self.watch.state.value.ready, what="a ready Envoy")

    async def fetch(self, path: str = "/") -> tuple[int, str]:
        async with self.session.get(f"http://{self.settings.envoy_listeners[0]}{path}") as response:
            return response.status, await response.text()


def exists(pid: int) -> bool:
    """Whether a process with this id runs; a zombie counts as gone."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


@asynccontextmanager
async def supervised(
    settings: AgentSettings, bootstrap: dict[str, Any], owner_pid: int | None = None
) -> AsyncIterator[Supervised]:
    state_dir = Path(settings.state_dir)
    command = EnvoyCommand(
        find_envoy(),
        msgspec.json.encode(bootstrap).decode(),
        state_dir,
        state_dir / "logs",
        terminate_seconds=0.5,
        owner_pid=owner_pid or os.getpid(),
    )
    async with aiohttp.ClientSession(trust_env=False) as session:
        admin = EnvoyAdmin(session, settings.admin)
        envoy = Envoy(command, admin)
        watch = EnvoyWatch(envoy.process, admin, expected=settings.envoy_listeners, discovery=settings.discovery)
        async with Tasks() as tasks:
            task = tasks.start("envoy", envoy.run())
            tasks.start("watch", watch.run())
            try:
                yield Supervised(settings, envoy, watch, session, command, task)
            finally:
                await envoy.stop(0)


@pytest.fixture
async def app_port() -> AsyncIterator[int]:
    """An app that answers at once, or at ``/slow`` after a second in two pieces."""

    async def fast(_: web.Request) -> web.Response:
        return web.Response(text="fast")

    async def slow(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"begun ")
        await asyncio.sleep(1.0)
        await response.write(b"finished")
        return response

    app = web.Application()
    app.add_routes([web.get("/slow", slow), web.get("/{tail:.*}", fast)])
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    (port,) = free_ports(1)
    await web.TCPSite(runner, "127.0.0.1", port).start()
    yield port
    await runner.cleanup()


async def test_envoy_is_found_in_its_distribution_and_tells_its_version() -> None:
    assert (await read_version(find_envoy())).startswith("1.40.")


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"http_proxy_port": 15001, "network": "vm"},
        {"role": Role.GATEWAY, "services": ()},
        {"discovery_host": "pilot.example"},
        {"discovery_host": "::1", "address": "::1"},
    ],
    ids=["sidecar", "proxy port", "gateway", "control plane by name", "IPv6"],
)
async def test_envoy_accepts_the_bootstrap(tmp_path: Path, changes: dict[str, Any]) -> None:
    path = tmp_path / "envoy.json"
    path.write_text(encode_bootstrap(a_settings(tmp_path, **changes), "0"))
    code, output = await validate(path)
    assert (code, output.splitlines()) == (0, [f"configuration '{path}' OK"])


async def test_the_validation_would_see_a_mistake(tmp_path: Path) -> None:
    bootstrap = compile_bootstrap(a_settings(tmp_path), "0")
    bootstrap["dynamic_resources"]["cds_config"] = {"adds": {}}
    path = tmp_path / "envoy.json"
    path.write_bytes(msgspec.json.encode(bootstrap))
    code, output = await validate(path)
    assert code != 0
    assert "adds" in output


async def validate(path: Path) -> tuple[int | None, str]:
    process = await asyncio.create_subprocess_exec(
        str(find_envoy()),
        "--mode",
        "validate",
        "--log-level",
        "warning",
        "--config-path",
        str(path),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    return process.returncode, output.decode()


async def test_a_killed_envoy_comes_back_and_is_counted(tmp_path: Path, app_port: int) -> None:
    settings = a_settings(tmp_path)
    async with supervised(settings, static_bootstrap(settings, app_port)) as one:
        await one.ready()
        first = one.pid
        os.kill(first, signal.SIGKILL)
        await until(lambda: one.pid not in (0, first), what="a new process")
        await one.ready()
        process = one.envoy.process.value
        assert (process.restarts, process.last_exit) == (1, "killed by SIGKILL")
        assert one.watch.state.value.restarts == 1
        assert (await one.fetch())[0] == 200
        await one.envoy.stop(0)
        assert not exists(one.pid or first)


async def test_what_envoy_said_before_it_died_is_kept(tmp_path: Path) -> None:
    settings = a_settings(tmp_path)
    async with supervised(settings, {"admin": {"adress": {}}}) as one:
        await until(lambda: one.envoy.process.value.starts >= 2, what="a second attempt")
        process = one.envoy.process.value
        assert process.last_exit == "ended with exit code 1"
        assert any("adress" in line for line in process.last_lines)
        await until(lambda: "ended with exit code 1" in one.watch.state.value.reason)
        await one.envoy.stop(0)
    assert "adress" in (one.command.log_dir / "envoy.log").read_text()


async def test_a_request_in_flight_is_finished_before_envoy_ends(tmp_path: Path, app_port: int) -> None:
    settings = a_settings(tmp_path)
    async with supervised(settings, static_bootstrap(settings, app_port)) as one:
        await one.ready()
        async with one.session.get(f"http://{settings.envoy_listeners[0]}/slow") as response:
            assert await response.content.readexactly(6) == b"begun "
            pid = one.pid
            _, rest = await asyncio.gather(one.envoy.stop(10.0), response.content.read())
        assert rest == b"finished"
        assert not exists(pid)
        assert one.envoy.process.value.last_exit == "ended with exit code 0"


async def test_an_idle_connection_does_not_hold_the_drain(tmp_path: Path, app_port: int) -> None:
    settings = a_settings(tmp_path)
    async with supervised(settings, static_bootstrap(settings, app_port)) as one:
        await one.ready()
        _, writer = await asyncio.open_connection(settings.address, settings.envoy_listeners[0].port)
        await asyncio.wait_for(one.envoy.stop(100.0), 20.0)
        assert one.pid == 0
        writer.close()


async def test_a_drain_has_an_end(tmp_path: Path, app_port: int) -> None:
    settings = a_settings(tmp_path)
    async with supervised(settings, static_bootstrap(settings, app_port)) as one:
        await one.ready()
        async with one.session.get(f"http://{settings.envoy_listeners[0]}/slow") as response:
            await response.content.readexactly(6)
            await one.envoy.stop(0.2)
            with pytest.raises(aiohttp.ClientPayloadError):
                await response.content.read()


async def test_an_envoy_that_hangs_is_killed(tmp_path: Path, app_port: int) -> None:
    settings = a_settings(tmp_path)
    async with supervised(settings, static_bootstrap(settings, app_port)) as one:
        await one.ready()
        pid = one.pid
        os.kill(pid, signal.SIGSTOP)
        await one.envoy.stop(0.3)
        assert not exists(pid)
        assert one.envoy.process.value.last_exit == "killed by SIGKILL"


async def test_cancelling_the_supervisor_leaves_envoy_to_its_holder(tmp_path: Path, app_port: int) -> None:
    settings = a_settings(tmp_path)
    async with supervised(settings, static_bootstrap(settings, app_port)) as one:
        await one.ready()
        pid = one.pid
        async with Tasks() as tasks:
            successor = Envoy(one.command, EnvoyAdmin(one.session, settings.admin))
            tasks.start("second", successor.run())
            await until(lambda: successor.process.value.pid == pid, what="the adoption")
        assert exists(pid)
        assert (await one.fetch())[0] == 200


async def test_access_logs_and_envoy_s_own_go_to_their_files(tmp_path: Path, app_port: int) -> None:
    settings = a_settings(tmp_path)
    async with supervised(settings, static_bootstrap(settings, app_port)) as one:
        await one.ready()
        await one.fetch("/seen-in-the-log")
        access = one.command.log_dir / "access.log"
        await until(lambda: access.exists() and "GET /seen-in-the-log" in access.read_text(), what="the access log")
        await one.envoy.stop(0)
    assert "SIGTERM" in (one.command.log_dir / "envoy.log").read_text()
    assert "seen-in-the-log" not in (one.command.log_dir / "envoy.log").read_text()


async def test_logs_that_cannot_be_written_harm_nobody(tmp_path: Path, app_port: int) -> None:
    settings = a_settings(tmp_path)
    in_the_way = Path(settings.state_dir) / "logs"
    in_the_way.parent.mkdir()
    in_the_way.write_text("a file where the folder should be")
    async with supervised(settings, static_bootstrap(settings, app_port)) as one:
        await one.ready()
        await one.fetch()
        await until(lambda: one.envoy.process.value.lost_log_bytes > 0, what="lost lines")
        assert (await one.fetch())[0] == 200
        await one.envoy.stop(0)


async def test_the_bootstrap_is_private(tmp_path: Path, app_port: int) -> None:
    settings = a_settings(tmp_path)
    async with supervised(settings, static_bootstrap(settings, app_port)) as one:
        await one.ready()
        assert stat.S_IMODE(one.command.bootstrap_path.stat().st_mode) == 0o600
        assert stat.S_IMODE(one.command.state_dir.stat().st_mode) == 0o700
        files = [path for path in one.command.state_dir.iterdir() if path.is_file()]
        assert {stat.S_IMODE(path.stat().st_mode) for path in files} <= {0o600}


async def test_the_state_tells_version_memory_and_since_when(tmp_path: Path, app_port: int) -> None:
    settings = a_settings(tmp_path)
    async with supervised(settings, static_bootstrap(settings, app_port)) as one:
        await one.ready()
        state = one.watch.state.value
        assert state.version.startswith("1.40.")
        assert state.admin_address == str(settings.admin)
        assert state.serving_since >= one.envoy.process.value.since
        assert state.rss_kib >= state.pss_kib > 0
        assert state.agent_rss_kib > 0
        assert read_memory(one.pid).private_kib > 0


async def test_an_envoy_without_the_expected_listener_is_not_ready(tmp_path: Path, app_port: int) -> None:
    settings = a_settings(tmp_path)
    bootstrap = static_bootstrap(settings, app_port)
    bootstrap["static_resources"]["listeners"] = []
    async with supervised(settings, bootstrap) as one:
        await until(lambda: "no listener yet" in one.watch.state.value.reason)
        state = one.watch.state.value
        assert (state.live, state.ready) == (True, False)
        assert str(settings.envoy_listeners[0]) in state.reason


def mapped_files(pid: int) -> str:
    return Path(f"/proc/{pid}/maps").read_text()


async def test_the_shared_memory_file_of_envoy_goes_with_it(tmp_path: Path, app_port: int) -> None:
    settings = a_settings(tmp_path)
    async with supervised(settings, static_bootstrap(settings, app_port)) as one:
        await one.ready()
        (first,) = shared_memory(one.pid)
        os.kill(one.pid, signal.SIGKILL)
        await until(lambda: one.envoy.process.value.restarts == 1 and one.pid != 0, what="a new process")
        await one.ready()
        (second,) = shared_memory(one.pid)
        assert not first.exists()
        await one.envoy.stop(0)
        assert not second.exists()


def shared_memory(pid: int) -> set[Path]:
    """The files in /dev/shm that a process maps."""
    words = mapped_files(pid).split()
    return {Path(word) for word in words if word.startswith("/dev/shm/envoy_shared_memory_")}


async def test_a_holder_is_small_and_ends_with_its_owner(tmp_path: Path, app_port: int) -> None:
    settings = a_settings(tmp_path)
    owner = await asyncio.create_subprocess_exec("sleep", "1000")
    async with supervised(settings, static_bootstrap(settings, app_port), owner.pid) as one:
        await one.ready()
        process = one.envoy.process.value
        private = read_memory(process.holder).private_kib
        print(f"the holder's private memory: {private / 1024:.1f} MiB")
        assert private < 12 * 1024
        (file,) = shared_memory(process.pid)
        one.envoy_task.cancel()
        owner.kill()
        await owner.wait()
        await until(lambda: not exists(process.holder) and not exists(process.pid), what="the end of both")
        assert not file.exists()

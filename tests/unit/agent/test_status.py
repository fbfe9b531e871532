"""The status server: readiness, merged metrics with missing parts, debug behind the token, ports in use."""

import socket
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import cast

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from pilothouse.agent.admin import AdminUnavailable, EnvoyAdmin
from pilothouse.agent.envoy import Process
from pilothouse.agent.metrics import AgentMetrics, Snapshot, join_texts
from pilothouse.agent.registration import RegistrationStatus
from pilothouse.agent.settings import Listen
from pilothouse.agent.status import StatusParts, StatusServer, listen
from pilothouse.agent.stream import Standing
from pilothouse.kit.errors import PortInUse
from pilothouse.model.registration import EnvoyState, Health
from tests.unit.agent.support import TOKEN, a_settings, free_ports

READY = Snapshot(
    Process(pid=1, starts=3),
    EnvoyState(live=True, ready=True, rss_kib=2),
    Health(healthy=True),
    RegistrationStatus(Standing.REGISTERED, lease_seconds=3.0, accepted=2),
)
WAITING = Snapshot(
    Process(),
    EnvoyState(live=False, ready=False, reason="envoy is starting"),
    Health(healthy=False, reason="the app was not checked yet"),
    RegistrationStatus(),
)


class FakeAdmin:
    """Envoy's metrics, or none."""

    def __init__(self, text: bytes | None) -> None:
        self.text = text

    async def prometheus(self) -> bytes:
        if self.text is None:
            raise AdminUnavailable("no answer")
        return self.text


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(trust_env=False) as session:
        yield session


class Served:
    """A status server, in front of a fake Envoy and perhaps an app."""

    def __init__(self, session: aiohttp.ClientSession, state_dir: Path) -> None:
        self.admin = FakeAdmin(b"envoy_server_live 1\n")
        self.snapshot = READY
        self.app_metrics_url = ""
        self._session = session
        self._state_dir = state_dir

    def application(self) -> web.Application:
        settings = a_settings(self._state_dir, app_metrics_url=self.app_metrics_url)
        admin = cast(EnvoyAdmin, self.admin)
        parts = StatusParts(settings, lambda: self.snapshot, admin, self._session, AgentMetrics())
        return StatusServer(parts).application()

    def client(self) -> TestClient[web.Request, web.Application]:
        return TestClient(TestServer(self.application()))


@pytest.fixture
def served(session: aiohttp.ClientSession, tmp_path: Path) -> Served:
    return Served(session, tmp_path)


async def test_readiness_is_envoy_s_with_the_reason(served: Served) -> None:
    async with served.client() as client:
        assert (await client.get("/healthz/ready")).status == 200
        served.snapshot = WAITING
        answer = await client.get("/healthz/ready")
        assert (answer.status, await answer.text()) == (503, "envoy is starting\n")
        served.snapshot = replace(READY, leaving="the agent was asked to stop")
        answer = await client.get("/healthz/ready")
        assert (answer.status, await answer.text()) == (503, "the agent was asked to stop\n")


async def test_the_agent_s_own_metrics_say_what_it_knows(served: Served) -> None:
    async with served.client() as client:
        text = await (await client.get("/stats/prometheus")).text()
    for line in (
        "envoy_server_live 1",
        "pilothouse_agent_envoy_ready 1.0",
        "pilothouse_agent_envoy_starts 3.0",
        "pilothouse_agent_envoy_resident_bytes 2048.0",
        "pilothouse_agent_registered 1.0",
        "pilothouse_agent_app_healthy 1.0",
    ):
        assert line in text.splitlines()


async def test_missing_parts_are_left_out_and_counted(served: Served) -> None:
    served.admin.text = None
    served.app_metrics_url = f"http://127.0.0.1:{free_ports(1)[0]}/metrics"
    async with served.client() as client:
        answer = await client.get("/stats/prometheus")
        text = await answer.text()
    assert answer.status == 200
    assert 'pilothouse_agent_metrics_part_missing_total{part="envoy"} 1.0' in text
    assert 'pilothouse_agent_metrics_part_missing_total{part="app"} 1.0' in text


@pytest.mark.parametrize(("status", "counted"), [(200, False), (500, True)])
async def test_the_app_s_metrics_are_merged(served: Served, status: int, counted: bool) -> None:
    async def metrics(request: web.Request) -> web.Response:
        assert "0.0.4" in request.headers["Accept"]
        return web.Response(text="app_requests_total 7\n# EOF\n", status=status)

    app = web.Application()
    app.router.add_get("/metrics", metrics)
    async with TestServer(app) as server:
        served.app_metrics_url = str(server.make_url("/metrics"))
        async with served.client() as client:
            text = await (await client.get("/stats/prometheus")).text()
    assert ("app_requests_total 7" in text) is not counted
    assert ('part="app"' in text) is counted
    assert "# EOF" not in text


async def test_debug_is_for_those_who_know_the_token(served: Served) -> None:
    async with served.client() as client:
        for given in ("", "Bearer", f"bearer {TOKEN}", f"Bearer {TOKEN}x", "Bearer \xff"):
            assert (await client.get("/debug/state", headers={"Authorization": given})).status == 401
        answer = await client.get("/debug/state", headers={"Authorization": f"Bearer {TOKEN}"})
        body = await answer.text()
    assert answer.status == 200
    assert '"standing":"REGISTERED"' in body
    assert TOKEN not in body


def test_texts_are_joined_line_by_line() -> None:
    assert join_texts((b"a 1", b"", b"b 2\n# EOF\n", b"\n")) == b"a 1\nb 2\n"


async def test_one_application_serves_two_ports(served: Served, session: aiohttp.ClientSession) -> None:
    first, second = (Listen("127.0.0.1", port) for port in free_ports(2))
    runner = await listen(served.application(), (("status", first), ("readiness", second)))
    for where in (first, second):
        async with session.get(f"http://{where}/healthz/ready") as answer:
            assert answer.status == 200
    await runner.cleanup()


async def test_a_port_in_use_is_named_and_nothing_stays_open() -> None:
    first, second = (Listen("127.0.0.1", port) for port in free_ports(2))
    said = f"{second} is in use by another program.*give readiness another port"
    with socket.create_server((second.address, second.port)), pytest.raises(PortInUse, match=said):
        await listen(web.Application(), (("status", first), ("readiness", second)))
    with socket.create_server((first.address, first.port)):
        pass


async def test_an_address_of_another_machine_is_said_to_be_that() -> None:
    with pytest.raises(PortInUse, match=r"192\.0\.2\.1 is no address of this machine"):
        await listen(web.Application(), (("status", Listen("192.0.2.1", free_ports(1)[0])),))

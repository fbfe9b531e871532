"""A whole agent with a real Envoy: with a small control plane of the test's own, without one, and killed."""

import asyncio
import json
import os
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest
from aiohttp import web
from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.listener.v3 import listener_pb2
from envoy.extensions.filters.http.router.v3 import router_pb2 as _router_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import (
    http_connection_manager_pb2 as _http_connection_manager_pb2,
)
from envoy.service.discovery.v3 import discovery_pb2
from google.protobuf import json_format

from pilothouse.agent.run import run_agent
from pilothouse.agent.settings import AgentSettings, CheckKind, HealthCheck, PortMapping
from pilothouse.kit.errors import EnvoyNotFound, PortInUse, SettingsError
from pilothouse.model.registration import Deregister, EnvoyState, Health, Register
from tests.envoy.test_agent_envoy import exists, static_bootstrap
from tests.load import until
from tests.unit.agent.support import TOKEN, FakeControlPlane, a_settings, control_plane, free_ports

pytestmark = pytest.mark.envoy

IMPORTED_FOR_JSON = (_router_pb2, _http_connection_manager_pb2)
"""The Any fields of the JSON below are found by name, which needs their modules to be loaded."""


def discovery(settings: AgentSettings, app_port: int) -> grpc.GenericRpcHandler:
    """Delta ADS that gives every Envoy one cluster and one inbound listener, once each."""
    static = static_bootstrap(settings, app_port)["static_resources"]
    listener = static["listeners"][0]
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    del manager["access_log"]
    messages = (
        json_format.ParseDict(static["clusters"][1], cluster_pb2.Cluster()),
        json_format.ParseDict(listener, listener_pb2.Listener()),
    )
    resources = {f"type.googleapis.com/{one.DESCRIPTOR.full_name}": one for one in messages}

    async def stream(requests: AsyncIterator[discovery_pb2.DeltaDiscoveryRequest], context: Any) -> None:
        async for request in requests:
            if request.response_nonce or request.type_url not in resources:
                continue
            message = resources[request.type_url]
            resource = discovery_pb2.Resource(name=message.name, version="1")
            resource.resource.Pack(message)
            await context.write(
                discovery_pb2.DeltaDiscoveryResponse(type_url=request.type_url, nonce="1", resources=[resource])
            )

    handler = grpc.stream_stream_rpc_method_handler(
        stream,
        request_deserializer=discovery_pb2.DeltaDiscoveryRequest.FromString,
        response_serializer=discovery_pb2.DeltaDiscoveryResponse.SerializeToString,
    )
    service = "envoy.service.discovery.v3.AggregatedDiscoveryService"
    return grpc.method_handlers_generic_handler(service, {"DeltaAggregatedResources": handler})


class App:
    """The app behind the sidecar. ``ill`` makes its health check fail; ``/slow`` takes until ``go_on`` is set."""

    def __init__(self) -> None:
        self.port = 0
        self.ill = False
        self.go_on = asyncio.Event()

    async def health(self, _: web.Request) -> web.Response:
        return web.Response(status=500 if self.ill else 200)

    async def metrics(self, _: web.Request) -> web.Response:
        return web.Response(text="app_requests_total 7\n")

    async def slow(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"begun ")
        await self.go_on.wait()
        await response.write(b"finished")
        return response


@pytest.fixture
async def app() -> AsyncIterator[App]:
    app = App()
    application = web.Application()
    application.add_routes(
        [web.get("/health", app.health), web.get("/metrics", app.metrics), web.get("/slow", app.slow)]
    )
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    (app.port,) = free_ports(1)
    await web.TCPSite(runner, "127.0.0.1", app.port).start()
    yield app
    await runner.cleanup()


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(trust_env=False) as session:
        yield session


class RunningAgent:
    """An agent in this process, and questions to it."""

    def __init__(self, settings: AgentSettings, session: aiohttp.ClientSession) -> None:
        self.settings = settings
        self.session = session
        self.stop = asyncio.Event()
        self.ended: asyncio.Future[int] = asyncio.ensure_future(run_agent(settings, self.stop))

    async def readiness(self) -> tuple[int, str]:
        async with self.session.get(f"http://{self.settings.readiness}/healthz/ready") as response:
            return response.status, (await response.text()).strip()

    async def metrics(self) -> str:
        async with self.session.get(f"http://{self.settings.status}/stats/prometheus") as response:
            return await response.text()

    async def state(self) -> dict[str, Any]:
        return await debug_state(self.settings, self.session)

    async def ready_is(self, status: int, text: str = "") -> None:
        answer: tuple[int, str] = (0, "")
        try:
            async with asyncio.timeout(15):
                while answer[0] != status or text not in answer[1]:
                    assert not self.ended.done(), self.ended
                    with suppress(aiohttp.ClientError):
                        answer = await self.readiness()
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise AssertionError(f"readiness stayed at {answer}") from None


async def debug_state(settings: AgentSettings, session: aiohttp.ClientSession) -> dict[str, Any]:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with session.get(f"http://{settings.status}/debug/state", headers=headers) as response:
        assert response.status == 200
        state: dict[str, Any] = await response.json()
        return state


@asynccontextmanager
async def an_agent(settings: AgentSettings, session: aiohttp.ClientSession) -> AsyncIterator[RunningAgent]:
    agent = RunningAgent(settings, session)
    try:
        yield agent
    finally:
        agent.stop.set()
        await asyncio.wait((agent.ended,), timeout=30)
        agent.ended.cancel()


def settings_for(app: App, tmp_path: Path, **changes: Any) -> AgentSettings:
    (inbound,) = free_ports(1)
    return a_settings(
        tmp_path,
        services=(PortMapping("reviews", 9080, inbound, app.port),),
        health=HealthCheck(CheckKind.HTTP, path="/health", interval_seconds=0.05),
        app_metrics_url=f"http://127.0.0.1:{app.port}/metrics",
        **changes,
    )


@asynccontextmanager
async def joined(
    app: App, tmp_path: Path, session: aiohttp.ClientSession
) -> AsyncIterator[tuple[FakeControlPlane, RunningAgent]]:
    """An agent that joined a control plane and is ready."""
    settings = settings_for(app, tmp_path)
    plane = FakeControlPlane(port=settings.discovery_port, extra=(discovery(settings, app.port),))
    async with control_plane(plane), an_agent(settings, session) as agent:
        await agent.ready_is(200)
        yield plane, agent


async def test_joins_and_says_that_it_may_get_traffic_only_when_app_and_envoy_are_ready(
    app: App, tmp_path: Path, session: aiohttp.ClientSession
) -> None:
    async with joined(app, tmp_path, session) as (plane, _):
        await until(lambda: plane.traffic, what="health")
        assert plane.of(Register)[0].ready is False, "it registers before Envoy runs"
        assert all("envoy is not ready" in one.reason or "app" in one.reason for one in plane.of(Health)[:-1])
        await until(lambda: plane.of(EnvoyState)[-1].ready)
        state = plane.of(EnvoyState)[-1]
        assert state.version.startswith("1.40.")
        assert state.serving_since > 1_700_000_000


async def test_an_app_that_falls_ill_and_recovers_is_told(
    app: App, tmp_path: Path, session: aiohttp.ClientSession
) -> None:
    async with joined(app, tmp_path, session) as (plane, agent):
        await until(lambda: plane.traffic)
        app.ill = True
        await until(lambda: plane.of(Health)[-1] == Health(healthy=False, reason="the app answered 500 to GET /health"))
        assert (await agent.readiness())[0] == 200, "readiness is Envoy's"
        app.ill = False
        await until(lambda: plane.traffic)


async def test_a_killed_envoy_takes_the_workload_out_until_it_is_back(
    app: App, tmp_path: Path, session: aiohttp.ClientSession
) -> None:
    async with joined(app, tmp_path, session) as (plane, agent):
        await until(lambda: plane.traffic)
        pid = (await agent.state())["snapshot"]["process"]["pid"]
        told = len(plane.of(Health))
        os.kill(pid, signal.SIGKILL)
        await until(lambda: len(plane.of(Health)) > told)
        assert plane.of(Health)[told].healthy is False
        assert "killed by SIGKILL" in plane.of(Health)[told].reason
        await until(lambda: plane.traffic, what="traffic again")
        await until(lambda: plane.of(EnvoyState)[-1].restarts == 1)


async def test_leaves_the_registry_first_then_finishes_what_is_in_flight(
    app: App, tmp_path: Path, session: aiohttp.ClientSession
) -> None:
    async with joined(app, tmp_path, session) as (plane, agent):
        await until(lambda: plane.traffic)
        pid = (await agent.state())["snapshot"]["process"]["pid"]
        async with session.get(f"http://{agent.settings.envoy_listeners[0]}/slow") as response:
            assert await response.content.readexactly(6) == b"begun "
            agent.stop.set()
            await until(lambda: isinstance(plane.heard[-1], Deregister), what="the departure")
            assert exists(pid)
            assert await agent.readiness() == (503, "the agent was asked to stop")
            app.go_on.set()
            assert await response.content.read() == b"finished"
        assert await agent.ended == 0
        assert not exists(pid)


async def test_metrics_are_merged_and_a_missing_part_is_left_out(
    app: App, tmp_path: Path, session: aiohttp.ClientSession
) -> None:
    async with joined(app, tmp_path, session) as (_, agent):
        text = await agent.metrics()
        assert "app_requests_total 7" in text
        assert "envoy_server_live" in text
        assert "pilothouse_agent_envoy_ready 1.0" in text


async def test_a_control_plane_that_is_away_is_waited_for_not_ready(
    app: App, tmp_path: Path, session: aiohttp.ClientSession
) -> None:
    settings = settings_for(app, tmp_path)
    async with an_agent(settings, session) as agent:
        await agent.ready_is(503, "waits for its configuration from the control plane at 127.0.0.1:")
        state = (await agent.state())["snapshot"]
        assert state["envoy"]["live"]
        assert not state["envoy"]["ready"]
        assert "does not answer" in state["registration"]["reason"]
        plane = FakeControlPlane(port=settings.discovery_port, extra=(discovery(settings, app.port),))
        async with control_plane(plane):
            await agent.ready_is(200)
            await until(lambda: plane.traffic)
        await until(lambda: plane.streams == 1)
        assert (await agent.readiness())[0] == 200, "it goes on without its control plane"
        agent.stop.set()
        assert await agent.ended == 0


async def test_debug_needs_the_token(app: App, tmp_path: Path, session: aiohttp.ClientSession) -> None:
    async with an_agent(settings_for(app, tmp_path), session) as agent:
        await agent.ready_is(503)
        for headers in ({}, {"Authorization": "Bearer wrong"}):
            async with session.get(f"http://{agent.settings.status}/debug/state", headers=headers) as response:
                assert response.status == 401
        assert TOKEN not in json.dumps(await agent.state())


async def test_a_port_in_use_is_named_before_anything_starts(app: App, tmp_path: Path, capsys: Any) -> None:
    settings = settings_for(app, tmp_path)
    where = settings.envoy_listeners[0]
    with (
        socket.create_server((where.address, where.port)),
        pytest.raises(PortInUse, match=f"{where} is in use by another program; end it, or give inbound traffic of "),
    ):
        await run_agent(settings, asyncio.Event())
    assert "envoy started" not in capsys.readouterr().out


async def test_a_missing_envoy_is_said_with_the_way_out(app: App, tmp_path: Path) -> None:
    with pytest.raises(EnvoyNotFound, match="not an executable file"):
        await run_agent(settings_for(app, tmp_path, envoy_binary=str(tmp_path / "envoy")), asyncio.Event())


async def test_wrong_settings_are_all_said_at_once(app: App, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"name '~'.*token is empty"):
        await run_agent(settings_for(app, tmp_path, name="~", token=""), asyncio.Event())

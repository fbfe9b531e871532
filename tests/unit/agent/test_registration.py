"""The registration against a control plane of the test's own."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest

from pilothouse.agent.registration import Patience, Registration, steady
from pilothouse.agent.settings import AgentSettings
from pilothouse.agent.stream import Standing
from pilothouse.aio.cell import Cell
from pilothouse.aio.tasks import Tasks
from pilothouse.model.proxy import Role
from pilothouse.model.registration import (
    Accepted,
    Deregister,
    Deregistered,
    EnvoyState,
    Health,
    Refused,
    Register,
    ToAgent,
)
from tests.load import until
from tests.unit.agent.support import TOKEN, FakeControlPlane, a_settings, control_plane, free_ports, refuses

READY = EnvoyState(live=True, ready=True, version="1.40.0", serving_since=5.0)
IMPATIENT = Patience(answer=1.0, refused=0.1, wrong_token=0.1, leave=0.5)


class Agent:
    """A registration and the cells that feed it."""

    def __init__(self, settings: AgentSettings, patience: Patience = IMPATIENT) -> None:
        self.health = Cell(Health(healthy=True))
        self.envoy = Cell(READY)
        self.registration = Registration(settings, self.health, self.envoy, patience)

    @property
    def standing(self) -> Standing:
        return self.registration.status.value.standing

    async def registered(self) -> None:
        await until(lambda: self.standing is Standing.REGISTERED, what="the registration")


@asynccontextmanager
async def running(agent: Agent) -> AsyncIterator[Agent]:
    crashes: list[str] = []
    async with Tasks(lambda name, _: crashes.append(name)) as tasks:
        tasks.start("registration", agent.registration.run())
        yield agent
    assert not crashes


@asynccontextmanager
async def running_at(plane: FakeControlPlane, tmp_path: Path, patience: Patience = IMPATIENT) -> AsyncIterator[Agent]:
    """An agent that was sent to ``plane``, which is started for it."""
    async with control_plane(plane), running(Agent(at(plane, tmp_path), patience)) as agent:
        yield agent


@pytest.fixture
async def plane() -> AsyncIterator[FakeControlPlane]:
    async with control_plane(FakeControlPlane()) as plane:
        yield plane


def at(plane: FakeControlPlane, tmp_path: Path, **changes: object) -> AgentSettings:
    return a_settings(tmp_path, discovery_port=plane.port, **changes)


async def test_registers_the_workload_with_its_credential(plane: FakeControlPlane, tmp_path: Path) -> None:
    settings = at(plane, tmp_path)
    async with running(Agent(settings)) as agent:
        await agent.registered()
    assert plane.tokens == [f"Bearer {TOKEN}"]
    (register,) = plane.of(Register)
    assert register.node_id == "sidecar~127.0.0.1~reviews-v1.default~default.service.mesh"
    assert register.ready
    assert register.workload.id == "default/reviews-v1"
    (port,) = register.workload.ports
    assert (port.host, port.service_port) == ("reviews.service.mesh", 9080)
    assert port.inbound_port == settings.services[0].inbound_port


async def test_gateway_registers_without_a_workload(plane: FakeControlPlane, tmp_path: Path) -> None:
    async with running(Agent(at(plane, tmp_path, role=Role.GATEWAY, services=()))) as agent:
        await agent.registered()
    assert plane.of(Register)[0].workload is None
    assert plane.of(Register)[0].node_id.startswith("router~")


async def test_an_app_behind_an_envoy_that_is_not_ready_gets_no_traffic(
    plane: FakeControlPlane, tmp_path: Path
) -> None:
    agent = Agent(at(plane, tmp_path))
    agent.envoy.put(EnvoyState(live=True, ready=False, reason="no listener yet"))
    async with running(agent):
        await until(lambda: len(plane.of(Health)) == 1)
        assert plane.of(Register)[0].ready is False
        assert plane.of(Health)[0] == Health(healthy=False, reason="envoy is not ready: no listener yet")
        agent.envoy.put(READY)
        await until(lambda: plane.of(Health)[-1] == Health(healthy=True))
        agent.health.put(Health(healthy=False, reason="the app is gone"))
        await until(lambda: plane.of(Health)[-1] == Health(healthy=False, reason="the app is gone"))


async def test_renews_within_every_third_of_the_lease(plane: FakeControlPlane, tmp_path: Path) -> None:
    async with running(Agent(at(plane, tmp_path))):
        await until(lambda: len(plane.of(EnvoyState)) >= 4, what="renewals")
    assert plane.streams == 1


async def test_changes_of_envoy_are_told_at_once_but_memory_is_no_news(tmp_path: Path) -> None:
    async with control_plane(FakeControlPlane(lease_seconds=3600.0)) as plane, running(Agent(at(plane, tmp_path))) as a:
        await until(lambda: plane.of(EnvoyState) == [READY])
        bigger = EnvoyState(live=True, ready=True, version="1.40.0", serving_since=5.0, rss_kib=70_000)
        assert steady(bigger) == READY
        a.envoy.put(bigger)
        restarted = EnvoyState(live=True, ready=True, version="1.40.0", serving_since=6.0, rss_kib=71_000, restarts=1)
        a.envoy.put(restarted)
        await until(lambda: len(plane.of(EnvoyState)) == 2)
        assert plane.of(EnvoyState)[-1] == restarted


async def test_registers_again_with_the_health_of_that_moment(plane: FakeControlPlane, tmp_path: Path) -> None:
    async with running(Agent(at(plane, tmp_path))) as agent:
        await agent.registered()
        await plane.stop()
        await until(lambda: agent.standing is Standing.CONNECTING)
        agent.health.put(Health(healthy=False, reason="the app is gone"))
        await plane.start()
        await until(lambda: len(plane.of(Register)) == 2, what="the second registration")
    assert [register.ready for register in plane.of(Register)] == [True, False]


@pytest.mark.parametrize("code", [grpc.StatusCode.OK, grpc.StatusCode.CANCELLED, grpc.StatusCode.INTERNAL])
async def test_every_end_of_a_stream_is_followed_by_another(
    plane: FakeControlPlane, tmp_path: Path, code: grpc.StatusCode
) -> None:
    plane.end_code = code
    async with running(Agent(at(plane, tmp_path))) as agent:
        await agent.registered()
        plane.end.set()
        await until(lambda: plane.streams == 2, what="the second stream")
        await agent.registered()
        assert agent.registration.status.value.accepted == 2


async def test_a_control_plane_that_is_away_is_waited_for(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    async with running(Agent(a_settings(tmp_path, discovery_port=port))) as agent:
        await until(lambda: "does not answer" in agent.registration.status.value.reason)
        async with control_plane(FakeControlPlane(port=port)):
            await agent.registered()


async def test_a_control_plane_that_stays_silent_is_given_up_and_asked_again(tmp_path: Path) -> None:
    plane = FakeControlPlane(answer=lambda _: None)
    async with running_at(plane, tmp_path, Patience(answer=0.05)) as agent:
        await until(lambda: "no answer" in agent.registration.status.value.reason)
        plane.answer = None
        await agent.registered()


async def test_a_refusal_is_reported_and_tried_again_later(tmp_path: Path) -> None:
    plane = FakeControlPlane(answer=refuses("address is taken", final=True))
    async with running_at(plane, tmp_path) as agent:
        await until(lambda: agent.standing is Standing.REFUSED)
        assert agent.registration.status.value.reason == "address is taken"
        plane.answer = None
        await agent.registered()


async def test_a_passing_refusal_counts_as_not_connected_yet(tmp_path: Path) -> None:
    plane = FakeControlPlane(answer=refuses("still starting", final=False))
    async with running_at(plane, tmp_path) as agent:
        await until(lambda: agent.registration.status.value.reason == "still starting")
        assert agent.standing is Standing.CONNECTING


async def test_a_wrong_token_is_named_and_mended_without_a_restart(tmp_path: Path) -> None:
    plane = FakeControlPlane(token="another")
    async with running_at(plane, tmp_path) as agent:
        await until(lambda: agent.standing is Standing.UNAUTHENTICATED)
        assert "does not accept the token" in agent.registration.status.value.reason
        assert TOKEN not in agent.registration.status.value.reason
        plane.token = TOKEN
        await agent.registered()


async def test_leaving_takes_the_workload_out_and_ends_the_stream(plane: FakeControlPlane, tmp_path: Path) -> None:
    async with running(Agent(at(plane, tmp_path))) as agent:
        await agent.registered()
        assert await agent.registration.leave("asked to")
        assert agent.standing is Standing.LEFT
    assert plane.heard[-1] == Deregister("asked to")
    assert plane.streams == 1


async def test_leaving_does_not_wait_for_a_control_plane_that_is_away(tmp_path: Path) -> None:
    async with running(Agent(a_settings(tmp_path), Patience(leave=60.0))) as agent:
        await until(lambda: agent.registration.status.value.reason != "")
        assert not await agent.registration.leave("asked to")
        await until(lambda: agent.standing is Standing.LEFT)


async def test_leaving_gives_up_on_a_control_plane_that_confirms_nothing(tmp_path: Path) -> None:
    plane = FakeControlPlane(confirms_leaving=False)
    async with running_at(plane, tmp_path) as agent:
        await agent.registered()
        await asyncio.wait_for(agent.registration.leave("asked to"), 5.0)
        await until(lambda: plane.of(Deregister) == [Deregister("asked to")])


@pytest.mark.parametrize(
    "said",
    [Deregistered(), Refused("your lease ran out", final=False), Accepted(0.2)],
    ids=lambda said: type(said).__name__,
)
async def test_what_the_control_plane_says_unasked_is_heard(
    plane: FakeControlPlane, tmp_path: Path, said: ToAgent
) -> None:
    async with running(Agent(at(plane, tmp_path))) as agent:
        await agent.registered()
        plane.unprompted.append(said)
        if isinstance(said, Accepted):
            await until(lambda: agent.registration.status.value.lease_seconds == 0.2)
        else:
            await until(lambda: len(plane.of(Register)) == 2, what="another registration")
            await agent.registered()


async def test_the_app_s_proxy_setting_is_not_followed(
    plane: FakeControlPlane, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (nowhere,) = free_ports(1)
    for name in ("http_proxy", "HTTP_PROXY", "grpc_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{nowhere}")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    async with running(Agent(at(plane, tmp_path))) as agent:
        await agent.registered()

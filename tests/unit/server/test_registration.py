"""The agents' stream over real gRPC."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import grpc
import grpc.aio
import pytest

from pilothouse.aio.clock import ManualClock
from pilothouse.model.proxy import InboundPort, Workload
from pilothouse.model.registration import (
    PATH,
    Accepted,
    Deregister,
    Deregistered,
    EnvoyState,
    FromAgent,
    Health,
    Refused,
    Register,
    ToAgent,
    decode_to_agent,
    encode,
)
from pilothouse.model.service import ServiceKey
from pilothouse.model.world import World, fold_one
from pilothouse.registry.admission import Admission
from pilothouse.registry.embedded import EmbeddedRegistry, EmbeddedRules
from pilothouse.registry.stored import KnownRegistration, KnownState
from pilothouse.server.ads import SERVER_OPTIONS
from pilothouse.server.agents import AgentBoard
from pilothouse.server.registration import RegistrationServer

from .support import LOCAL, until

TOKEN = "a-secret-of-this-test"
NODE = "sidecar~127.0.0.11~reviews-v1.default~mesh"
WORKLOAD = Workload("reviews-v1", "default", "127.0.0.11", (InboundPort("reviews", 9080, 19080, 9080),))
REGISTER = Register(NODE, pid=7, workload=WORKLOAD, ready=True)


class Plane:
    """The agents' service with a registry whose World a test can read."""

    def __init__(self, known: KnownState) -> None:
        self.world = World()
        self.watch: Callable[[], None] = lambda: None
        self.clock = ManualClock()
        self.board = AgentBoard()
        rules = EmbeddedRules(lease_seconds=3.0, suspect_seconds=6.0)
        self.registry = EmbeddedRegistry(self._take, self.clock, rules, known)
        self.channel: grpc.aio.Channel
        self.known = asyncio.Event()
        self.known.set()

    async def everybody_knows(self) -> None:
        await self.known.wait()

    def _take(self, delta: object) -> None:
        self.world = fold_one(self.world, delta)  # type: ignore[arg-type]  # the registry's sink takes any delta
        self.watch()

    def endpoints(self) -> list[str]:
        registered = self.world.registries.get("embedded")
        members = registered.endpoints.get(ServiceKey("default", "reviews.service.mesh"), ()) if registered else ()
        return [endpoint.workload_id for endpoint in members]

    def agent(self, token: str | None = f"Bearer {TOKEN}") -> "Agent":
        metadata = (("authorization", token),) if token is not None else ()
        return Agent(self.channel.stream_stream(PATH)(metadata=metadata))

    def pass_time(self, seconds: int) -> None:
        """Let time pass with the registry looking regularly."""
        for _ in range(seconds):
            self.clock.advance(1.0)
            self.registry.expire()


def full_names(workload: Workload) -> Workload:
    """The workload as the registry keeps it."""
    admitted = Admission().admit(workload)
    assert isinstance(admitted, Workload)
    return admitted


@dataclass
class Agent:
    call: "grpc.aio.StreamStreamCall[bytes, bytes]"

    async def say(self, message: FromAgent) -> None:
        await self.call.write(encode(message))

    async def hear(self) -> ToAgent:
        async with asyncio.timeout(20):
            body = await self.call.read()
        assert isinstance(body, bytes)
        return decode_to_agent(body)

    async def end(self) -> tuple[grpc.StatusCode, str]:
        async with asyncio.timeout(20):
            return await self.call.code(), await self.call.details() or ""


@asynccontextmanager
async def a_plane(known: KnownState | None = None) -> AsyncIterator[Plane]:
    plane = Plane(known or KnownState())
    server = grpc.aio.server(options=SERVER_OPTIONS)
    service = RegistrationServer(plane.registry, plane.board, plane.clock, TOKEN, plane.everybody_knows)
    server.add_generic_rpc_handlers((service.handlers(),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=LOCAL) as channel:
        plane.channel = channel
        yield plane
        service.calls.close()
        await server.stop(0.5)


async def test_an_agent_registers_reports_and_leaves() -> None:
    async with a_plane() as plane:
        agent = plane.agent()
        await agent.say(REGISTER)
        assert await agent.hear() == Accepted(3.0)
        assert plane.endpoints() == ["reviews-v1"]
        await agent.say(Health(healthy=False, reason="503"))
        await until(lambda: plane.endpoints() == [])
        await agent.say(EnvoyState(live=True, ready=True, version="1.40.0"))
        await until(lambda: (report := plane.board.find(NODE)) is not None and report.envoy is not None)
        await agent.say(Deregister())
        assert await agent.hear() == Deregistered()
        assert plane.world.workloads == {}
        assert plane.board.all() == ()
        assert (await agent.end())[0] is grpc.StatusCode.OK


async def test_the_farewell_is_answered_once_the_callers_know() -> None:
    async with a_plane() as plane:
        agent = plane.agent()
        await agent.say(REGISTER)
        assert await agent.hear() == Accepted(3.0)
        plane.known.clear()
        await agent.say(Deregister())
        await until(lambda: plane.world.workloads == {})
        answer = asyncio.ensure_future(agent.hear())
        await asyncio.sleep(0)
        assert not answer.done()
        plane.known.set()
        assert await answer == Deregistered()


@pytest.mark.parametrize("token", [None, "Bearer wrong", "Bearer ", TOKEN, f"Basic {TOKEN}"])
async def test_without_the_credential_nothing_can_be_registered(token: str | None) -> None:
    async with a_plane() as plane:
        agent = plane.agent(token)
        code, details = await agent.end()
        assert code is grpc.StatusCode.UNAUTHENTICATED
        assert "token" in details
        assert TOKEN not in details
        assert plane.world.workloads == {}


async def test_every_message_renews_the_lease() -> None:
    async with a_plane() as plane:
        agent = plane.agent()
        await agent.say(REGISTER)
        await agent.hear()
        plane.pass_time(2)
        await agent.say(EnvoyState(live=True, ready=True))
        await until(lambda: (report := plane.board.find(NODE)) is not None and report.heard_at == plane.clock.wall())
        plane.pass_time(2)
        assert plane.registry.suspects == ()
        plane.pass_time(1)
        assert [suspect.reason for suspect in plane.registry.suspects] == ["its agent is silent"]
        await agent.say(EnvoyState(live=True, ready=True))
        await until(lambda: plane.registry.suspects == ())


async def test_a_broken_stream_makes_a_suspect_that_keeps_its_endpoint_for_a_while() -> None:
    async with a_plane() as plane:
        agent = plane.agent()
        await agent.say(REGISTER)
        await agent.hear()
        agent.call.cancel()
        await until(lambda: (report := plane.board.find(NODE)) is not None and not report.connected)
        assert [suspect.workload.id for suspect in plane.registry.suspects] == ["reviews-v1"]
        plane.pass_time(5)
        assert plane.endpoints() == ["reviews-v1"]
        plane.pass_time(1)
        assert plane.endpoints() == []


async def test_the_successor_of_a_lost_agent_is_accepted_at_once() -> None:
    async with a_plane() as plane:
        first, second = plane.agent(), plane.agent()
        await first.say(REGISTER)
        await first.hear()
        first.call.cancel()
        await until(lambda: plane.registry.suspects != ())
        await second.say(Register(NODE, pid=8, workload=WORKLOAD, ready=True))
        assert await second.hear() == Accepted(3.0)
        assert plane.registry.suspects == ()


async def test_a_thousand_streams_that_register_at_once_lose_nobody() -> None:
    workloads = [
        Workload(f"w-{n:03}", "default", f"10.0.{n // 250}.{n % 250 + 1}", WORKLOAD.ports) for n in range(1000)
    ]
    known = KnownState(tuple(KnownRegistration(full_names(workload), serving=True) for workload in workloads))
    async with a_plane(known) as plane:
        sizes: list[int] = []
        plane.watch = lambda: sizes.append(len(plane.endpoints()))
        agents = [plane.agent() for _ in workloads]

        async def join(agent: Agent, workload: Workload) -> None:
            await agent.say(Register(f"sidecar~{workload.address}~{workload.id}.default~mesh", 7, workload, ready=True))
            assert await agent.hear() == Accepted(3.0)

        await asyncio.gather(*(join(agent, workload) for agent, workload in zip(agents, workloads, strict=True)))
        assert sizes == [], "proxies are told nothing, because nothing is new"
        assert plane.registry.suspects == ()
        assert plane.registry.settled
        assert len(plane.endpoints()) == 1000


async def test_a_refusal_is_an_answer_and_ends_the_stream() -> None:
    async with a_plane() as plane:
        agent = plane.agent()
        await agent.say(Register(NODE, 7, Workload("w", "default", "nowhere", WORKLOAD.ports)))
        answer = await agent.hear()
        assert isinstance(answer, Refused)
        assert "must be an IP address" in answer.reason
        assert (await agent.end())[0] is grpc.StatusCode.OK


async def test_a_second_agent_for_one_workload_is_told_of_the_first() -> None:
    async with a_plane() as plane:
        first, second = plane.agent(), plane.agent()
        await first.say(REGISTER)
        await first.hear()
        await second.say(Register(NODE, pid=8, workload=WORKLOAD))
        answer = await second.hear()
        assert isinstance(answer, Refused)
        assert "pid 7" in answer.reason


async def test_an_agent_whose_lease_ran_out_must_register_again() -> None:
    async with a_plane() as plane:
        agent = plane.agent()
        await agent.say(REGISTER)
        await agent.hear()
        plane.pass_time(10)
        assert plane.endpoints() == []
        await agent.say(EnvoyState(live=True, ready=True))
        code, details = await agent.end()
        assert code is grpc.StatusCode.ABORTED
        assert "register again" in details


@pytest.mark.parametrize("body", [b"", b"\xc1", b"\x81\xa4type\xa4nope", encode(Health(healthy=True)), b"x" * 70_000])
async def test_what_is_not_a_registration_is_refused_with_a_reason(body: bytes) -> None:
    async with a_plane() as plane:
        agent = plane.agent()
        await agent.call.write(body)
        code, details = await agent.end()
        assert code is grpc.StatusCode.INVALID_ARGUMENT
        assert details


async def test_a_stream_is_one_registration() -> None:
    async with a_plane() as plane:
        agent = plane.agent()
        await agent.say(REGISTER)
        await agent.hear()
        await agent.say(REGISTER)
        assert (await agent.end())[0] is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_gateway_registers_nothing_and_reports_its_envoy() -> None:
    async with a_plane() as plane:
        agent = plane.agent()
        await agent.say(Register("router~127.0.0.1~edge.default~mesh", pid=7))
        assert await agent.hear() == Accepted(3.0)
        assert plane.world == World()
        assert plane.board.find("router~127.0.0.1~edge.default~mesh") is not None

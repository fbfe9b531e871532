"""The agents' stream over real gRPC."""

import asyncio
from collections.abc import AsyncIterator
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
from pilothouse.registry.embedded import EmbeddedRegistry, EmbeddedRules
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

    def __init__(self) -> None:
        self.world = World()
        self.clock = ManualClock()
        self.board = AgentBoard()
        self.registry = EmbeddedRegistry(self._take, self.clock, EmbeddedRules(lease_seconds=3.0))
        self.channel: grpc.aio.Channel

    def _take(self, delta: object) -> None:
        self.world = fold_one(self.world, delta)  # type: ignore[arg-type]  # the registry's sink takes any delta

    def endpoints(self) -> list[str]:
        registered = self.world.registries.get("embedded")
        members = registered.endpoints.get(ServiceKey("default", "reviews.service.mesh"), ()) if registered else ()
        return [endpoint.workload_id for endpoint in members]

    def agent(self, token: str | None = f"Bearer {TOKEN}") -> "Agent":
        metadata = (("authorization", token),) if token is not None else ()
        return Agent(self.channel.stream_stream(PATH)(metadata=metadata))


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
async def a_plane() -> AsyncIterator[Plane]:
    plane = Plane()
    server = grpc.aio.server(options=SERVER_OPTIONS)
    service = RegistrationServer(plane.registry, plane.board, plane.clock, TOKEN)
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
        plane.clock.advance(2.9)
        await agent.say(EnvoyState(live=True, ready=True))
        await until(lambda: (report := plane.board.find(NODE)) is not None and report.heard_at == plane.clock.wall())
        plane.registry.expire()
        plane.clock.advance(1.0)
        plane.registry.expire()
        assert plane.endpoints() == ["reviews-v1"]


async def test_a_broken_stream_keeps_the_endpoint_until_the_lease_ends() -> None:
    async with a_plane() as plane:
        agent = plane.agent()
        await agent.say(REGISTER)
        await agent.hear()
        agent.call.cancel()
        await until(lambda: (report := plane.board.find(NODE)) is not None and not report.connected)
        assert plane.endpoints() == ["reviews-v1"]
        for _ in range(4):
            plane.clock.advance(1.0)
            plane.registry.expire()
        assert plane.endpoints() == []


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
        for _ in range(5):
            plane.clock.advance(1.0)
            plane.registry.expire()
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

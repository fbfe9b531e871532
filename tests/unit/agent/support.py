"""Settings for tests, free ports, and a control plane that does what a test tells it."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from pilothouse.agent.settings import AgentSettings, PortMapping
from pilothouse.model.registration import (
    METHOD,
    SERVICE,
    Accepted,
    Deregister,
    Deregistered,
    FromAgent,
    Health,
    Refused,
    Register,
    ToAgent,
    decode_from_agent,
    encode,
)

TOKEN = "a-token-for-tests"


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now. All are held until the last is found, so they differ."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


def a_settings(state_dir: Path, **changes: Any) -> AgentSettings:
    """A sidecar of reviews on loopback, with ports of its own; the control plane's port is free, so it is away."""
    admin, status, readiness, inbound, app, discovery = free_ports(6)
    fields: dict[str, Any] = {
        "name": "reviews-v1",
        "token": TOKEN,
        "state_dir": str(state_dir / "agent"),
        "discovery_port": discovery,
        "services": (PortMapping("reviews", 9080, inbound, app),),
        "labels": (("app", "reviews"), ("version", "v1")),
        "admin_port": admin,
        "status_port": status,
        "readiness_port": readiness,
        "owner_pid": os.getpid(),  # Whatever a test does, no Envoy outlives it.
    }
    return AgentSettings(**{**fields, **changes})


@dataclass
class FakeControlPlane:
    """The agent's side of a control plane. ``answer`` decides what follows a registration."""

    port: int = 0
    lease_seconds: float = 0.3
    token: str = TOKEN
    answer: Callable[[Register], ToAgent | None] | None = None
    confirms_leaving: bool = True
    unprompted: list[ToAgent] = field(default_factory=list)
    """Each is said once, in answer to a renewal."""
    heard: list[FromAgent] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)
    streams: int = 0
    end: asyncio.Event = field(default_factory=asyncio.Event)
    """Set it to end the open streams with ``end_code``; new ones are then served again."""
    end_code: grpc.StatusCode = grpc.StatusCode.OK
    extra: tuple[grpc.GenericRpcHandler, ...] = ()
    _server: Any = None

    async def start(self) -> None:
        self._server = grpc.aio.server(
            options=(("grpc.so_reuseport", 0), ("grpc.http2.min_ping_interval_without_data_ms", 1_000))
        )
        handler = grpc.stream_stream_rpc_method_handler(self._connect)
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, {METHOD: handler}),))
        if self.extra:
            self._server.add_generic_rpc_handlers(self.extra)
        self.port = self._server.add_insecure_port(f"127.0.0.1:{self.port}")
        await self._server.start()

    async def stop(self) -> None:
        await self._server.stop(None)

    def of(self, kind: type[Any]) -> list[Any]:
        """What was heard of one kind of message."""
        return [message for message in self.heard if isinstance(message, kind)]

    @property
    def traffic(self) -> bool:
        """Whether callers would be sent to the workload, by what was heard last."""
        said = [one for one in self.heard if isinstance(one, Register | Health)]
        return bool(said) and (said[-1].ready if isinstance(said[-1], Register) else said[-1].healthy)

    async def _connect(self, requests: AsyncIterator[bytes], context: Any) -> None:
        given = dict(context.invocation_metadata()).get("authorization", "")
        self.tokens.append(given)
        if given != f"Bearer {self.token}":
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, "unknown token")
        self.streams += 1
        reading = asyncio.ensure_future(self._read(requests, context))
        ending = asyncio.ensure_future(self.end.wait())
        try:
            await asyncio.wait((reading, ending), return_when=asyncio.FIRST_COMPLETED)
        finally:
            reading.cancel()
            ending.cancel()
        if self.end.is_set():
            self.end.clear()
            if self.end_code is not grpc.StatusCode.OK:
                await context.abort(self.end_code, "told to")

    async def _read(self, requests: AsyncIterator[bytes], context: Any) -> None:
        async for body in requests:
            message = decode_from_agent(body)
            self.heard.append(message)
            answer = self._answer_to(message)
            if answer is not None:
                await context.write(encode(answer))

    def _answer_to(self, message: FromAgent) -> ToAgent | None:
        if isinstance(message, Register):
            return self.answer(message) if self.answer else Accepted(self.lease_seconds)
        if isinstance(message, Deregister):
            return Deregistered() if self.confirms_leaving else None
        return self.unprompted.pop() if self.unprompted else None


def refuses(reason: str, *, final: bool) -> Callable[[Register], ToAgent]:
    """An answer that refuses every registration."""
    return lambda _: Refused(reason, final)


@asynccontextmanager
async def control_plane(plane: FakeControlPlane) -> AsyncIterator[FakeControlPlane]:
    """``plane``, started, and stopped at the end."""
    await plane.start()
    try:
        yield plane
    finally:
        await plane.stop()

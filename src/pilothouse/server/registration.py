"""The agents' stream: who may register, and what each message means for the embedded registry.

One bidirectional gRPC stream per agent (``model.registration``), with the local credential as a bearer token. Turns
messages into calls and answers; leases, conflicts and services are the registry's business.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final

import grpc
import grpc.aio
import msgspec
import structlog

from pilothouse.aio.clock import Clock
from pilothouse.identity.tokens import token_matches
from pilothouse.model.registration import (
    METHOD,
    SERVICE,
    Accepted,
    Deregister,
    Deregistered,
    EnvoyState,
    FromAgent,
    Health,
    Refused,
    Register,
    decode_from_agent,
    encode,
)
from pilothouse.registry.embedded import EmbeddedRegistry
from pilothouse.registry.leases import Registration
from pilothouse.server.agents import AgentBoard, AgentReport
from pilothouse.server.calls import CLIENT_LEFT, Calls, Context, End

log = structlog.get_logger(__name__)

MOST_MESSAGE_BYTES: Final = 64 * 1024
FIRST_MESSAGE_SECONDS: Final = 10.0
FAREWELL_SECONDS: Final = 5.0
"""One proxy that never answers must not keep a workload from leaving."""
SCHEME: Final = "bearer "


async def known_at_once() -> None:
    """For a registry without proxies."""


@dataclass(frozen=True, slots=True)
class RegistrationServer:
    """Serves agents. ``token`` is the secret that they must present.

    ``everybody_knows`` returns once all proxies have acknowledged every endpoint change up to now.
    """

    registry: EmbeddedRegistry
    board: AgentBoard
    clock: Clock
    token: str
    everybody_knows: Callable[[], Awaitable[None]] = known_at_once
    calls: Calls = field(default_factory=Calls)

    def handlers(self) -> grpc.GenericRpcHandler:
        """The service, for a gRPC server."""
        return grpc.method_handlers_generic_handler(
            SERVICE, {METHOD: grpc.stream_stream_rpc_method_handler(self._serve, None, None)}
        )

    async def _serve(self, _: object, context: Context) -> None:
        await self.calls.run(self._attend(context), context)

    async def _attend(self, context: Context) -> End:
        try:
            return self._credential(context) or await self._converse(context)
        except grpc.aio.BaseError:
            return CLIENT_LEFT  # while we answered

    def _credential(self, context: Context) -> End | None:
        """Why this client may not register, or None."""
        metadata: tuple[tuple[str, Any], ...] = tuple(context.invocation_metadata() or ())
        given = next((str(value) for key, value in metadata if key == "authorization"), "")
        if not given:
            return End(
                grpc.StatusCode.UNAUTHENTICATED,
                "no credential: send `authorization: Bearer TOKEN` with the token of the control plane's token file",
            )
        if not given.lower().startswith(SCHEME) or not token_matches(given[len(SCHEME) :].strip(), self.token):
            log.warning("an agent presented a wrong token", peer=context.peer())
            return End(
                grpc.StatusCode.UNAUTHENTICATED, "the token is not the one in the token file of this control plane"
            )
        return None

    async def _converse(self, context: Context) -> End:
        """The registration first, then news until the agent leaves or its stream breaks."""
        try:
            async with asyncio.timeout(FIRST_MESSAGE_SECONDS):
                first = _decode(await context.read())
        except TimeoutError:
            return End(grpc.StatusCode.DEADLINE_EXCEEDED, "no registration arrived")
        if not isinstance(first, Register):
            return first if isinstance(first, End) else _out_of_place(first)
        registration = self.registry.register(first)
        if isinstance(registration, Refused):
            log.warning("registration refused", node=first.node_id, pid=first.pid, reason=registration.reason)
            await context.write(encode(registration))
            return CLIENT_LEFT
        self.board.connect(
            AgentReport(
                node_id=first.node_id,
                pid=first.pid,
                workload_id=registration.workload_id,
                serial=registration.serial,
                heard_at=self.clock.wall(),
            )
        )
        try:
            await context.write(encode(Accepted(self.registry.lease_seconds)))
            return await self._listen(context, registration)
        finally:
            # After a deregistration, or when a newer stream took over, these find nothing to do.
            self.registry.lost(registration)
            self.board.lost(registration.node_id, registration.serial)

    async def _listen(self, context: Context, registration: Registration) -> End:
        while True:
            message = _decode(await context.read())
            if isinstance(message, End):
                return message
            if isinstance(message, Deregister):
                self.registry.deregister(registration)
                self.board.left(registration.node_id, registration.serial)
                await self._until_known()
                await context.write(encode(Deregistered()))
                return CLIENT_LEFT
            if isinstance(message, Register):
                return _out_of_place(message)
            if not self._news(registration, message):
                return End(grpc.StatusCode.ABORTED, "the registration does not stand any more: register again")

    async def _until_known(self) -> None:
        """Wait until the proxies that call the workload have heard that it leaves, at most ``FAREWELL_SECONDS``."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FAREWELL_SECONDS):
                await self.everybody_knows()

    def _news(self, registration: Registration, message: Health | EnvoyState) -> bool:
        """Take in what the agent says. Whether the registration stands."""
        envoy = message if isinstance(message, EnvoyState) else None
        self.board.heard(registration.node_id, registration.serial, self.clock.wall(), envoy)
        if isinstance(message, Health):
            return self.registry.health(registration, message)
        return self.registry.renew(registration)


def _decode(body: object) -> FromAgent | End:
    """The message, or how the stream ends because there is none."""
    if not isinstance(body, bytes):
        return CLIENT_LEFT
    if len(body) > MOST_MESSAGE_BYTES:
        return End(grpc.StatusCode.INVALID_ARGUMENT, f"message larger than {MOST_MESSAGE_BYTES // 1024} KiB")
    try:
        return decode_from_agent(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return End(grpc.StatusCode.INVALID_ARGUMENT, f"not a message that an agent sends: {error}")


def _out_of_place(message: FromAgent) -> End:
    what = type(message).__name__
    return End(
        grpc.StatusCode.INVALID_ARGUMENT, f"{what} is out of place: a stream is one registration, which comes first"
    )

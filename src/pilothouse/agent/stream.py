"""The wire under the registration: one gRPC stream to the control plane, as messages in and messages out.

Turns everything that can happen to a stream into ``StreamLost``, which says what it means for the registration.
Knows nothing of health or leases.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from enum import StrEnum
from typing import Final, TypeAlias

import grpc
import grpc.aio
import msgspec

from pilothouse.model.registration import PATH, FromAgent, ToAgent, decode_to_agent, encode

SEND_SECONDS: Final = 10.0
"""How long the control plane may leave a message untaken."""

CHANNEL_OPTIONS: Final = (
    # A control plane that hangs closes no connection: it is given up after ten seconds without an answer to a ping.
    ("grpc.keepalive_time_ms", 5_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    # As gRPC 1.85 was seen to do: an unanswered ping ends the connection after this time (60 s by default), whatever
    # the time before says.
    ("grpc.http2.ping_timeout_ms", 5_000),
    ("grpc.http2.max_pings_without_data", 0),
    # The app's environment sets HTTP_PROXY to reach its sidecar; the agent's own way must not lead through it.
    ("grpc.enable_http_proxy", 0),
    # Attempts are spaced by us. A shared subchannel would answer "unavailable" from a backoff of its own.
    ("grpc.use_local_subchannel_pool", 1),
)

Call: TypeAlias = "grpc.aio.StreamStreamCall[bytes, bytes]"
Connect: TypeAlias = "grpc.aio.StreamStreamMultiCallable[bytes, bytes]"


class Standing(StrEnum):
    """How the registration stands."""

    CONNECTING = "CONNECTING"
    REGISTERED = "REGISTERED"
    REFUSED = "REFUSED"
    UNAUTHENTICATED = "UNAUTHENTICATED"
    LEFT = "LEFT"


class StreamLost(Exception):
    """The stream ended, or is as good as ended. ``standing`` is what that means for the registration."""

    def __init__(self, reason: str, standing: Standing = Standing.CONNECTING) -> None:
        super().__init__(reason)
        self.standing = standing


def loss_of(code: grpc.StatusCode, details: str) -> StreamLost:
    """What a gRPC status means for the registration."""
    if code in (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED):
        return StreamLost(f"the control plane does not accept the token: {details}", Standing.UNAUTHENTICATED)
    if code is grpc.StatusCode.OK:
        return StreamLost("the control plane ended the stream")
    if code is grpc.StatusCode.UNAVAILABLE:
        return StreamLost(f"the control plane does not answer: {details}")
    return StreamLost(f"the stream failed with {code.name}: {details}")


class Stream:
    """One open stream. Both methods raise ``StreamLost``, and nothing else but cancellation."""

    def __init__(self, call: Call) -> None:
        self._call = call

    async def send(self, message: FromAgent) -> None:
        """Hand one message to the transport; it is not known to have arrived."""
        try:
            async with asyncio.timeout(SEND_SECONDS):
                await self._call.write(encode(message))
        except TimeoutError as error:
            raise StreamLost(f"the control plane took no message for {SEND_SECONDS:g} s") from error
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError, asyncio.CancelledError) as error:
            raise await self._lost(error) from error

    async def receive(self, seconds: float | None = None) -> ToAgent:
        """The next message, awaited for ``seconds`` at most. A stream that ran out of time is of no further use."""
        try:
            async with asyncio.timeout(seconds):
                body = await self._call.read()
        except TimeoutError as error:
            raise StreamLost(f"the control plane gave no answer within {seconds:g} s") from error
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError, asyncio.CancelledError) as error:
            raise await self._lost(error) from error
        if not isinstance(body, bytes):
            raise await self._lost(None)
        try:
            return decode_to_agent(body)
        except msgspec.DecodeError as error:
            raise StreamLost(f"the control plane said something unknown: {error}") from error

    async def _lost(self, error: BaseException | None) -> StreamLost:
        """What the end of the call means. Raises CancelledError if it is this task that was cancelled.

        gRPC raises CancelledError also where the *server* ended the call with CANCELLED, as one that stops does.
        Taken for our own cancellation it would end the registration for good.
        """
        task = asyncio.current_task()
        if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
            raise error
        try:
            async with asyncio.timeout(SEND_SECONDS):
                return loss_of(await self._call.code(), await self._call.details() or "no reason given")
        except TimeoutError:
            return StreamLost("the control plane ended the stream without a status")


@asynccontextmanager
async def open_stream(target: str, token: str) -> AsyncIterator[Stream]:
    """A stream to ``target`` (host:port, plaintext) with ``token`` as its credential. Connecting happens on use."""
    async with grpc.aio.insecure_channel(target, options=CHANNEL_OPTIONS) as channel:
        # Without serializers, messages are the bytes themselves; the stubs cannot infer that.
        connect: Connect = channel.stream_stream(PATH)
        call = connect(metadata=(("authorization", f"Bearer {token}"),))
        try:
            yield Stream(call)
        finally:
            call.cancel()

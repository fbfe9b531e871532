"""The relay's way to the control plane: one channel, a delta stream per Envoy stream, messages as raw bytes.

Adds the agent's token. Turns every end of a stream into ``UpstreamLost``. gRPC itself connects again and again, with
a backoff of 0.1 to 1 s; a call that may wait is carried by the next connection.
"""

import asyncio
from typing import Final, TypeAlias

import grpc
import grpc.aio

from pilothouse.agent.settings import Listen
from pilothouse.agent.stream import CHANNEL_OPTIONS

PATH: Final = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources"
STATUS_SECONDS: Final = 5.0

RELAY_OPTIONS: Final = (
    *CHANNEL_OPTIONS,
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1_000),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
)

Call: TypeAlias = "grpc.aio.StreamStreamCall[bytes, bytes]"
Connect: TypeAlias = "grpc.aio.StreamStreamMultiCallable[bytes, bytes]"


class UpstreamLost(Exception):
    """The stream to the control plane ended. ``code`` and the text are the control plane's, or gRPC's."""

    def __init__(self, code: grpc.StatusCode, text: str) -> None:
        super().__init__(text)
        self.code = code


class UpstreamCall:
    """One stream. ``read`` and ``write`` raise ``UpstreamLost``, and nothing else but cancellation."""

    def __init__(self, call: Call) -> None:
        self._call = call

    async def write(self, frame: bytes) -> None:
        """Hand one frame on; returns when the transport has room for the next, which a connection may have to bring."""
        try:
            await self._call.write(frame)
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError, asyncio.CancelledError) as error:
            raise await self._lost(error) from error

    async def read(self) -> bytes:
        """The next frame."""
        try:
            frame = await self._call.read()
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError, asyncio.CancelledError) as error:
            raise await self._lost(error) from error
        if isinstance(frame, bytes):
            return frame
        raise await self._lost(None)

    def cancel(self) -> None:
        """End the stream."""
        self._call.cancel()

    async def _lost(self, error: BaseException | None) -> UpstreamLost:
        """What the end of the call means. Raises CancelledError if it is this task that was cancelled.

        gRPC raises CancelledError also where the server ended the call with CANCELLED, as one that stops does.
        """
        task = asyncio.current_task()
        if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
            raise error
        try:
            async with asyncio.timeout(STATUS_SECONDS):
                code, text = await self._call.code(), await self._call.details()
        except TimeoutError:
            return UpstreamLost(grpc.StatusCode.UNAVAILABLE, "the control plane ended the stream without a status")
        if code is grpc.StatusCode.OK:
            return UpstreamLost(grpc.StatusCode.UNAVAILABLE, "the control plane ended the stream")
        return UpstreamLost(code, text or "no reason given")


class Upstream:
    """The channel. Connects at the first call, and again by itself."""

    def __init__(self, where: Listen, token: str) -> None:
        self._metadata = (("authorization", f"Bearer {token}"),)
        self._channel = grpc.aio.insecure_channel(str(where), options=RELAY_OPTIONS)
        # Without serializers, messages are the bytes themselves; the stubs cannot infer that.
        self._connect: Connect = self._channel.stream_stream(PATH)

    def open(self, *, patient: bool) -> UpstreamCall:
        """A stream. A ``patient`` one waits for a connection; the other fails at once while there is none."""
        return UpstreamCall(self._connect(metadata=self._metadata, wait_for_ready=patient))

    async def close(self) -> None:
        """End all streams and the connection."""
        await self._channel.close()

"""Serve one Envoy from the last good configuration, while no control plane answers.

The stream machine of ``xds`` decides what is sent and in which order, as in the control plane; here are only its
reader and its deadline. What Envoy answers changes nothing in the store.
"""

import asyncio
from collections.abc import Sequence
from typing import Protocol

import grpc.aio

from pilothouse.agent.frames import decode_request, encode_response
from pilothouse.aio.clock import Clock
from pilothouse.aio.tasks import Tasks
from pilothouse.xds.delta import DeltaStream
from pilothouse.xds.framing import MalformedFrame
from pilothouse.xds.protocol import DeltaResponse
from pilothouse.xds.resource import Snapshot


class Downstream(Protocol):
    """Envoy's end of a stream, as gRPC gives it."""

    async def read(self) -> object:
        """The next frame, or ``grpc.aio.EOF``."""

    async def write(self, message: bytes) -> None:
        """Returns when the transport has room for the next."""


class StoredStream:
    """One Envoy stream that is answered from ``snapshot``."""

    def __init__(self, downstream: Downstream, snapshot: Snapshot, clock: Clock) -> None:
        self._downstream = downstream
        self._clock = clock
        self._machine = DeltaStream()
        self._machine.offer(snapshot, clock.monotonic())
        self._writing = asyncio.Lock()
        self._sent = asyncio.Event()

    async def serve(self, first: bytes) -> None:
        """Answer until Envoy leaves. ``first`` is the request that has been read already."""
        async with Tasks() as tasks:
            tasks.start("stored configuration deadline", self._keep_deadline())
            message: object = first
            while isinstance(message, bytes):
                await self._take(message)
                message = await self._downstream.read()

    async def _take(self, frame: bytes) -> None:
        try:
            request = decode_request(frame)
        except MalformedFrame:
            return
        await self._send(self._machine.receive(request, self._clock.monotonic()))

    async def _send(self, responses: Sequence[DeltaResponse]) -> None:
        async with self._writing:
            for response in responses:
                await self._downstream.write(encode_response(response))
        self._sent.set()

    async def _keep_deadline(self) -> None:
        """A type that is not answered in time does not hold back the others."""
        while True:
            deadline = self._machine.deadline
            self._sent.clear()
            wait = None if deadline is None else max(0.0, deadline - self._clock.monotonic())
            try:
                async with asyncio.timeout(wait):
                    await self._sent.wait()
            except TimeoutError:
                try:
                    await self._send(self._machine.expire(self._clock.monotonic()))
                except grpc.aio.BaseError:
                    return  # Envoy left; the reader sees it

"""One stream of Envoy and its stream to the control plane: frames pass both ways, each written before the next is read.

So a slow side slows the other, and nothing piles up in between. The book sees every frame, and a response before
Envoy does. Ends with the first side that ends; whose fault that was is the result.
"""

import asyncio
from typing import Final

import grpc
import grpc.aio

from pilothouse.agent.book import StreamBook
from pilothouse.agent.stored import Downstream
from pilothouse.agent.tally import RelayTally, Source
from pilothouse.agent.upstream import UpstreamCall, UpstreamLost
from pilothouse.aio.tasks import Tasks

WRITE_SECONDS: Final = 30.0
"""How long Envoy may leave a response untaken."""


class Passing:
    """Until the control plane's first response it waits, from then on it is live."""

    def __init__(self, downstream: Downstream, call: UpstreamCall, book: StreamBook, tally: RelayTally) -> None:
        self._downstream = downstream
        self._call = call
        self._book = book
        self._tally = tally
        self._live = False

    async def run(self, request: bytes | None, response: bytes | None = None) -> UpstreamLost | None:
        """Pass frames until one side ends; None if that was Envoy. The arguments are what has been read already."""
        self._tally.waiting_streams += 1
        try:
            async with Tasks() as tasks:
                pumps = (
                    tasks.start("xds requests", self._pass_requests(request)),
                    tasks.start("xds responses", self._pass_responses(response)),
                )
                ended, _ = await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
                return next((lost for task in ended if (lost := task.result()) is not None), None)
        finally:
            self._call.cancel()
            if self._live:
                self._tally.live_streams -= 1
            else:
                self._tally.waiting_streams -= 1

    async def _pass_requests(self, first: bytes | None) -> UpstreamLost | None:
        try:
            frame: object = first if first is not None else await self._downstream.read()
            while isinstance(frame, bytes):
                self._tally.requests += 1
                await self._call.write(self._book.request(frame))
                frame = await self._downstream.read()
        except UpstreamLost as lost:
            return lost
        except grpc.aio.BaseError:
            return None  # Envoy left while we read
        return None

    async def _pass_responses(self, first: bytes | None) -> UpstreamLost | None:
        try:
            frame = first if first is not None else await self._call.read()
            while not self._book.overfull:
                self._answered()
                self._book.respond(frame)
                async with asyncio.timeout(WRITE_SECONDS):
                    await self._downstream.write(frame)
                frame = await self._call.read()
        except UpstreamLost as lost:
            return lost
        except TimeoutError:
            return UpstreamLost(grpc.StatusCode.DEADLINE_EXCEEDED, f"Envoy read nothing for {WRITE_SECONDS:g} s")
        except grpc.aio.BaseError:
            return None  # Envoy left while we wrote
        return UpstreamLost(grpc.StatusCode.RESOURCE_EXHAUSTED, "Envoy owes too many answers; a new stream starts anew")

    def _answered(self) -> None:
        self._tally.responses += 1
        if not self._live:
            self._live = True
            self._tally.waiting_streams -= 1
            self._tally.live_streams += 1
            self._tally.source = Source.LIVE

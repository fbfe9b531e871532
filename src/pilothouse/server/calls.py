"""The gRPC calls that are open, and how they end: with a status that says why, also when the control plane stops.

Around every handler of this server. Without it a stop would cancel calls from below, which clients cannot tell from
a fault and which gRPC logs as one.
"""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import grpc
import grpc.aio

Context: TypeAlias = "grpc.aio.ServicerContext[Any, bytes]"


@dataclass(frozen=True, slots=True)
class End:
    """How a call ended, in gRPC's words. ``text`` is for the operator of the other side."""

    code: grpc.StatusCode
    text: str = ""


CLIENT_LEFT: Final = End(grpc.StatusCode.OK)
STOPPED: Final = End(grpc.StatusCode.UNAVAILABLE, "the control plane stops")


class Calls:
    """The open calls of one service."""

    def __init__(self) -> None:
        self._open: set[asyncio.Task[Any]] = set()
        self._closing = asyncio.Event()

    def __len__(self) -> int:
        return len(self._open)

    async def run(self, work: Coroutine[Any, Any, End], context: Context) -> None:
        """Be the body of a handler: do ``work`` and end the call as it says."""
        task = asyncio.current_task()
        if task is None or self._closing.is_set():
            work.close()
            await context.abort(STOPPED.code, STOPPED.text)
        self._open.add(task)
        try:
            end = await work
        except asyncio.CancelledError:
            if not self._closing.is_set():
                raise
            task.uncancel()
            end = STOPPED
        finally:
            self._open.discard(task)
        if end is not CLIENT_LEFT:
            # Everything is released by now: the status of a client that does not read may wait here for a while.
            await context.abort(end.code, end.text)

    def close(self) -> None:
        """End all calls with ``STOPPED``, and those that come later at once."""
        self._closing.set()
        for task in tuple(self._open):
            task.cancel()

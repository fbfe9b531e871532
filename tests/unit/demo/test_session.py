"""One signal asks, a second one does not; an echo of the first is no second."""

import asyncio

import pytest

from pilothouse.aio.clock import ManualClock
from pilothouse.demo.session import ECHO_SECONDS, Interrupts, SessionOptions, run_session, until_stopped
from pilothouse.demo.up import MeshOptions
from pilothouse.kit.errors import PilothouseError, SettingsError


def test_the_first_signal_stops_and_its_echo_does_nothing_more() -> None:
    kills: list[str] = []
    clock = ManualClock()
    stop = asyncio.Event()
    interrupts = Interrupts(stop, lambda: kills.append("killed"), clock)
    interrupts.on_signal()
    clock.advance(ECHO_SECONDS / 2)
    interrupts.on_signal()
    assert stop.is_set()
    assert not kills
    assert not interrupts.killed


def test_the_second_signal_kills() -> None:
    kills: list[str] = []
    clock = ManualClock()
    stop = asyncio.Event()
    interrupts = Interrupts(stop, lambda: kills.append("killed"), clock)
    interrupts.on_signal()
    clock.advance(2 * ECHO_SECONDS)
    interrupts.on_signal()
    assert kills == ["killed"]
    assert interrupts.killed


async def test_work_that_ends_gives_its_result() -> None:
    async def work() -> int:
        return 7

    assert await until_stopped(asyncio.Event(), work()) == 7


async def test_a_stop_cancels_the_work() -> None:
    stop, cancelled = asyncio.Event(), asyncio.Event()

    async def work() -> int:
        stop.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        return 7

    assert await until_stopped(stop, work()) is None
    assert cancelled.is_set()


async def test_what_the_work_cannot_do_reaches_the_caller() -> None:
    async def work() -> int:
        raise PilothouseError("no")

    with pytest.raises(PilothouseError, match="no"):
        await until_stopped(asyncio.Event(), work())


async def test_an_unknown_row_is_refused_before_anything_starts() -> None:
    options = SessionOptions(MeshOptions(port=8080), check=True, broken="canery")
    with pytest.raises(SettingsError, match="--break canery: no such row; the rows are ab-test"):
        await run_session(options)

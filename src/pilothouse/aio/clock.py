"""The one place where time is read. Everything else receives a ``Clock``, or plain seconds."""

import time
from typing import Protocol


class Clock(Protocol):
    """Two clocks: one that only moves forward, for intervals, and the calendar's, for people."""

    def monotonic(self) -> float:
        """Seconds since an arbitrary start; never goes back."""

    def wall(self) -> float:
        """Seconds since 1970, as the machine believes."""


class SystemClock:
    """The machine's clocks."""

    def monotonic(self) -> float:
        """Seconds of ``CLOCK_MONOTONIC``."""
        return time.monotonic()

    def wall(self) -> float:
        """Seconds since 1970."""
        return time.time()


class ManualClock:
    """A clock that moves when it is told to; for tests."""

    def __init__(self, start: float = 1000.0) -> None:
        self.now = start

    def monotonic(self) -> float:
        """The set time."""
        return self.now

    def wall(self) -> float:
        """The set time, too."""
        return self.now

    def advance(self, seconds: float) -> None:
        """Move both clocks forward."""
        self.now += seconds

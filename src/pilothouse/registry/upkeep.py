"""The embedded registry's clockwork: agents fall silent, the first wait ends, registrations are written.

The one loop of the registry, apart from its rules so that those can be tested with a clock that is moved by hand.
"""

import asyncio
from collections.abc import Callable
from typing import Final, Never

from pilothouse.aio.clock import Clock
from pilothouse.registry.embedded import EmbeddedRegistry
from pilothouse.registry.stored import RegistrationFile

STARTING_TICK: Final = 0.05
TICK: Final = 0.25
"""Seconds between two looks: silence is noticed at most this late."""
RETRY_SECONDS: Final = 1.0
"""Between two attempts to write the same registrations to a disk that does not take them."""


class Saver:
    """Keeps the file equal to the registry. Cheap to call when nothing changed."""

    def __init__(self, registry: EmbeddedRegistry, file: RegistrationFile, clock: Clock) -> None:
        self._registry = registry
        self._file = file
        self._clock = clock
        self._written = registry.generation
        self._failed: tuple[int, float] | None = None

    def save(self) -> None:
        """Write what changed since the last success. The pipeline calls this before it tells proxies of it."""
        generation, now = self._registry.generation, self._clock.monotonic()
        if generation == self._written:
            return
        if self._failed is not None and self._failed[0] == generation and now - self._failed[1] < RETRY_SECONDS:
            return
        # In the loop on purpose: some kilobytes without fsync, and two writers could overtake each other.
        if self._file.write(self._registry.state()):
            self._written, self._failed = generation, None
        else:
            self._failed = (generation, now)


async def keep(registry: EmbeddedRegistry, saver: Saver, synced: Callable[[], None]) -> Never:
    """Look after ``registry`` for ever. ``synced`` is called once, when the wait for registrations is over."""
    while not registry.settled:
        registry.expire()
        await asyncio.sleep(STARTING_TICK)
    registry.expire()  # What a crowd was about to be told comes before the word that everything was told.
    synced()
    try:
        while True:
            registry.expire()
            saver.save()
            await asyncio.sleep(TICK)
    finally:
        saver.save()

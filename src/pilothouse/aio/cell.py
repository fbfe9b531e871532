"""A latest-value cell: readers get the newest value, never a log of changes.

Between an owner of state and its readers, so that a slow reader costs nothing (after linkerd's watch channels).
"""

import asyncio
from typing import Generic, TypeVar

T = TypeVar("T")


class Cell(Generic[T]):
    """One value and a generation that grows with every ``put``."""

    def __init__(self, value: T) -> None:
        self._value = value
        self._changed = asyncio.Event()
        self.generation = 0

    @property
    def value(self) -> T:
        """The newest value."""
        return self._value

    def put(self, value: T) -> None:
        """Replace the value and wake everybody who waits for a change."""
        self._value = value
        self.generation += 1
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def after(self, generation: int) -> T:
        """The newest value once its generation is above ``generation``."""
        while self.generation <= generation:
            await self._changed.wait()
        return self._value

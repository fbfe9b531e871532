"""A coalescing queue: many producers, one consumer, and a burst becomes one batch.

The debounce of the control plane: after the first item the consumer waits until ``quiet`` seconds passed without
a further one, at most ``at_most`` seconds in all (Istio's PILOT_DEBOUNCE_AFTER and PILOT_DEBOUNCE_MAX).
"""

import asyncio
from typing import Generic, TypeVar

T = TypeVar("T")


class CoalescingQueue(Generic[T]):
    """Unbounded by items on purpose: an item is a reference to the producer's latest full state."""

    def __init__(self) -> None:
        self._items: list[T] = []
        self._arrived = asyncio.Event()
        self.first_arrival = 0.0
        """Loop time of the oldest item that waits; 0 if none does."""

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits for the consumer."""
        return not self._items

    def put(self, item: T) -> None:
        """Add an item; wakes the consumer."""
        if not self._items:
            self.first_arrival = asyncio.get_running_loop().time()
        self._items.append(item)
        self._arrived.set()

    async def take(self, *, quiet: float, at_most: float) -> list[T]:
        """All items, in order of arrival, once the burst is over."""
        loop = asyncio.get_running_loop()
        await self._arrived.wait()
        closing = self.first_arrival + at_most
        while (left := min(quiet, closing - loop.time())) > 0:
            self._arrived.clear()
            try:
                async with asyncio.timeout(left):
                    await self._arrived.wait()
            except TimeoutError:
                break
        items, self._items = self._items, []
        self._arrived.clear()
        self.first_arrival = 0.0
        return items

"""The embedded registry's clockwork: leases run out, the first wait ends, the roster is written.

The one loop of the registry, apart from its rules so that those can be tested with a clock that is moved by hand.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Final, Never

from pilothouse.registry.embedded import EmbeddedRegistry
from pilothouse.registry.roster import write_roster

STARTING_TICK: Final = 0.05
TICK: Final = 0.25
"""Seconds between two looks: a lease ends at most this late."""


async def keep(registry: EmbeddedRegistry, roster: Path, synced: Callable[[], None]) -> Never:
    """Look after ``registry`` for ever. ``synced`` is called once, when the wait for registrations is over.

    The roster is not written before that: until then the file on disk is the better list.
    """
    while not registry.settled:
        registry.expire()
        await asyncio.sleep(STARTING_TICK)
    synced()
    written = -1
    try:
        while True:
            registry.expire()
            if registry.generation != written:
                # In the loop on purpose: some kilobytes without fsync, and two writers could overtake each other.
                write_roster(roster, registry.workload_ids)
                written = registry.generation
            await asyncio.sleep(TICK)
    finally:
        if registry.generation != written:
            write_roster(roster, registry.workload_ids)

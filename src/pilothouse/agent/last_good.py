"""The last configuration that Envoy acknowledged, in memory and on disk: what a restarted Envoy begins with.

Fed by the relay's books, read when Envoy starts while the control plane is away. The file is replaced whole (written,
synchronised, renamed), bounded, and checked when it is read; one that cannot be trusted is set aside under another
name and counts as none. A disk that does not take it costs a counter and a line in the status, never traffic.
"""

import asyncio
import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec
import structlog

from pilothouse.agent.state_file import State, Unusable, decode_state, encode_state, read_file, replace_file, set_aside
from pilothouse.aio.backoff import Backoff, BackoffPolicy
from pilothouse.aio.clock import Clock, SystemClock
from pilothouse.aio.queue import CoalescingQueue
from pilothouse.xds.resource import ROUTE, VIRTUAL_HOST, Resource, Snapshot, resource_set

log = structlog.get_logger(__name__)

QUIET_SECONDS: Final = 0.5
AT_MOST_SECONDS: Final = 5.0
"""A burst of acknowledgements is written once: after half a second without a further one, five seconds at most."""
RETRIES: Final = BackoffPolicy(base=5.0, most=60.0, least=1.0)


class StoreState(msgspec.Struct, frozen=True):
    """What is known of the store. ``confirmed_at``: when the control plane was last in touch with what is kept.

    ``problem`` is why the newest write failed, or why what stood on disk at the start was not used.
    """

    resources: int = 0
    confirmed_at: float = 0.0
    writes: int = 0
    failed_writes: int = 0
    written_bytes: int = 0
    problem: str = ""


class LastGood:
    """What one Envoy acknowledged last. ``run`` writes it down; without ``run`` it lives in memory only."""

    def __init__(self, path: Path, node_id: str, *, most_bytes: int, clock: Clock | None = None) -> None:
        self._path = path
        self._node_id = node_id
        self._most_bytes = most_bytes
        self._clock = clock or SystemClock()
        self._types: dict[str, Mapping[str, Resource]] = {}
        self._changes: CoalescingQueue[None] = CoalescingQueue()
        self._dirty = False
        # A write whose task was cancelled goes on in its thread; the next must not meet it.
        self._writing = threading.Lock()
        self._writes = self._failed_writes = self._written_bytes = 0
        self._confirmed_at = 0.0
        self._problem = ""

    @property
    def state(self) -> StoreState:
        """What is known now."""
        return StoreState(
            sum(len(kept) for kept in self._types.values()),
            self._confirmed_at,
            self._writes,
            self._failed_writes,
            self._written_bytes,
            self._problem,
        )

    @property
    def empty(self) -> bool:
        """Whether there is nothing to start an Envoy with."""
        return not any(self._types.values())

    def of(self, type_url: str) -> Mapping[str, Resource]:
        """What is kept of a type, by name."""
        return self._types.get(type_url, {})

    def keep(self, type_url: str, held: Mapping[str, Resource]) -> None:
        """From now on, ``held`` is what Envoy acknowledged of the type. It may go on changing: tell again."""
        self._types[type_url] = held
        self.confirm()
        self._dirty = True
        self._changes.put(None)

    def confirm(self) -> None:
        """The control plane is in touch: what is kept is what it wants."""
        self._confirmed_at = self._clock.wall()

    def snapshot(self) -> Snapshot:
        """What is kept, to be served. Route configurations bring their virtual hosts behind them."""
        layers = {}
        for type_url, kept in self._types.items():
            served = (follow(one) if type_url == ROUTE else one for one in kept.values())
            layers[type_url] = (resource_set(*served),)
        return Snapshot(layers, "stored")

    def load(self) -> None:
        """Read what an earlier agent left. What cannot be trusted is set aside, reported, and counts as none."""
        try:
            state = decode_state(read_file(self._path, self._most_bytes), self._node_id)
        except FileNotFoundError:
            return
        except OSError as error:
            self._not_used(f"it cannot be read ({error.strerror})")
            return
        except Unusable as error:
            self._not_used(f"{error}; {set_aside(self._path, self._clock.wall())}")
            return
        self._types = dict(state.types)
        self._confirmed_at = max(state.confirmed_at, self._modified_at())
        log.info("stored configuration is at hand", resources=self.state.resources, path=str(self._path))

    async def run(self) -> None:
        """Write what changed, once per burst, until cancelled."""
        backoff = Backoff(RETRIES)
        while True:
            await self._changes.take(quiet=QUIET_SECONDS, at_most=AT_MOST_SECONDS)
            if await self.flush():
                backoff.reset()
            else:
                await asyncio.sleep(backoff.next_wait())
                self._changes.put(None)

    async def flush(self) -> bool:
        """Write now, if anything changed. False if it could not be written, which is counted and told."""
        if not self._dirty:
            return True
        self._dirty = False
        state = State({name: dict(kept) for name, kept in self._types.items()}, self._confirmed_at)
        body = encode_state(state, self._node_id)
        try:
            await asyncio.to_thread(self._write, body)
        except (OSError, Unusable) as error:
            self._failed(str(error))
            return False
        self._writes += 1
        self._written_bytes = len(body)
        self._problem = ""
        return True

    def touch(self) -> None:
        """Note on disk that the control plane is still in touch, without writing the content again."""
        self.confirm()
        try:
            os.utime(self._path, (self._confirmed_at, self._confirmed_at))
        except OSError:
            return  # nothing was written yet, or nothing can be: the next write tells

    def _write(self, body: bytes) -> None:
        with self._writing:
            replace_file(self._path, body, self._most_bytes)

    def _not_used(self, reason: str) -> None:
        self._problem = f"{self._path} was not used: {reason}"
        log.error("stored configuration is not used", path=str(self._path), reason=reason)

    def _failed(self, reason: str) -> None:
        self._dirty = True
        self._failed_writes += 1
        told = f"the configuration could not be stored: {reason}"
        if told != self._problem:
            log.error("configuration was not stored", path=str(self._path), reason=reason)
        self._problem = told

    def _modified_at(self) -> float:
        try:
            return min(self._path.stat().st_mtime, self._clock.wall())
        except OSError:
            return 0.0


def follow(route: Resource) -> Resource:
    """The route configuration with what the proxy waits for behind it."""
    return Resource(route.name, route.version, route.body, follows=((VIRTUAL_HOST, f"{route.name}/"),))

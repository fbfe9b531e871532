"""The one owner of state: deltas in, a World, a mesh, and an offer to every connected proxy out.

Everything that it calls is pure and lies in the rooms below; it adds the order of events and what a crash may cost.
Nothing leaves before each required source has been read once, because half of the truth is an outage for a proxy.
A bug in resolve or in the compiler never stops the loop: the last good goes on, and a Problem names what happened.
"""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, Generic, Literal, Never, Protocol, TypeAlias, TypeVar

import structlog

from pilothouse.aio.clock import Clock
from pilothouse.aio.queue import CoalescingQueue
from pilothouse.kit.codes import INTERNAL_ERROR
from pilothouse.kit.origin import BuiltIn
from pilothouse.kit.problem import Problem
from pilothouse.model.proxy import Proxy
from pilothouse.model.world import Delta, World, fold_one
from pilothouse.server.counters import Counters
from pilothouse.server.settings import Debounce
from pilothouse.xds.resource import Snapshot

log = structlog.get_logger(__name__)

OFFERS_PER_TURN: Final = 50
"""Proxies served before other work of the loop gets its turn (about five milliseconds)."""

Variant: TypeAlias = Literal["delta", "sotw"]
"""The two kinds of streams, which receive routes in different shapes."""


class Mesh(Protocol):
    """What the pipeline sees of a resolved mesh."""

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Everything found while resolving."""


M = TypeVar("M", bound=Mesh)


class Compiler(Protocol[M]):
    """The pure rooms as the pipeline uses them. Equal inputs give the same objects again."""

    def resolve(self, world: World, previous: M | None) -> M:
        """The mesh that the World means; parts that did not change are those of ``previous``."""

    def snapshot(self, mesh: M, proxy: Proxy) -> Snapshot:
        """Everything that this proxy should hold, for a delta stream."""

    def sotw(self, snapshot: Snapshot) -> Snapshot:
        """The same for a state-of-the-world stream."""


class Subscriber(Protocol):
    """A connected stream whose proxy is known."""

    @property
    def proxy(self) -> Proxy:
        """Who is connected."""

    @property
    def variant(self) -> Variant:
        """Which kind of stream it is."""

    def offer(self, snapshot: Snapshot, since: float) -> None:
        """Serve this from now on. ``since`` is when the change behind it arrived (monotonic seconds)."""


@dataclass(frozen=True, slots=True)
class SourceRead:
    """A source has handed over its whole state for the first time."""

    source: str


class Pipeline(Generic[M]):
    """Belongs to the event loop. ``run`` is its only task; ``join`` may be called at any time."""

    def __init__(
        self, compiler: Compiler[M], clock: Clock, counters: Counters, *, world: World, required: Iterable[str] = ()
    ) -> None:
        """``required`` names the sources that must report ``source_read`` before the first answer."""
        self._compiler = compiler
        self._clock = clock
        self._counters = counters
        self._inbox: CoalescingQueue[Delta | SourceRead] = CoalescingQueue()
        self._awaited = set(required)
        self._subscribers: dict[int, Subscriber] = {}
        self._failures: dict[tuple[str, str], Problem] = {}
        self._batch_since = 0.0
        self._resolved: World | None = None
        self._logged: frozenset[Problem] = frozenset()
        self._publishing = False
        self.world = world
        self.mesh: M | None = None
        self.remember: tuple[Callable[[], None], ...] = ()
        """Called before each publication: what a restart must know is on disk before any proxy is told of it."""
        self.turned: tuple[Callable[[], None], ...] = ()
        """Called after each publication, such as to forget bytes that nobody sends any more."""
        self.advisers: tuple[Callable[[], tuple[Problem, ...]], ...] = ()
        """Further places that know of Problems, such as a registry."""

    @property
    def ready(self) -> bool:
        """Whether proxies are answered."""
        return self.mesh is not None

    @property
    def quiet(self) -> bool:
        """Whether everything that was submitted has been offered to everybody."""
        return self._inbox.is_empty and not self._publishing

    @property
    def waits_for(self) -> tuple[str, ...]:
        """The sources that have not been read yet."""
        return tuple(sorted(self._awaited))

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Everything known to be wrong: failures of our own, then the sources', then what resolving found."""
        found = dict.fromkeys(self._failures.values())
        for adviser in self.advisers:
            found.update(dict.fromkeys(adviser()))
        for config in self.world.configs.values():
            found.update(dict.fromkeys(config.problems))
        if self.mesh is not None:
            found.update(dict.fromkeys(self.mesh.problems))
        return tuple(found)

    def submit(self, delta: Delta) -> None:
        """The sink of every registry and source."""
        if not self._batch_since:
            self._batch_since = self._clock.monotonic()
        self._inbox.put(delta)

    def source_read(self, source: str) -> None:
        """A source has submitted its whole state once."""
        self._inbox.put(SourceRead(source))

    def join(self, subscriber: Subscriber) -> None:
        """A stream's proxy is known: it gets its first offer now, or as soon as the pipeline is ready."""
        self._subscribers[id(subscriber)] = subscriber
        if self.mesh is not None:
            self._offer(self.mesh, subscriber, self._clock.monotonic())

    def leave(self, subscriber: Subscriber) -> None:
        """The stream has ended."""
        self._subscribers.pop(id(subscriber), None)
        self._failures.pop(("compile", subscriber.proxy.id), None)

    async def run(self, debounce: Debounce) -> Never:
        """Take batches for ever."""
        while True:
            batch = await self._inbox.take(quiet=debounce.quiet, at_most=debounce.at_most)
            now, since = self._clock.monotonic(), self._batch_since
            self._batch_since = 0.0
            since = since or now
            self._counters.debounce.observe(now - since)
            if self._take(batch):
                await self._publish(since)

    def _take(self, batch: Iterable[Delta | SourceRead]) -> bool:
        """Fold a batch and resolve. Whether there may be something to publish."""
        for item in batch:
            if isinstance(item, SourceRead):
                self._awaited.discard(item.source)
                continue
            with self._surviving("fold", type(item).__name__):
                self.world = fold_one(self.world, item)
        if self._awaited or self.world is self._resolved:
            return False
        with self._surviving("resolve", ""):
            self.mesh = self._compiler.resolve(self.world, self.mesh)
            self._resolved = self.world
            return True
        return False

    async def _publish(self, since: float) -> None:
        """Offer everybody what follows from the newest mesh."""
        self._publishing = True
        for callback in self.remember:
            callback()
        for count, subscriber in enumerate(tuple(self._subscribers.values()), start=1):
            if self.mesh is not None and id(subscriber) in self._subscribers:
                self._offer(self.mesh, subscriber, since)
            if count % OFFERS_PER_TURN == 0:
                await asyncio.sleep(0)
        self._publishing = False
        for callback in self.turned:
            callback()
        self._log_problems()

    def _log_problems(self) -> None:
        """Say each Problem once when it appears, so that the log names the line to mend."""
        now = frozenset(self.problems)
        for problem in sorted(now - self._logged, key=str):
            say = log.error if problem.is_error else log.warning
            say("problem", text=str(problem))
        self._logged = now

    def _offer(self, mesh: M, subscriber: Subscriber, since: float) -> None:
        with self._surviving("compile", subscriber.proxy.id):
            snapshot = self._compiler.snapshot(mesh, subscriber.proxy)
            if subscriber.variant == "sotw":
                snapshot = self._compiler.sotw(snapshot)
            subscriber.offer(snapshot, since)

    def _surviving(self, step: str, subject: str) -> "_Survival":
        return _Survival(self._failures, self._counters, (step, subject))


class _Survival:
    """Turns a crash of one step into a Problem, and forgets that Problem when the step succeeds again."""

    def __init__(self, failures: dict[tuple[str, str], Problem], counters: Counters, key: tuple[str, str]) -> None:
        self._failures = failures
        self._counters = counters
        self._key = key

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> bool:
        if error is None:
            self._failures.pop(self._key, None)
            return False
        if not isinstance(error, Exception):
            return False
        step, subject = self._key
        log.error("internal error, the last good goes on", step=step, subject=subject, exc_info=error)
        self._counters.internal_errors += 1
        about = f" for {subject}" if subject else ""
        self._failures[self._key] = Problem(
            code=INTERNAL_ERROR,
            path="",
            message=f"{step} failed{about}: {type(error).__name__}: {error}",
            origin=BuiltIn(step),
        )
        return True

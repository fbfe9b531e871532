"""Constant load on loopback, and a count of what came back. Bounded, and stopped by its owner.

A request fails if it got no answer, or an answer that the test does not expect. Reused by every drill, so that "no
failed request" means the same everywhere.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import aiohttp

MOST_REQUESTS = 200_000
"""No drill sends more, whatever happens to its stop condition."""


@dataclass
class Load:
    """``clients`` loops that request ``url`` as fast as they are answered, with ``pause`` seconds in between.

    ``seen`` counts outcomes (``200``, ``503 UH no healthy upstream``, ``ConnectionResetError``); ``failures`` are the
    outcomes that ``expects`` (status and body to true or false) does not accept. ``recent`` holds what ``classify``
    said of the last ten bodies.
    """

    url: str
    clients: int = 4
    pause: float = 0.002
    headers: Mapping[str, str] = field(default_factory=dict)
    expects: Callable[[int, str], bool] = lambda status, body: status == 200
    seen: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    classify: Callable[[str], str] = lambda body: ""
    recent: deque[str] = field(default_factory=lambda: deque(maxlen=10))
    _stopping: asyncio.Event = field(default_factory=asyncio.Event)
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)

    @property
    def requests(self) -> int:
        return sum(self.seen.values())

    async def more(self, count: int, deadline: float = 30.0) -> None:
        """Wait until ``count`` further requests were answered."""
        target = self.requests + count
        async with asyncio.timeout(deadline):
            while self.requests < target:
                await asyncio.sleep(0.01)

    async def __aenter__(self) -> Self:
        self._tasks = [asyncio.ensure_future(self._run()) for _ in range(self.clients)]
        await self.more(self.clients)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        await asyncio.gather(*self._tasks)

    async def _run(self) -> None:
        timeout = aiohttp.ClientTimeout(total=15)
        async with aiohttp.ClientSession(trust_env=False, timeout=timeout, headers=self.headers) as session:
            while not self._stopping.is_set() and self.requests < MOST_REQUESTS:
                await self._once(session)
                await asyncio.sleep(self.pause)

    async def _once(self, session: aiohttp.ClientSession) -> None:
        try:
            async with session.get(self.url) as answer:
                body = await answer.text()
        except (aiohttp.ClientError, TimeoutError) as error:
            self._count(type(error).__name__, failed=True)
            return
        outcome = str(answer.status) if answer.status == 200 else f"{answer.status} {body.strip()[:80]}"
        self.recent.append(self.classify(body))
        self._count(outcome, failed=not self.expects(answer.status, body))

    def _count(self, outcome: str, *, failed: bool) -> None:
        self.seen[outcome] += 1
        if failed:
            self.failures[outcome] += 1


async def until(condition: Callable[[], bool], deadline: float = 10.0, what: str = "the condition") -> None:
    """Wait until ``condition`` holds; the test fails with ``what`` otherwise."""
    try:
        async with asyncio.timeout(deadline):
            while not condition():
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"{what} did not come true within {deadline} s") from None

"""How a long-running command ends: the first SIGTERM or Ctrl-C asks, the second does not."""

import asyncio
import os
import signal
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeAlias

HARD_STATUS: Final = 130
ECHO_SECONDS: Final = 0.3
"""A terminal tells its whole group of Ctrl-C, and a wrapper such as ``uv run`` passes it on once more."""


Work: TypeAlias = Callable[[asyncio.Event], Coroutine[Any, Any, int]]


def run_until_signalled(work: Work, at_once: Callable[[], None] = lambda: None) -> int:
    """Run ``work`` with the event that a signal sets; the exit status. A second signal ends this process at once.

    ``at_once`` is called before: it ends what would outlive this process. It must not wait for long.
    """
    return asyncio.run(_run(work, at_once))


async def _run(work: Work, at_once: Callable[[], None]) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    first = 0.0

    def on_signal() -> None:
        nonlocal first
        if not stop.is_set():
            first = loop.time()
            stop.set()
        elif loop.time() - first >= ECHO_SECONDS:
            at_once()
            os._exit(HARD_STATUS)

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, on_signal)
    return await work(stop)

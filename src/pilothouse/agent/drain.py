"""How an Envoy is emptied before it is ended: tell connections to close, and wait until no request is in flight.

SIGTERM alone cuts requests in flight. Waiting for every connection would take the whole time whenever one client
keeps an idle connection, so idle connections end the wait after a short quiet time.
"""

import asyncio
import re
from dataclasses import dataclass
from typing import Final

import structlog

from pilothouse.agent.admin import AdminUnavailable, EnvoyAdmin, Stats

log = structlog.get_logger(__name__)

POLL_SECONDS: Final = 0.1
QUIET_SECONDS: Final = 1.0
"""This long without a request, open connections are taken as idle. A keep-alive client that goes on would have sent."""

ACTIVITY: Final = r"^(http|tcp)\..*\.(downstream_(rq|cx)_(active|total))$"
_REQUESTS = re.compile(r"^http\..*\.downstream_rq_active$")
_HTTP_CONNECTIONS = re.compile(r"^http\..*\.downstream_cx_active$")
_STREAMS = re.compile(r"^tcp\..*\.downstream_cx_active$")
_SEEN = re.compile(r"^http\..*\.downstream_rq_total$")


@dataclass(frozen=True, slots=True)
class Activity:
    """What goes on in an Envoy's listeners, its admin interface aside. ``seen`` is how many requests ever came."""

    requests: int
    connections: int
    streams: int
    seen: int

    @property
    def empty(self) -> bool:
        """Nobody is connected."""
        return not (self.requests or self.connections or self.streams)

    @property
    def busy(self) -> bool:
        """Something would be cut by ending now. A TCP stream counts as long as it is open."""
        return bool(self.requests or self.streams)


def fold_activity(stats: Stats) -> Activity:
    """The activity that the statistics tell."""

    def total(pattern: re.Pattern[str]) -> int:
        return sum(n for name, n in stats.items() if pattern.match(name) and not name.startswith("http.admin."))

    return Activity(total(_REQUESTS), total(_HTTP_CONNECTIONS), total(_STREAMS), total(_SEEN))


async def drain(admin: EnvoyAdmin, seconds: float) -> bool:
    """Drain for at most ``seconds``; whether nothing was in flight at the end. Never raises for Envoy's sake."""
    try:
        await admin.drain()
        async with asyncio.timeout(seconds):
            await until_quiet(admin)
    except TimeoutError:
        log.warning("requests were still in flight at the end of the drain", seconds=seconds)
        return False
    except AdminUnavailable as error:
        log.warning("could not drain", reason=str(error))
        return False
    return True


async def until_quiet(admin: EnvoyAdmin) -> None:
    """Return once nobody is connected, or no request was seen for ``QUIET_SECONDS``."""
    loop = asyncio.get_running_loop()
    seen, quiet_since = -1, loop.time()
    while True:
        activity = fold_activity(await admin.stats(ACTIVITY))
        if activity.empty:
            return
        if activity.busy or activity.seen != seen:
            seen, quiet_since = activity.seen, loop.time()
        elif loop.time() - quiet_since >= QUIET_SECONDS:
            return
        await asyncio.sleep(POLL_SECONDS)

"""How does one app call another? By name, through the proxy of the environment, with the caller's headers passed on.

A call gives an ``Answer`` and never raises for what the network does: an app shows what it was told. The patience here
is long on purpose; timeouts are the mesh's business, and an impatient app would hide them.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import aiohttp
from aiohttp import web

FORWARDED = frozenset(
    {
        "x-request-id",
        "b3",
        "traceparent",
        "tracestate",
        "x-ot-span-context",
        "x-cloud-trace-context",
        "user-agent",
        "cookie",
        "authorization",
        "end-user",
    }
)
"""Passed on from the request that is being answered, besides all of ``x-b3-*``: a trace is joined by them, and rules
of the mesh match on them two calls further on."""

SESSION: web.AppKey[aiohttp.ClientSession] = web.AppKey("session", aiohttp.ClientSession)


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. ``status`` is None if nobody answered; ``body`` then says why. ``app`` is the ``x-app`` header,
    empty if the mesh answered. ``seconds`` is how long it took."""

    status: int | None
    body: bytes
    content_type: str
    app: str
    seconds: float

    @property
    def good(self) -> bool:
        """Did the app that was called answer 200?"""
        return self.status == 200


def client_session(patience: float) -> aiohttp.ClientSession:
    """A session that waits ``patience`` seconds for an answer and goes through ``HTTP_PROXY``. It keeps nobody's
    cookies, adds no user agent, and has no limit of connections: limits, too, are the mesh's business."""
    return aiohttp.ClientSession(
        trust_env=True,
        connector=aiohttp.TCPConnector(limit=0),
        cookie_jar=aiohttp.DummyCookieJar(),
        skip_auto_headers=("user-agent",),
        timeout=aiohttp.ClientTimeout(total=patience),
    )


def session_context(patience: float) -> Callable[[web.Application], AsyncIterator[None]]:
    """For ``cleanup_ctx``: the app's one session, for as long as the app serves."""

    async def keep(app: web.Application) -> AsyncIterator[None]:
        async with client_session(patience) as session:
            app[SESSION] = session
            yield

    return keep


def _travels(name: str, value: str) -> bool:
    """Is this header passed on? A value that is not UTF-8 could not arrive as it came, so it stays behind."""
    known = name.lower() in FORWARDED or name.lower().startswith("x-b3-")
    return known and not any("\ud800" <= character <= "\udfff" for character in value)


def forwarded_headers(request: web.Request) -> list[tuple[str, str]]:
    """The headers of ``request`` that travel on, repeated ones included, as they came."""
    return [(name, value) for name, value in request.headers.items() if _travels(name, value)]


async def ask(request: web.Request, url: str) -> Answer:
    """GET ``url`` on behalf of ``request``."""
    clock = asyncio.get_running_loop().time
    started = clock()
    try:
        call = request.app[SESSION].get(url, headers=forwarded_headers(request), allow_redirects=False)
        async with call as response:
            body = await response.read()
            app = response.headers.get("x-app", "")
            return Answer(response.status, body, response.content_type, app, clock() - started)
    except TimeoutError:
        waited = clock() - started
        return Answer(None, f"no answer within {waited:.0f} seconds".encode(), "text/plain", "", waited)
    except aiohttp.ClientError as error:
        return Answer(None, str(error).encode() or type(error).__name__.encode(), "text/plain", "", clock() - started)

"""Held changes over HTTP: what is held, and the word that lets it go.

Two pages of the admin API, behind the same gate as all others. The word names one change by its digest, so that it
never lets go of anything but what its speaker has seen. It knows sources only by what they hold.
"""

from collections.abc import Mapping
from typing import Final, Protocol

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from pilothouse.server.gate import json_response, text_response
from pilothouse.server.readmodel import AcceptRequest, HeldStatus
from pilothouse.sources.hold import Served

MOST_BYTES: Final = 4096


class Holder(Protocol):
    """A source that may hold a deletion."""

    @property
    def served(self) -> Served:
        """What it serves, and what of it is held."""

    async def accept(self, change: str) -> bool:
        """Let go what is held under this name; False if that is not what is held."""


def hold_routes(holders: Mapping[str, Holder]) -> tuple[Route, Route]:
    """``GET /api/held`` and ``POST /api/accept`` for sources by name."""

    async def held(_: Request) -> Response:
        return json_response(read_held(holders))

    async def accept(request: Request) -> Response:
        return await accept_change(request, holders)

    return Route("/api/held", held, methods=["GET"]), Route("/api/accept", accept, methods=["POST"])


def read_held(holders: Mapping[str, Holder]) -> tuple[HeldStatus, ...]:
    """Every held change."""
    return tuple(
        HeldStatus(
            source=name,
            change=holder.served.change,
            objects=tuple(sorted(str(one.key) for one in holder.served.held)),
            of=len(holder.served.objects),
            since=holder.served.since,
        )
        for name, holder in holders.items()
        if holder.served.held
    )


async def accept_change(request: Request, holders: Mapping[str, Holder]) -> Response:
    """200 once the change was let go; 409 if it is not what is held now, 404 for no such source, 400 for a bad body."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        return text_response(415, 'send JSON: {"source": "files", "change": "..."}')
    body = await _read(request)
    try:
        asked = msgspec.json.decode(body, type=AcceptRequest)
    except msgspec.DecodeError as error:
        return text_response(400, f'send {{"source": "files", "change": "..."}} as /api/held names them: {error}')
    holder = holders.get(asked.source)
    if holder is None:
        return text_response(404, f"there is no source {asked.source[:100]!r}; known: {', '.join(holders)}")
    if await holder.accept(asked.change):
        return text_response(200, "accepted")
    return text_response(409, "this change is not what is held now; look at /api/held again")


async def _read(request: Request) -> bytes:
    """The body, cut off where no honest one ends."""
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > MOST_BYTES:
                break
    except ClientDisconnect:
        return b""
    return bytes(body[: MOST_BYTES + 1])

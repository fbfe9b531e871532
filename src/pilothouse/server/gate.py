"""Who may ask the admin API what: the Host and Origin of a request, and the local credential.

A web page in a browser on this machine can send requests to loopback; so a request must name us by an address or a
configured name (which defeats DNS rebinding), must not come from a foreign page, and needs the token for everything
but readiness, version and metrics. Decides on headers only.
"""

import ipaddress
from typing import Final

import msgspec
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from pilothouse.identity.tokens import token_matches

PUBLIC: Final = frozenset({"/ready", "/version", "/metrics"})
SCHEME: Final = "bearer "


class Gate:
    """ASGI middleware before the admin application. ``name`` is the host that the operator configured."""

    def __init__(self, app: ASGIApp, token: str, name: str) -> None:
        self._app = app
        self._token = token
        self._name = name

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request that may not pass, or let it through."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        refusal = refuse(scope["path"], Headers(scope=scope), self._token, self._name)
        await (refusal or self._app)(scope, receive, send)


def refuse(path: str, headers: Headers, token: str, name: str) -> Response | None:
    """The answer to a request that may not pass, or None."""
    host = headers.get("host", "")
    if not is_own_host(host, name):
        return text_response(403, f"the Host {host[:100]!r} is not a name of this control plane")
    origin = headers.get("origin")
    if origin is not None and origin.lower() != f"http://{host.lower()}":
        return text_response(403, "requests from other web pages are not answered")
    if path in PUBLIC:
        return None
    given = headers.get("authorization", "")
    if given.lower().startswith(SCHEME) and token_matches(given[len(SCHEME) :].strip(), token):
        return None
    response = text_response(401, "send `Authorization: Bearer TOKEN` with the token of the control plane's token file")
    response.headers["WWW-Authenticate"] = "Bearer"
    return response


def is_own_host(host: str, name: str) -> bool:
    """Whether a Host header names us: an IP address (which no DNS can rebind), ``localhost``, or ``name``."""
    plain = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() else host
    plain = plain.removeprefix("[").removesuffix("]").lower()
    try:
        ipaddress.ip_address(plain)
    except ValueError:
        return plain != "" and plain in ("localhost", name.lower())
    return True


def text_response(status: int, text: str) -> Response:
    """A short answer in plain text."""
    return Response(text + "\n", status, {"Cache-Control": "no-store"}, "text/plain")


def json_response(value: object) -> Response:
    """An answer in JSON. It is never cached and never taken for anything else."""
    headers = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
    return Response(msgspec.json.encode(value), 200, headers, "application/json")

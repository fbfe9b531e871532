"""How does an app become a process? Its command line, its levers, its listening socket, and its orderly end.

Every app is started with ``run``. It prints one line when it listens, stops on SIGTERM or SIGINT, lets requests in
flight finish for ``FINISH_SECONDS`` and exits 0. A socket that cannot be bound is one line on stderr and exit code 1.

Levers, the same in every app, for showing what the mesh does with a bad instance:

- ``GET /health``: 200 while the app serves.
- ``GET /slow?seconds=S``: 200 after S seconds (default 1, at most 10). Holds a connection for the circuit breaker.
- ``GET /status/CODE``: answers CODE (200 to 599). A 5xx is what outlier detection counts.

Every response carries ``x-app: NAME-VERSION``; a response without it was made by the mesh.
"""

import argparse
import asyncio
import os
import re
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec
from aiohttp import web

FINISH_SECONDS = 2.0
LONGEST_SLOW_SECONDS = 10.0
IDLE_SECONDS = 3660.0
"""Longer than the hour for which Envoy keeps an idle connection, so that only Envoy closes one: an app that closes
first may do so just as Envoy sends a request, and that request fails."""

BACKLOG = 1024
_DOMAIN = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?", re.IGNORECASE)
_VERSION = re.compile(r"v[0-9]+")


@dataclass(frozen=True, slots=True)
class Settings:
    """Who this process is, where it listens, and the suffix of the names that it calls."""

    name: str
    version: str
    address: str
    port: int
    domain: str

    @property
    def label(self) -> str:
        """App and version, such as ``reviews-v2``."""
        return f"{self.name}-{self.version}"

    @property
    def instance(self) -> str:
        """The ``address:port`` that this process serves."""
        return f"{self.address}:{self.port}"

    def url(self, service: str, path: str) -> str:
        """Where ``path`` of another app is found, by the mesh's name for it."""
        return f"http://{service}.{self.domain}:9080{path}"


Factory = Callable[[Settings], web.Application]


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port; 1 to 65535 are")
    return int(text)


def _domain(text: str) -> str:
    if not _DOMAIN.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a host name's suffix, such as service.mesh")
    return text


def _version(text: str) -> str:
    if not _VERSION.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a version, such as v1")
    return text


def decode_settings(name: str, versions: Sequence[str], arguments: Sequence[str]) -> Settings:
    """The command line of app ``name``. With no ``versions`` any ``vN`` is accepted: it is then only a label."""
    parser = argparse.ArgumentParser(prog=f"python -m pilothouse_bookinfo.{name}", allow_abbrev=False)
    parser.add_argument("--address", default="127.0.0.1", help="listen on this address (default %(default)s)")
    parser.add_argument("--port", type=_port, default=9081, help="listen on this port (default %(default)s)")
    parser.add_argument("--version", type=_version, choices=versions or None, default="v1", help="default %(default)s")
    parser.add_argument(
        "--domain", type=_domain, default="service.mesh", help="suffix of the other apps' names (default %(default)s)"
    )
    told = parser.parse_args(arguments)
    return Settings(name, told.version, told.address, told.port, told.domain)


def json_response(value: object, *, status: int = 200) -> web.Response:
    """``value`` as a JSON answer."""
    return web.Response(body=msgspec.json.encode(value), status=status, content_type="application/json")


def product_id(request: web.Request) -> int:
    """The number in the path. Raises HTTPBadRequest, with Istio's sentence, where it is not one."""
    text = request.match_info["id"]
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        error = '{"error":"please provide numeric product ID"}'
        raise web.HTTPBadRequest(text=error, content_type="application/json")
    return int(text)


def decode_slow_seconds(text: str) -> float | None:
    """How long ``/slow`` waits when told ``text``: at most ``LONGEST_SLOW_SECONDS``; None if that is no time."""
    try:
        seconds = float(text)
    except ValueError:
        return None
    return min(seconds, LONGEST_SLOW_SECONDS) if seconds >= 0 else None


def base_application(settings: Settings) -> web.Application:
    """What all apps share: the levers and the ``x-app`` header."""

    async def sign(request: web.Request, response: web.StreamResponse) -> None:
        response.headers["x-app"] = settings.label

    async def health(request: web.Request) -> web.Response:
        return web.Response(text=f"{settings.label} is serving\n")

    async def slow(request: web.Request) -> web.Response:
        seconds = decode_slow_seconds(request.query.get("seconds", "1"))
        if seconds is None:
            raise web.HTTPBadRequest(text="seconds is a number from 0 to 10\n")
        await asyncio.sleep(seconds)
        return web.Response(text=f"{settings.label} answers after {seconds:g} s\n")

    async def status(request: web.Request) -> web.Response:
        code = request.match_info["code"]
        if not re.fullmatch("[2-5][0-9][0-9]", code):
            raise web.HTTPBadRequest(text="the status is a number from 200 to 599\n")
        if code in {"204", "205", "304"}:
            return web.Response(status=int(code))
        return web.Response(status=int(code), text=f"{settings.label} answers {code} as asked\n")

    app = web.Application()
    app.on_response_prepare.append(sign)
    app.router.add_get("/health", health)
    app.router.add_get("/slow", slow)
    app.router.add_get("/status/{code}", status)
    return app


async def serve(settings: Settings, app: web.Application) -> None:
    """Serve until SIGTERM or SIGINT. Raises OSError if the address cannot be bound."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    # aiohttp waits this time twice before it cancels a request.
    patience = FINISH_SECONDS / 2
    runner = web.AppRunner(app, access_log=None, keepalive_timeout=IDLE_SECONDS, shutdown_timeout=patience)
    await runner.setup()
    try:
        await web.TCPSite(runner, settings.address, settings.port, backlog=BACKLOG).start()
        print(f"{settings.label} listens on {settings.instance}", flush=True)
        await stopped.wait()
    finally:
        await runner.cleanup()


def run(name: str, factory: Factory, *, versions: Sequence[str] = ()) -> int:
    """Run app ``name`` as this process's whole work. Gives the exit code."""
    settings = decode_settings(name, versions, sys.argv[1:])
    # The client reads HTTP_PROXY because it trusts the environment, and would read ~/.netrc for the same reason: a
    # "default" entry there would put the user's password on calls between the apps.
    os.environ["NETRC"] = os.devnull
    try:
        asyncio.run(serve(settings, factory(settings)))
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno is not None and error.errno > 0 else error.strerror
        print(f"{settings.label}: cannot listen on {settings.instance}: {reason}", file=sys.stderr)
        return 1
    return 0

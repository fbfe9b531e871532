"""What the agent tells over HTTP: readiness, merged metrics, and what it knows.

Readiness and metrics are open to load balancers and scrapers. ``/debug`` needs the agent's token as a bearer token,
also on loopback: other users of the machine are there too. Nothing here changes anything.
"""

import asyncio
import errno
import hmac
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import aiohttp
import msgspec
import structlog
from aiohttp import web

from pilothouse.agent.admin import AdminUnavailable, EnvoyAdmin
from pilothouse.agent.metrics import ACCEPT, CONTENT_TYPE, AgentMetrics, Snapshot, join_texts
from pilothouse.agent.settings import AgentSettings, Listen
from pilothouse.kit.errors import PortInUse

log = structlog.get_logger(__name__)

APP_METRICS_SECONDS: Final = 2.0
MOST_APP_METRICS: Final = 16 * 1024 * 1024
"""More is no metrics page, and would be held in the agent's memory."""


class DebugState(msgspec.Struct, frozen=True):
    """The body of ``/debug/state``. No secret is in it."""

    node_id: str
    workload_id: str
    discovery: str
    snapshot: Snapshot


@dataclass(frozen=True, slots=True)
class StatusParts:
    """What the status server asks when it is asked."""

    settings: AgentSettings
    snapshot: Callable[[], Snapshot]
    admin: EnvoyAdmin
    session: aiohttp.ClientSession
    metrics: AgentMetrics


class StatusServer:
    """The routes; ``application`` makes them an aiohttp application."""

    def __init__(self, parts: StatusParts) -> None:
        self._parts = parts

    def application(self) -> web.Application:
        """The application that both ports serve."""
        app = web.Application()
        app.add_routes(
            [
                web.get("/healthz/ready", self.ready),
                web.get("/stats/prometheus", self.prometheus),
                web.get("/debug/state", self.debug_state),
            ]
        )
        return app

    async def ready(self, _: web.Request) -> web.Response:
        """200 if Envoy carries traffic and goes on to, otherwise 503 with the reason. The app's health is not asked.

        Load balancers before a gateway learn from it that the gateway leaves: no registry tells them.
        """
        now = self._parts.snapshot()
        if now.envoy.ready and not now.leaving:
            return web.Response(text="ready\n")
        return web.Response(status=503, text=f"{now.leaving or now.envoy.reason}\n")

    async def prometheus(self, _: web.Request) -> web.Response:
        """Envoy's, the app's and the agent's metrics. A part without an answer is left out and counted."""
        envoy, app = await asyncio.gather(self._envoy_metrics(), self._app_metrics())
        own = self._parts.metrics.render(self._parts.snapshot())
        return web.Response(body=join_texts((own, envoy, app)), headers={"Content-Type": CONTENT_TYPE})

    async def debug_state(self, request: web.Request) -> web.Response:
        """Everything that the agent knows, as JSON."""
        given = request.headers.get("Authorization", "").encode()
        if not hmac.compare_digest(given, f"Bearer {self._parts.settings.token}".encode()):
            return web.Response(status=401, text="give the agent's token as a bearer token\n")
        settings = self._parts.settings
        state = DebugState(settings.node_id, settings.workload_id, str(settings.discovery), self._parts.snapshot())
        return web.Response(body=msgspec.json.encode(state), content_type="application/json")

    async def _envoy_metrics(self) -> bytes:
        try:
            return await self._parts.admin.prometheus()
        except AdminUnavailable:
            self._parts.metrics.count_missing("envoy")
            return b""

    async def _app_metrics(self) -> bytes:
        url = self._parts.settings.app_metrics_url
        if not url:
            return b""
        try:
            return await fetch_app_metrics(self._parts.session, url)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
            self._parts.metrics.count_missing("app")
            return b""


async def fetch_app_metrics(session: aiohttp.ClientSession, url: str) -> bytes:
    """The app's metrics text. Raises ClientError, TimeoutError, OSError, or ValueError for a body beyond bounds."""
    timeout = aiohttp.ClientTimeout(total=APP_METRICS_SECONDS)
    async with session.get(url, headers={"Accept": ACCEPT}, timeout=timeout, raise_for_status=True) as response:
        body = bytearray()
        async for chunk in response.content.iter_any():
            body += chunk
            if len(body) > MOST_APP_METRICS:
                raise ValueError(f"the metrics at {url} are larger than {MOST_APP_METRICS} bytes")
        return bytes(body)


async def listen(app: web.Application, uses: tuple[tuple[str, Listen], ...]) -> web.AppRunner:
    """Serve ``app`` on every address of ``uses``. Raises ``PortInUse``; the caller cleans the runner up."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    for use, where in uses:
        try:
            await web.TCPSite(runner, where.address, where.port).start()
        except OSError as error:
            await runner.cleanup()
            raise port_in_use(use, where, error) from error
    return runner


def port_in_use(use: str, where: Listen, error: OSError) -> PortInUse:
    """The error for an address that cannot be bound, with the way out."""
    if error.errno == errno.EADDRINUSE:
        return PortInUse(f"{where} is in use by another program; end it, or give {use} another port")
    if error.errno == errno.EADDRNOTAVAIL:
        return PortInUse(f"{where.address} is no address of this machine; give {use} another address")
    return PortInUse(f"{where} cannot be bound for {use}: {error.strerror}")

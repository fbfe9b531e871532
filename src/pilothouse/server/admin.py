"""The admin API: readiness, version, metrics, istiod's debug pages, and the status that the command line prints.

A Starlette application behind ``server.gate``, served by uvicorn in the control plane's own loop. Reads only, but for
``server.accept``.
"""

import contextlib
import socket
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from pilothouse import __version__
from pilothouse.server import views
from pilothouse.server.accept import Holder, hold_routes
from pilothouse.server.gate import Gate, json_response, text_response
from pilothouse.server.metrics import CONTENT_TYPE, render_metrics
from pilothouse.server.views import LiveState

MOST_CONNECTIONS: Final = 256


@dataclass(frozen=True, slots=True)
class AdminApi:
    """The pages. ``compiled`` reads how often each type was compiled; ``holders`` are sources that may hold changes."""

    live: LiveState
    compiled: Callable[[], Mapping[str, int]]
    holders: Mapping[str, Holder] = field(default_factory=dict)

    def application(self, token: str, host: str) -> Starlette:
        """The application; ``host`` is the configured name under which it may be asked."""
        pages: dict[str, Callable[[Request], Response]] = {
            "/ready": self.ready,
            "/version": self.version,
            "/metrics": self.metrics,
            "/api/status": lambda _: json_response(views.read_status(self.live)),
            "/debug/syncz": lambda _: json_response(views.read_syncz(self.live)),
            "/debug/registryz": lambda _: json_response(views.read_registryz(self.live)),
            "/debug/endpointz": lambda _: json_response(views.read_endpointz(self.live)),
            "/debug/configz": lambda _: json_response(views.read_configz(self.live)),
            "/debug/config_dump": self.config_dump,
        }
        return Starlette(
            routes=[
                *(Route(path, _page(answer), methods=["GET"]) for path, answer in pages.items()),
                *hold_routes(self.holders),
            ],
            middleware=[Middleware(Gate, token=token, name=host)],
        )

    def ready(self, _: Request) -> Response:
        """200 once proxies are answered; before, 503 and what is waited for."""
        pipeline = self.live.pipeline
        if pipeline.ready:
            return text_response(200, "ready")
        return text_response(503, f"not ready: waiting for {', '.join(pipeline.waits_for) or 'the first snapshot'}")

    def version(self, _: Request) -> Response:
        """Who answers."""
        return text_response(200, f"pilothouse {__version__}")

    def metrics(self, _: Request) -> Response:
        """Prometheus text."""
        return Response(render_metrics(self.live, self.compiled()), 200, {"Content-Type": CONTENT_TYPE})

    def config_dump(self, request: Request) -> Response:
        """What one proxy should hold."""
        proxy_id = request.query_params.get("proxyID", "")
        dump = views.read_config_dump(self.live, proxy_id)
        if dump is None:
            return text_response(404, f"no proxy {proxy_id[:200]!r} is connected; ask with ?proxyID=NAME.NAMESPACE")
        return json_response(dump)


class EmbeddedUvicorn(uvicorn.Server):
    """uvicorn inside a process that has its own idea of signals."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the process's signal handlers alone."""
        yield


def admin_server(application: Starlette) -> EmbeddedUvicorn:
    """A server for ``application``; ``serve(sockets=[...])`` runs it until ``should_exit``."""
    return EmbeddedUvicorn(
        uvicorn.Config(
            application,
            log_config=None,
            access_log=False,
            lifespan="off",
            ws="none",
            server_header=False,
            limit_concurrency=MOST_CONNECTIONS,
            timeout_keep_alive=30,
            timeout_graceful_shutdown=1,
        )
    )


def listen(host: str, port: int) -> socket.socket:
    """A listening socket. Raises OSError as ``bind`` does."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(128)
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener


def _page(answer: Callable[[Request], Response]) -> Callable[[Request], "object"]:
    """An endpoint that runs in the loop: a plain function would be sent to a thread, beside the state's owner."""

    async def page(request: Request) -> Response:
        return answer(request)

    return page

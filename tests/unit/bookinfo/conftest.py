"""The apps' surroundings: their command line as settings, and a small recording HTTP proxy in the sidecar's place."""

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

import pytest
from aiohttp import ClientSession, DummyCookieJar, web
from aiohttp.test_utils import TestClient, TestServer

from pilothouse_bookinfo import details, productpage, ratings, reviews
from pilothouse_bookinfo.serving import Factory, decode_settings

Upstream = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

APPS: dict[str, Factory] = {
    "details": details.application,
    "productpage": productpage.application,
    "ratings": ratings.application,
    "reviews": reviews.application,
}


@dataclass(frozen=True)
class Seen:
    """One request as it reached the proxy, its header names in lower case."""

    url: str
    headers: list[tuple[str, str]]

    def values(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key == name]


@dataclass
class Mesh:
    """A forward proxy that knows the apps by host name and remembers what it was asked."""

    stack: AsyncExitStack
    session: ClientSession
    hosts: dict[str, Upstream] = field(default_factory=dict)
    seen: list[Seen] = field(default_factory=list)

    def asked(self, service: str) -> Seen:
        """The one request for ``service``."""
        (found,) = [seen for seen in self.seen if seen.url.startswith(f"http://{service}.")]
        return found

    async def forward(self, request: web.BaseRequest) -> web.StreamResponse:
        self.seen.append(Seen(str(request.url), [(name.lower(), value) for name, value in request.headers.items()]))
        upstream = self.hosts.get(request.url.host or "")
        if upstream is None:
            return web.Response(status=503, text="no healthy upstream")
        return await upstream(request)

    def answer(self, host: str, body: str, *, status: int = 200) -> None:
        """``host`` answers this, as the mesh itself would: with no ``x-app``."""

        async def upstream(request: web.BaseRequest) -> web.StreamResponse:
            return web.Response(status=status, text=body)

        self.hosts[host] = upstream

    async def start(self, name: str, *arguments: str) -> TestClient:
        """Start the app ``name``, known to the mesh by its name, and give a client that talks to it directly."""
        settings = decode_settings(name, (), arguments)
        server = TestServer(APPS[name](settings))
        client = await self.stack.enter_async_context(TestClient(server, cookie_jar=DummyCookieJar()))

        async def upstream(request: web.BaseRequest) -> web.StreamResponse:
            headers = [(key, value) for key, value in request.headers.items() if key.lower() != "host"]
            async with self.session.get(server.make_url(request.path), headers=headers) as response:
                kept = {key: value for key, value in response.headers.items() if key in {"x-app", "Content-Type"}}
                return web.Response(status=response.status, body=await response.read(), headers=kept)

        self.hosts[f"{name}.{settings.domain}"] = upstream
        return client


@pytest.fixture
async def mesh(monkeypatch):
    """A mesh of nothing yet; ``HTTP_PROXY`` names it."""
    for name in ("http_proxy", "no_proxy", "NO_PROXY", "NETRC"):
        monkeypatch.delenv(name, raising=False)
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(ClientSession(cookie_jar=DummyCookieJar()))
        mesh = Mesh(stack, session)
        runner = web.ServerRunner(web.Server(mesh.forward, access_log=None))
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        monkeypatch.setenv("HTTP_PROXY", f"http://{host}:{port}")
        yield mesh

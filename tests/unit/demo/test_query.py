"""The control plane is asked directly, with the credential, and every other answer is told in plain words."""

import asyncio
from collections.abc import AsyncIterator

import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from pilothouse.agent.settings import Listen
from pilothouse.demo.page import page_is_whole
from pilothouse.demo.query import NotAllowed, NotAnswering, ask_serving, ask_status
from pilothouse.server.readmodel import Status

TOKEN = "a-token-that-is-long-enough"
WHOLE = '<section data-status="200"></section><section data-status="200" data-version="v1"></section>'


class Answers:
    """A stand-in for the admin API and for the gateway."""

    def __init__(self) -> None:
        self.status = msgspec.json.encode(Status("0.1.0", ready=True, started_at=1, now=2, workloads=6))
        self.page = WHOLE

    def application(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/api/status", self.tell_status)
        app.router.add_get("/debug/endpointz", self.tell_endpoints)
        app.router.add_get("/productpage", self.tell_page)
        return app

    async def tell_status(self, request: web.Request) -> web.Response:
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return web.Response(status=401)
        return web.Response(body=self.status)

    async def tell_endpoints(self, request: web.Request) -> web.Response:
        ep = [{"endpoint": {"Address": "127.0.0.1", "WorkloadName": f"default/{name}"}} for name in ("a", "b")]
        return web.json_response([{"svc": "a.service.mesh:9080", "ep": ep}, {"svc": "c.service.mesh:9080", "ep": []}])

    async def tell_page(self, request: web.Request) -> web.Response:
        return web.Response(text=self.page)


@pytest.fixture
def answers() -> Answers:
    return Answers()


@pytest.fixture
async def address(answers: Answers) -> AsyncIterator[str]:
    server = TestServer(answers.application())
    await server.start_server()
    yield f"127.0.0.1:{server.port}"
    await server.close()


async def test_the_status_is_asked_with_the_token(address: str) -> None:
    assert (await asyncio.to_thread(ask_status, address, TOKEN)).workloads == 6


async def test_a_wrong_token_says_which_option_to_give(address: str) -> None:
    with pytest.raises(NotAllowed, match="--token-file"):
        await asyncio.to_thread(ask_status, address, "")


async def test_workloads_that_get_traffic_are_named(address: str) -> None:
    assert await asyncio.to_thread(ask_serving, address, TOKEN) == {"default/a", "default/b"}


async def test_an_answer_of_another_version_is_said_to_be_one(address: str, answers: Answers) -> None:
    answers.status = b'{"version": 1}'
    with pytest.raises(NotAnswering, match="not as this version of Pilothouse does"):
        await asyncio.to_thread(ask_status, address, TOKEN)


@pytest.mark.parametrize("address", ["127.0.0.1:1", "nonsense", "127.0.0.1:port"])
def test_nobody_there_is_said(address: str) -> None:
    with pytest.raises(NotAnswering, match=r"no control plane answers at|is not HOST:PORT"):
        ask_status(address, TOKEN)


async def test_a_proxy_of_the_environment_is_not_followed(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert await asyncio.to_thread(ask_status, address, TOKEN)


async def test_a_page_is_whole_with_both_of_its_parts_and_a_version(address: str, answers: Answers) -> None:
    host, _, port = address.rpartition(":")
    gateway = Listen(host, int(port))
    assert await asyncio.to_thread(page_is_whole, gateway)
    for page in ("", WHOLE.replace('"200"', '"503"', 1), WHOLE.replace("data-version", "data-else")):
        answers.page = page
        assert not await asyncio.to_thread(page_is_whole, gateway)


def test_no_page_is_not_whole() -> None:
    assert not page_is_whole(Listen("127.0.0.1", 1))

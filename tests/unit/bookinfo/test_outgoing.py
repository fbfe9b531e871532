"""How one app calls another: through the proxy, with the caller's headers, and without an exception."""

import asyncio
import socket

import pytest
from aiohttp import web

from pilothouse_bookinfo import productpage, reviews
from pilothouse_bookinfo.outgoing import FORWARDED, client_session

PASSED_ON = {
    "x-request-id": "6f9c1f5e",
    "x-b3-traceid": "80f198ee56343ba864fe8b2a57d3eff7",
    "x-b3-spanid": "e457b5a2e4d86bd1",
    "x-b3-parentspanid": "05e3ac9a4f6e3b90",
    "x-b3-sampled": "1",
    "x-b3-flags": "1",
    "b3": "0",
    "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    "tracestate": "a=1,b=2",
    "x-ot-span-context": "one;two",
    "x-cloud-trace-context": "105445aa7843bc8bf206b120001000/1;o=1",
    "user-agent": "Mozilla/5.0 (iPhone)",
    "cookie": 'a="b c"; user=jason; d=e',
    "authorization": "Bearer abc",
    "end-user": "jason",
}


async def start_all(mesh):
    for name in ("details", "ratings"):
        await mesh.start(name)
    await mesh.start("reviews", "--version", "v2")
    return await mesh.start("productpage")


async def test_trace_and_user_headers_reach_the_last_app_unchanged(mesh):
    client = await start_all(mesh)
    async with client.get("/productpage", headers={**PASSED_ON, "x-secret": "stays", "accept": "text/html"}):
        pass
    for service in ("details", "reviews", "ratings"):
        seen = mesh.asked(service)
        assert {name: seen.values(name) for name in PASSED_ON} == {name: [v] for name, v in PASSED_ON.items()}
        assert seen.values("x-secret") == []
        assert "text/html" not in seen.values("accept")
    assert set(PASSED_ON) >= FORWARDED


async def test_a_caller_without_a_user_agent_stays_without_one(mesh):
    client = await start_all(mesh)
    async with client.get("/productpage", skip_auto_headers=["User-Agent"]):
        pass
    assert mesh.asked("reviews").values("user-agent") == []


async def test_repeated_headers_are_all_passed_on_and_what_is_not_utf8_stays_behind(mesh):
    client = await start_all(mesh)
    reader, writer = await asyncio.open_connection(client.host, client.port)
    headers = b"Tracestate: a=1\r\ntracestate: b=2\r\nx-request-id: caf\xe9\r\n"
    writer.write(b"GET /productpage HTTP/1.1\r\nHost: a\r\nconnection: close\r\n" + headers + b"\r\n")
    assert (await asyncio.wait_for(reader.read(), 30)).startswith(b"HTTP/1.1 200 ")
    writer.close()
    assert mesh.asked("ratings").values("tracestate") == ["a=1", "b=2"]
    assert mesh.asked("ratings").values("x-request-id") == []


async def test_a_session_goes_through_http_proxy_by_name(mesh):
    mesh.answer("anything.service.mesh", "hello")
    async with client_session(10) as session, session.get("http://anything.service.mesh:9080/a?b=c") as response:
        assert await response.text() == "hello"
    (seen,) = mesh.seen
    assert seen.url == "http://anything.service.mesh:9080/a?b=c"
    assert seen.values("host") == ["anything.service.mesh:9080"]


async def test_a_session_keeps_nobodys_cookies(mesh):
    async def upstream(request):
        return web.Response(headers={"set-cookie": "user=somebody; Path=/"})

    mesh.hosts["x.service.mesh"] = upstream
    async with client_session(10) as session:
        for _ in range(2):
            async with session.get("http://x.service.mesh:9080/"):
                pass
    assert [seen.values("cookie") for seen in mesh.seen] == [[], []]


async def test_a_redirect_is_an_answer_and_is_not_followed(mesh):
    async def upstream(request):
        return web.Response(status=302, headers={"location": "http://elsewhere.service.mesh:9080/"})

    mesh.hosts["reviews.service.mesh"] = upstream
    client = await mesh.start("productpage")
    async with client.get("/api/v1/products/0/reviews", allow_redirects=False) as response:
        assert response.status == 302
    assert len(mesh.seen) == 1


async def test_a_proxy_that_is_not_there_is_an_answer_too(mesh, monkeypatch):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{port}")
        client = await mesh.start("productpage")
        async with client.get("/productpage") as response:
            page = await response.text()
    assert response.status == 200
    assert 'id="reviews" data-status="none"' in page
    assert "Nobody answered" in page
    assert f"127.0.0.1:{port}" in page


@pytest.mark.parametrize(("waits", "longer"), [(10, reviews), (reviews.PATIENCE_SECONDS, productpage)])
def test_apps_are_more_patient_than_the_mesh_and_the_outer_than_the_inner(waits, longer):
    assert waits < longer.PATIENCE_SECONDS

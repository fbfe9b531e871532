"""What a person sees, and the sign-in."""

import asyncio
import base64
import hashlib
import json
import re

import pytest
from aiohttp import web

EVIL = "<script>alert(1)</script>\"'><img src=x>"
ESCAPED = "&lt;script&gt;alert(1)&lt;/script&gt;&quot;&#x27;&gt;&lt;img src=x&gt;"


async def read_page(client, **headers):
    async with client.get("/productpage", headers=headers) as response:
        assert response.status == 200
        assert response.content_type == "text/html"
        return await response.text()


def body_of(page):
    """The page without its stylesheet, which names everything that could be there."""
    return page.split("</style>")[1]


@pytest.mark.parametrize(("version", "stars"), [("v1", None), ("v2", "black"), ("v3", "red")])
async def test_the_page_shows_details_reviews_stars_and_who_answered(mesh, version, stars):
    await mesh.start("details")
    await mesh.start("ratings")
    await mesh.start("reviews", "--version", version, "--address", "127.44.0.5")
    body = body_of(await read_page(await mesh.start("productpage"), **{"x-request-id": "6f9c"}))
    assert "William Shakespeare" in body
    assert "slapstick humour" in body
    assert re.findall(r'class="stars (\w+)"', body) == ([stars] * 2 if stars else [])
    assert f'id="reviews" data-status="200" data-version="{version}" data-instance="127.44.0.5:9081"' in body
    assert f"<strong>reviews-{version}</strong> <span>at 127.44.0.5:9081</span>" in body
    assert "<strong>details-v1</strong>" in body
    assert "<code>6f9c</code>" in body
    assert "unavailable" not in body


async def test_failed_ratings_are_said_under_each_review(mesh):
    await mesh.start("details")
    await mesh.start("reviews", "--version", "v2")
    body = body_of(await read_page(await mesh.start("productpage")))
    assert body.count("Ratings service is currently unavailable") == 2
    assert "Reviews are unavailable" not in body


async def test_unavailable_reviews_leave_the_details(mesh):
    await mesh.start("details")
    mesh.answer("reviews.service.mesh", "upstream request timeout", status=504)
    body = body_of(await read_page(await mesh.start("productpage")))
    assert "Reviews are unavailable" in body
    assert "504 Gateway Timeout" in body
    assert "<pre>upstream request timeout</pre>" in body
    assert 'id="reviews" data-status="504">' in body
    assert "William Shakespeare" in body


async def test_unavailable_details_leave_the_reviews(mesh):
    await mesh.start("reviews")
    body = body_of(await read_page(await mesh.start("productpage")))
    assert "Details are unavailable" in body
    assert "<pre>no healthy upstream</pre>" in body
    assert 'id="details" data-status="503"' in body
    assert "slapstick humour" in body


async def test_an_answer_of_another_shape_is_unavailable(mesh):
    mesh.answer("details.service.mesh", '{"id":0}')
    mesh.answer("reviews.service.mesh", '{"id":0,"reviews":[{"reviewer":"a","text":"b","rating":{"stars":9}}]}')
    body = body_of(await read_page(await mesh.start("productpage")))
    assert "Details are unavailable" in body
    assert "Reviews are unavailable" in body


async def test_details_and_reviews_are_asked_at_the_same_time(mesh):
    both = asyncio.Barrier(2)

    async def upstream(request):
        await asyncio.wait_for(both.wait(), 30)
        return web.Response(text="met")

    mesh.hosts["details.service.mesh"] = mesh.hosts["reviews.service.mesh"] = upstream
    body = body_of(await read_page(await mesh.start("productpage")))
    assert body.count("could not be understood: met") == 2


async def test_what_an_upstream_said_is_escaped(mesh):
    reviews = {"id": 0, "version": EVIL, "podname": EVIL, "instance": EVIL}
    reviews["reviews"] = [{"reviewer": EVIL, "text": EVIL, "rating": {"error": EVIL}}]
    details = {"id": 0, "author": EVIL, "year": 1, "type": EVIL, "pages": 1, "publisher": EVIL, "language": EVIL}
    mesh.answer("reviews.service.mesh", json.dumps(reviews))
    mesh.answer("details.service.mesh", json.dumps({**details, "ISBN-10": EVIL, "ISBN-13": EVIL}))
    client = await mesh.start("productpage")
    good = body_of(await read_page(client, **{"x-request-id": EVIL, "cookie": "user=<script>alert(1)</script>"}))

    async def upstream(request):
        return web.Response(status=500, text=EVIL, headers={"x-app": EVIL})

    mesh.hosts["details.service.mesh"] = mesh.hosts["reviews.service.mesh"] = upstream
    bad = body_of(await read_page(client))
    for body in (good, bad):
        assert "<script" not in body
        assert "src=x>" not in body
        assert ESCAPED in body


async def test_the_policy_allows_the_pages_own_style_and_no_script(mesh):
    client = await mesh.start("productpage")
    async with client.get("/productpage") as response:
        page = await response.text()
    style = re.search("<style>(.*)</style>", page, re.DOTALL).group(1)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = response.headers["content-security-policy"]
    assert f"style-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none';")
    assert not re.search(r"(?:src|href)=\"(?:https?:)?//", page)


async def test_a_header_that_is_not_utf8_does_not_cost_the_page(mesh):
    client = await mesh.start("productpage")
    reader, writer = await asyncio.open_connection(client.host, client.port)
    writer.write(b"GET /productpage HTTP/1.1\r\nHost: a\r\nx-request-id: caf\xe9\r\nconnection: close\r\n\r\n")
    answer = await asyncio.wait_for(reader.read(), 30)
    writer.close()
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"caf?" in answer


async def test_signing_in_sets_exactly_user_jason_and_shows_it(mesh):
    client = await mesh.start("productpage")
    assert "Sign in as jason" in body_of(await read_page(client))
    async with client.post("/login", allow_redirects=False) as response:
        assert (response.status, response.headers["location"]) == (303, "/productpage")
        cookie = response.headers["set-cookie"]
    assert cookie.split(";")[0] == "user=jason"
    assert {part.strip() for part in cookie.split(";")[1:]} == {"HttpOnly", "Path=/", "SameSite=Lax"}
    mesh.seen.clear()
    body = body_of(await read_page(client, cookie="user=jason"))
    assert "Signed in as <strong>jason</strong>" in body
    assert "Sign out" in body
    assert mesh.asked("reviews").values("cookie") == ["user=jason"]


async def test_signing_out_clears_the_cookie(mesh):
    client = await mesh.start("productpage")
    async with client.post("/logout", allow_redirects=False) as response:
        assert (response.status, response.headers["location"]) == (303, "/productpage")
        cookie = response.headers["set-cookie"]
    assert cookie.startswith('user="";')
    assert "Max-Age=0" in cookie
    assert "Path=/" in cookie


async def test_the_root_leads_to_the_page(mesh):
    client = await mesh.start("productpage")
    async with client.get("/", allow_redirects=False) as response:
        assert (response.status, response.headers["location"]) == (302, "/productpage")


async def test_the_api_passes_on_status_and_body(mesh):
    client = await mesh.start("productpage")
    await mesh.start("details")
    mesh.answer("ratings.service.mesh", "fault filter abort", status=418)
    async with client.get("/api/v1/products") as response:
        assert [product["id"] for product in await response.json()] == [0]
    async with client.get("/api/v1/products/3") as response:
        assert (await response.json())["id"] == 3
        assert response.headers["x-app"] == "productpage-v1"
    async with client.get("/api/v1/products/0/ratings") as response:
        assert (response.status, await response.text()) == (418, "fault filter abort")
    async with client.get("/api/v1/products/x/reviews") as response:
        assert response.status == 400

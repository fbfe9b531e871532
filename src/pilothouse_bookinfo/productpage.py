"""What does a person see? Serves the page of the book, from what ``details`` and ``reviews`` answer; levers as in
``serving``.

- ``GET /productpage``: the page. It is 200 also when a part is missing; the part says so.
- ``GET /``: to the page.
- ``POST /login``, ``POST /logout``: set and clear the cookie ``user=jason``. There is no password: it is for rules
  that match on a user.
- ``GET /api/v1/products``, ``…/{id}``, ``…/{id}/reviews``, ``…/{id}/ratings``: JSON; the last three pass on status and
  body of the app that they ask.
"""

import asyncio
import sys

from aiohttp import web

from pilothouse_bookinfo.books import SUMMARY, TITLE, Details, Reviews, decode_shape
from pilothouse_bookinfo.outgoing import Answer, ask, session_context
from pilothouse_bookinfo.page import CONTENT_SECURITY_POLICY, Page, render_page
from pilothouse_bookinfo.serving import Settings, base_application, json_response, product_id, run

PATIENCE_SECONDS = 30.0
USER = "jason"
PRODUCT = 0


async def home(request: web.Request) -> web.Response:
    """To the page."""
    raise web.HTTPFound("/productpage")


async def login(request: web.Request) -> web.Response:
    """Sign in as jason and go back to the page."""
    response = web.HTTPSeeOther("/productpage")
    response.set_cookie("user", USER, path="/", httponly=True, samesite="Lax")
    raise response


async def logout(request: web.Request) -> web.Response:
    """Forget who it was and go back to the page."""
    response = web.HTTPSeeOther("/productpage")
    response.del_cookie("user", path="/", httponly=True, samesite="Lax")
    raise response


async def products(request: web.Request) -> web.Response:
    """The one book there is."""
    return json_response([{"id": PRODUCT, "title": TITLE, "description": SUMMARY}])


def passed_on(answer: Answer) -> web.Response:
    """The answer of another app as ours; 502 if there was none."""
    if answer.status is None:
        return json_response({"error": answer.body.decode(errors="replace")}, status=502)
    return web.Response(body=answer.body, status=answer.status, content_type=answer.content_type)


def application(settings: Settings) -> web.Application:
    """The app, ready to be served."""

    async def productpage(request: web.Request) -> web.Response:
        details, reviews = await asyncio.gather(
            ask(request, settings.url("details", f"/details/{PRODUCT}")),
            ask(request, settings.url("reviews", f"/reviews/{PRODUCT}")),
        )
        page = Page(
            served_by=settings.label,
            user=request.cookies.get("user", ""),
            request_id=request.headers.get("x-request-id", ""),
            details=decode_shape(details.body, Details) if details.good else None,
            details_answer=details,
            reviews=decode_shape(reviews.body, Reviews) if reviews.good else None,
            reviews_answer=reviews,
        )
        headers = {"cache-control": "no-store", "content-security-policy": CONTENT_SECURITY_POLICY}
        # A header that is not UTF-8 may have come this far; it is shown with question marks.
        body = render_page(page).encode(errors="replace")
        return web.Response(body=body, content_type="text/html", charset="utf-8", headers=headers)

    async def product_part(request: web.Request) -> web.Response:
        service = request.match_info.get("part", "details")
        return passed_on(await ask(request, settings.url(service, f"/{service}/{product_id(request)}")))

    app = base_application(settings)
    app.cleanup_ctx.append(session_context(PATIENCE_SECONDS))
    app.router.add_get("/", home)
    app.router.add_get("/productpage", productpage)
    app.router.add_post("/login", login)
    app.router.add_post("/logout", logout)
    app.router.add_get("/api/v1/products", products)
    app.router.add_get("/api/v1/products/{id}", product_part)
    app.router.add_get("/api/v1/products/{id}/{part:reviews|ratings}", product_part)
    return app


if __name__ == "__main__":
    sys.exit(run("productpage", application))

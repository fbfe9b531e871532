"""How many stars did each reviewer give? Answers ``GET /ratings/{id}``. Calls nobody; levers as in ``serving``."""

import sys

from aiohttp import web

from pilothouse_bookinfo.books import Ratings
from pilothouse_bookinfo.serving import Settings, base_application, json_response, product_id, run


async def ratings(request: web.Request) -> web.Response:
    """Stars by reviewer."""
    return json_response(Ratings(product_id(request), {"Reviewer1": 5, "Reviewer2": 4}))


def application(settings: Settings) -> web.Application:
    """The app, ready to be served."""
    app = base_application(settings)
    app.router.add_get("/ratings/{id}", ratings)
    return app


if __name__ == "__main__":
    sys.exit(run("ratings", application))

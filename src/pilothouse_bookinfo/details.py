"""What is known about the book? Answers ``GET /details/{id}``. Calls nobody; levers as in ``serving``."""

import sys

from aiohttp import web

from pilothouse_bookinfo.books import Details
from pilothouse_bookinfo.serving import Settings, base_application, json_response, product_id, run


async def details(request: web.Request) -> web.Response:
    """The book, under whichever number it was asked for."""
    return json_response(
        Details(
            id=product_id(request),
            author="William Shakespeare",
            year=1595,
            kind="paperback",
            pages=200,
            publisher="PublisherA",
            language="English",
            isbn_10="1234567890",
            isbn_13="123-1234567890",
        )
    )


def application(settings: Settings) -> web.Application:
    """The app, ready to be served."""
    app = base_application(settings)
    app.router.add_get("/details/{id}", details)
    return app


if __name__ == "__main__":
    sys.exit(run("details", application))

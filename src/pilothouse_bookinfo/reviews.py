"""What do readers say? Answers ``GET /reviews/{id}``; levers as in ``serving``.

v1 gives the texts alone. v2 asks ``ratings`` and adds black stars, v3 red ones. If ratings does not answer, every
review carries an error in place of its stars, and the reviews are given all the same.
"""

import sys
from typing import assert_never

from aiohttp import web

from pilothouse_bookinfo.books import Color, Rating, Ratings, Review, Reviews, decode_shape
from pilothouse_bookinfo.outgoing import ask, session_context
from pilothouse_bookinfo.serving import Settings, base_application, json_response, product_id, run

RATINGS_FAILED = Rating(error="Ratings service is currently unavailable")
PATIENCE_SECONDS = 25.0
"""Less than productpage's, so that slow ratings cost the page its stars before they cost it the reviews."""

COLORS: dict[str, Color | None] = {"v1": None, "v2": "black", "v3": "red"}
"""The colour of the stars by version; None for no stars."""

TEXTS = {
    "Reviewer1": "An extremely entertaining play by Shakespeare. The slapstick humour is refreshing!",
    "Reviewer2": "Absolutely fun and entertaining. The play lacks thematic depth when compared to other plays "
    "by Shakespeare.",
}


def rating_of(reviewer: str, ratings: Ratings | None, color: Color) -> Rating:
    """The stars of ``reviewer``, or the error if ratings failed or does not know them."""
    if ratings is None or reviewer not in ratings.ratings:
        return RATINGS_FAILED
    return Rating(stars=ratings.ratings[reviewer], color=color)


def application(settings: Settings) -> web.Application:
    """The app, ready to be served."""
    color = COLORS[settings.version]

    async def ratings_of(request: web.Request, number: int) -> Ratings | None:
        answer = await ask(request, settings.url("ratings", f"/ratings/{number}"))
        return decode_shape(answer.body, Ratings) if answer.good else None

    async def opinions(request: web.Request, number: int) -> tuple[Review, ...]:
        match color:
            case None:
                return tuple(Review(reviewer, text) for reviewer, text in TEXTS.items())
            case "black" | "red":
                ratings = await ratings_of(request, number)
                return tuple(
                    Review(reviewer, text, rating_of(reviewer, ratings, color)) for reviewer, text in TEXTS.items()
                )
            case _:
                assert_never(color)

    async def reviews(request: web.Request) -> web.Response:
        number = product_id(request)
        said = await opinions(request, number)
        return json_response(Reviews(number, settings.version, settings.label, settings.instance, said))

    app = base_application(settings)
    app.cleanup_ctx.append(session_context(PATIENCE_SECONDS))
    app.router.add_get("/reviews/{id}", reviews)
    return app


if __name__ == "__main__":
    sys.exit(run("reviews", application, versions=tuple(COLORS)))

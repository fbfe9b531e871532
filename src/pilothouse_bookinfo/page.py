"""How does the page look? One HTML document, its stylesheet inside it, from values alone.

Everything that came over the network is escaped here, where it is put into the page. For programs that look at the
page, each part says in ``data-status`` what was answered, and the reviews in ``data-version`` and ``data-instance`` by
whom.
"""

import base64
import hashlib
from dataclasses import dataclass
from html import escape
from http import HTTPStatus
from importlib.resources import files
from typing import assert_never

from pilothouse_bookinfo.books import SUMMARY, TITLE, Color, Details, Rating, Review, Reviews
from pilothouse_bookinfo.outgoing import Answer

LONGEST_EXCERPT = 600
"""Characters of a failed answer that are shown."""

_STYLE = (files(__package__) / "page.css").read_text(encoding="utf-8")
_STYLE_DIGEST = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()

CONTENT_SECURITY_POLICY = (
    f"default-src 'none'; style-src 'sha256-{_STYLE_DIGEST}'; img-src data:; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
"""The page has this one stylesheet and no script, whatever an upstream manages to put into it."""

_ICON = (
    "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 32 32'%3E"
    "%3Crect width='32' height='32' rx='8' fill='%230b7285'/%3E"
    "%3Cpath d='M16 9c-3-2-6-2-9-1v15c3-1 6-1 9 1 3-2 6-2 9-1V8c-3-1-6-1-9 1v15' fill='none' stroke='white' "
    "stroke-width='2' stroke-linejoin='round'/%3E%3C/svg%3E"
)


@dataclass(frozen=True, slots=True)
class Page:
    """What the page shows. A part is None if it was not answered or not understood; its answer says why. ``user`` and
    ``request_id`` are empty if there is none."""

    served_by: str
    user: str
    request_id: str
    details: Details | None
    details_answer: Answer
    reviews: Reviews | None
    reviews_answer: Answer


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.2f} s"


def status_line(answer: Answer) -> str:
    """``504 Gateway Timeout``; for no answer at all, ``no answer``."""
    if answer.status is None:
        return "no answer"
    try:
        return f"{answer.status} {HTTPStatus(answer.status).phrase}"
    except ValueError:
        return str(answer.status)


def render_unavailable(part: str, answer: Answer) -> str:
    """The panel in place of ``part``: the status, the text that came with it, and who said it."""
    excerpt = answer.body.decode(errors="replace").strip()
    if len(excerpt) > LONGEST_EXCERPT:
        excerpt = excerpt[:LONGEST_EXCERPT] + " …"
    if answer.good:
        excerpt = f"The answer could not be understood: {excerpt}"
    who = f"{answer.app} said" if answer.app else "The mesh said" if answer.status else "Nobody answered"
    return f"""
    <div class="unavailable" role="status">
      <p class="unavailable-title">{escape(part)} are unavailable</p>
      <p>The page is shown without them. Try again in a moment.</p>
      <p class="unavailable-status"><span>{escape(who)}</span> <strong>{escape(status_line(answer))}</strong>
        <span>after {_milliseconds(answer.seconds)}</span></p>
      <pre>{escape(excerpt) or "(an empty answer)"}</pre>
    </div>"""


def render_details(details: Details) -> str:
    """The facts of the book as a list."""
    facts = {
        "Author": details.author,
        "Year": details.year,
        "Type": details.kind,
        "Pages": details.pages,
        "Publisher": details.publisher,
        "Language": details.language,
        "ISBN-10": details.isbn_10,
        "ISBN-13": details.isbn_13,
    }
    rows = "".join(f"<div><dt>{name}</dt><dd>{escape(str(fact))}</dd></div>" for name, fact in facts.items())
    return f'<dl class="facts">{rows}</dl>'


def _stars(stars: int, color: Color) -> str:
    given, missing = "★" * stars, "★" * (5 - stars)
    return (
        f'<p class="stars {color}" role="img" aria-label="{stars} of 5 stars, {color}">'
        f'<span class="given">{given}</span><span class="missing">{missing}</span></p>'
    )


def render_rating(rating: Rating | None) -> str:
    """Stars, or the sentence in place of them, or nothing where the version gives none."""
    match rating:
        case None:
            return ""
        case Rating(stars=int(stars), color="black" | "red" as color):
            return _stars(stars, color)
        case Rating(error=error):
            return f'<p class="no-stars">{escape(error or "No rating was given")}</p>'
        case _:
            assert_never(rating)


def _review(review: Review) -> str:
    return f"""
      <li class="review">
        {render_rating(review.rating)}
        <blockquote>{escape(review.text)}</blockquote>
        <p class="reviewer"><span class="avatar" aria-hidden="true">{escape(review.reviewer[:1])}</span>
          {escape(review.reviewer)}</p>
      </li>"""


def render_reviews(reviews: Reviews) -> str:
    """What readers say."""
    return f'<ul class="reviews">{"".join(map(_review, reviews.reviews))}</ul>'


def _reviews_source(reviews: Reviews | None) -> str:
    if reviews is None:
        return ""
    return (
        f'<p class="source"><strong>{escape(reviews.podname)}</strong> <span>at {escape(reviews.instance)}</span></p>'
    )


def _details_source(page: Page) -> str:
    if page.details is None or not page.details_answer.app:
        return ""
    return f'<p class="source"><strong>{escape(page.details_answer.app)}</strong></p>'


def _session(user: str) -> str:
    if not user:
        return (
            '<form class="session" method="post" action="/login">'
            "<span>Not signed in</span><button>Sign in as jason</button></form>"
        )
    return (
        '<form class="session" method="post" action="/logout">'
        f'<span><span class="avatar" aria-hidden="true">{escape(user[:1])}</span>'
        f"Signed in as <strong>{escape(user)}</strong></span><button>Sign out</button></form>"
    )


def _trail(page: Page) -> str:
    hops = "".join(
        f"<li><span>{name}</span> {escape(status_line(answer))} <em>{_milliseconds(answer.seconds)}</em></li>"
        for name, answer in (("details", page.details_answer), ("reviews", page.reviews_answer))
    )
    request_id = f"<p>Request <code>{escape(page.request_id)}</code></p>" if page.request_id else ""
    return f"<p>Served by <strong>{escape(page.served_by)}</strong>, which asked</p><ul>{hops}</ul>{request_id}"


def _reviews_marks(page: Page) -> str:
    status = page.reviews_answer.status or "none"
    if page.reviews is None:
        return f'data-status="{status}"'
    version, instance = escape(page.reviews.version), escape(page.reviews.instance)
    return f'data-status="{status}" data-version="{version}" data-instance="{instance}"'


def render_page(page: Page) -> str:
    """The whole document."""
    details = render_details(page.details) if page.details else render_unavailable("Details", page.details_answer)
    reviews = render_reviews(page.reviews) if page.reviews else render_unavailable("Reviews", page.reviews_answer)
    return f"""<!doctype html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <meta name="color-scheme" content="light dark">
  <title>{TITLE} · Bookinfo</title>
  <link rel="icon" href="{_ICON}">
  <style>{_STYLE}</style>
</head>
<body>
  <header class="bar">
    <a class="brand" href="/productpage"><img src="{_ICON}" alt="" width="28" height="28">Bookinfo</a>
    {_session(page.user)}
  </header>
  <main>
    <section class="hero">
      <div class="cover" aria-hidden="true"><span>The</span><b>Comedy</b><span>of</span><b>Errors</b></div>
      <div>
        <p class="kicker">Play in five acts</p>
        <h1>{TITLE}</h1>
        <p class="lead">{SUMMARY}</p>
      </div>
    </section>
    <div class="columns">
      <section class="card" id="details" data-status="{page.details_answer.status or "none"}">
        <header><h2>Book details</h2>{_details_source(page)}</header>
        {details}
      </section>
      <section class="card" id="reviews" {_reviews_marks(page)}>
        <header><h2>Book reviews</h2>{_reviews_source(page.reviews)}</header>
        {reviews}
      </section>
    </div>
  </main>
  <footer>{_trail(page)}</footer>
</body>
</html>
"""

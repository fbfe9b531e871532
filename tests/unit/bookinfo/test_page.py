"""The document, from values alone."""

import pytest

from pilothouse_bookinfo.books import Rating
from pilothouse_bookinfo.outgoing import Answer
from pilothouse_bookinfo.page import LONGEST_EXCERPT, render_rating, render_unavailable, status_line


def answer(status, body=b"", app=""):
    return Answer(status, body, "text/plain", app, 1.002)


@pytest.mark.parametrize(
    ("status", "line"),
    [(504, "504 Gateway Timeout"), (555, "555"), (None, "no answer")],
)
def test_a_status_has_its_phrase_where_there_is_one(status, line):
    assert status_line(answer(status)) == line


def test_the_panel_says_what_was_answered_by_whom_and_when():
    panel = render_unavailable("Reviews", answer(504, b"upstream request timeout\n"))
    assert "Reviews are unavailable" in panel
    assert "The mesh said" in panel
    assert "504 Gateway Timeout" in panel
    assert "1.00 s" in panel
    assert "<pre>upstream request timeout</pre>" in panel
    assert "reviews-v2 said" in render_unavailable("Reviews", answer(500, b"", "reviews-v2"))


def test_a_200_that_is_no_answer_is_called_that():
    assert "could not be understood: &lt;p&gt;" in render_unavailable("Details", answer(200, b"<p>"))


def test_a_long_answer_is_cut_and_bytes_that_are_no_text_are_replaced():
    panel = render_unavailable("Details", answer(503, b"\xff" + b"x" * 5000))
    assert "\ufffd" + "x" * (LONGEST_EXCERPT - 1) + " …" in panel


@pytest.mark.parametrize("color", ["black", "red"])
def test_stars_show_in_their_colour(color):
    shown = render_rating(Rating(stars=4, color=color))
    assert f'class="stars {color}"' in shown
    assert '<span class="given">★★★★</span><span class="missing">★</span>' in shown
    assert "4 of 5 stars" in shown


def test_without_a_rating_there_are_no_stars():
    assert render_rating(None) == ""
    assert render_rating(Rating(error="<gone>")) == '<p class="no-stars">&lt;gone&gt;</p>'

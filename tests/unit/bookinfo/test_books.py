"""The shapes that the apps exchange."""

import pytest

from pilothouse_bookinfo.books import Rating, Ratings, Review, Reviews, decode_shape


def test_a_shape_is_read_with_fields_it_does_not_know():
    assert decode_shape(b'{"id":0,"ratings":{"a":5},"more":1}', Ratings) == Ratings(0, {"a": 5})


@pytest.mark.parametrize("body", [b"", b"\xff", b"{", b"[]", b'{"id":0}', b'{"id":0,"ratings":{"a":-1}}'])
def test_anything_else_is_none(body):
    assert decode_shape(body, Ratings) is None


def test_a_colour_without_a_glyph_is_none():
    body = b'{"id":0,"version":"v1","podname":"p","instance":"i","reviews":[{"reviewer":"a","text":"b","rating":%s}]}'
    assert decode_shape(body % b'{"stars":1,"color":"blue"}', Reviews) is None
    red = Review("a", "b", Rating(stars=1, color="red"))
    assert decode_shape(body % b'{"stars":1,"color":"red"}', Reviews) == Reviews(0, "v1", "p", "i", (red,))

"""What do the apps tell each other? The JSON shapes of bookinfo, and the one book that it knows.

The writer and the reader of a shape use the same type, so a page never shows half an answer: what does not decode is
an answer that is not understood. Field names follow Istio's bookinfo sample.
"""

from typing import Annotated, Literal, TypeVar

import msgspec

TITLE = "The Comedy of Errors"
SUMMARY = (
    "Two pairs of identical twins, parted at birth by a shipwreck, walk the streets of one city on one day. "
    "Shakespeare’s shortest play is a farce of mistaken identity: everybody gets an answer, "
    "and it is from the wrong twin."
)

Stars = Annotated[int, msgspec.Meta(ge=0, le=5)]
Color = Literal["black", "red"]


class Details(msgspec.Struct, frozen=True, rename={"kind": "type", "isbn_10": "ISBN-10", "isbn_13": "ISBN-13"}):
    """The answer of ``details``."""

    id: int
    author: str
    year: int
    kind: str
    pages: int
    publisher: str
    language: str
    isbn_10: str
    isbn_13: str


class Ratings(msgspec.Struct, frozen=True):
    """The answer of ``ratings``: stars by reviewer."""

    id: int
    ratings: dict[str, Stars]


class Rating(msgspec.Struct, frozen=True, omit_defaults=True):
    """Either ``stars`` with their ``color``, or the ``error`` that took their place."""

    stars: Stars | None = None
    color: Color | None = None
    error: str | None = None


class Review(msgspec.Struct, frozen=True, omit_defaults=True):
    """One reader's opinion. Reviews v1 gives no rating."""

    reviewer: str
    text: str
    rating: Rating | None = None


class Reviews(msgspec.Struct, frozen=True):
    """The answer of ``reviews``: ``podname`` is app and version, ``instance`` the ``address:port`` that answered."""

    id: int
    version: str
    podname: str
    instance: str
    reviews: tuple[Review, ...]


Shape = TypeVar("Shape", Details, Ratings, Reviews)


def decode_shape(body: bytes, shape: type[Shape]) -> Shape | None:
    """``body`` as ``shape``, or None where it is anything else."""
    try:
        return msgspec.json.decode(body, type=shape)
    except msgspec.DecodeError:
        return None

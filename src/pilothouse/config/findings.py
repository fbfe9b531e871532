"""What a check inside one object reports: a code, a place as a path, and a sentence.

Checks know paths, not lines; ``decode`` turns a Finding into a Problem once it has looked the path up in the text.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final, TypeAlias

from pilothouse.kit.problem import ProblemCode

Path: TypeAlias = tuple[str | int, ...]
"""Steps from the object's root: keys and list indices, such as ``("spec", "http", 0, "timeout")``."""

MAX_MESSAGE: Final = 500
"""Characters of a message, a remedy and a path that are shown: values in them may be of any length."""

_PLAIN_KEY: Final = re.compile(r"[A-Za-z_][\w-]*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding. ``at_key`` points at the key's name instead of its value."""

    code: ProblemCode
    path: Path
    message: str
    remedy: str = ""
    at_key: bool = False


def show_path(path: Path) -> str:
    """``spec.http[0].match[1]``; a key with other characters stands in brackets: ``labels["app.io/name"]``."""
    text = ""
    for step in path:
        text = extend_path(text, step)
    return text


def extend_path(shown: str, step: str | int) -> str:
    """A shown path, one step further."""
    if isinstance(step, int):
        return f"{shown}[{step}]"
    if not _PLAIN_KEY.fullmatch(step):
        return f'{shown}["{step}"]'
    return f"{shown}.{step}" if shown else step


def nearest(word: str, known: Iterable[str], likeness: float = 0.6) -> str:
    """The known word that is spelt most like ``word``, or nothing if none is (``likeness`` 1 is equality)."""
    by_lower = {candidate.lower(): candidate for candidate in known}
    found = get_close_matches(word.lower(), by_lower, n=1, cutoff=likeness)
    return by_lower[found[0]] if found else ""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """``Did you mean 'x'?`` for the nearest known word, or nothing if none is near."""
    found = nearest(word, known)
    return f"Did you mean '{found}'?" if found else ""


def one_of(words: Iterable[str]) -> str:
    """``a, b or c``."""
    *head, last = words
    return f"{', '.join(head)} or {last}" if head else last


def all_of(words: Iterable[str]) -> str:
    """``a, b and c``."""
    *head, last = words
    return f"{', '.join(head)} and {last}" if head else last


def shortened(text: str, length: int) -> str:
    """A text with its end left out if it is longer than ``length``."""
    return text if len(text) <= length else f"{text[: length - 3]}..."

"""Regular expressions that are valid and cannot match what their author had in mind.

Two mistakes that everybody makes once: Envoy compares the whole value, and cookies are separated by more than a
semicolon. Only expressions that look like one of these are named.
"""

import re
from collections.abc import Iterator
from typing import Final

from pilothouse.config.findings import Finding, Path
from pilothouse.config.virtualservice import VirtualService
from pilothouse.kit import codes

LONG_HEADERS: Final = frozenset(
    {"user-agent", "accept", "accept-language", "accept-encoding", "referer", "cookie", "via", "x-forwarded-for"}
)
"""Headers whose value is never just one word that a person looks for."""

_UNBOUNDED: Final = re.compile(r"\\.|\[(?:\\.|[^\]\\])*\]|([*+]|\{\d+,\})", re.DOTALL)
"""Escapes and brackets, which are passed over, or a repetition without an end."""
_LETTERS: Final = re.compile(r"[A-Za-z]{2}")
_BARE_SEPARATOR: Final = ";)?("
_SPACED_SEPARATOR: Final = r";\s*)?("


def regex_findings(spec: VirtualService) -> Iterator[Finding]:
    """Warnings about the header matches of a VirtualService."""
    for index, route in enumerate(spec.http):
        for number, match in enumerate(route.match):
            where: Path = ("spec", "http", index, "match", number)
            for field, headers in (("headers", match.headers), ("withoutHeaders", match.without_headers)):
                for name, text in headers.items():
                    if text.regex is not None:
                        yield from check_expression((*where, field, name, "regex"), name.lower(), text.regex)


def check_expression(path: Path, header: str, expression: str) -> Iterator[Finding]:
    """What is doubtful about one expression for one header (in lower case)."""
    if header in LONG_HEADERS and matches_a_word_only(expression):
        message = f"'{expression}' must match the whole {header} header, which is longer than that"
        yield Finding(codes.REGEX_WHOLE_VALUE, path, message, f"Write '.*{without_anchors(expression)}.*'.")
    if header == "cookie" and _BARE_SEPARATOR in expression:
        corrected = expression.replace(_BARE_SEPARATOR, _SPACED_SEPARATOR)
        message = f"'{expression}' does not find the cookie behind another one, because a space follows each ';'"
        yield Finding(codes.COOKIE_REGEX, path, message, f"Write '{corrected}'.")


def matches_a_word_only(expression: str) -> bool:
    """Whether an expression has letters and nothing that could match a value of any length."""
    unbounded = any(found[1] for found in _UNBOUNDED.finditer(expression))
    return not unbounded and _LETTERS.search(expression) is not None


def without_anchors(expression: str) -> str:
    """The expression without ``^`` and ``$``, in a group if it has alternatives of its own."""
    inner = expression.removeprefix("^").removesuffix("$")
    depth, split = 0, False
    for found in re.finditer(r"\\.|\[(?:\\.|[^\]\\])*\]|[()|]", inner, re.DOTALL):
        depth += {"(": 1, ")": -1}.get(found[0], 0)
        split = split or (found[0] == "|" and depth == 0)
    return f"({inner})" if split else inner

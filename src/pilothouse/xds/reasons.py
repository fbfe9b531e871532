"""What in the text of a refusal is for people.

For a violated constraint Envoy prints the whole resource first and the reason behind it; other texts begin with the
reason and may be long. Either way a status line needs the reason, in one line, at a readable length.
"""

from collections.abc import Iterable
from typing import Final

REASON_LIMIT: Final = 400
"""Characters kept."""

_DUMP: Final = "goo.gle/debug"
"""How protobuf's text form announces itself (the end of the word varies on purpose); a dump ends with a line that
begins with a colon."""


def names_in(text: str, names: Iterable[str]) -> tuple[str, ...]:
    """Those of ``names`` that a refusal of clusters or listeners blames: ``cluster(s) A: why, B: why``.

    Envoy applied the others of that response. Nothing, where the whole response was refused.
    """
    _, announced, blame = text.partition("(s) ")
    if not announced or _DUMP in text:
        return ()
    return tuple(n for n in names if blame.startswith(f"{n}: ") or f", {n}: " in blame or f"\n{n}: " in blame)


def readable_reason(text: str) -> str:
    """The reason without the resource that Envoy prints in front of it, on one line, at most ``REASON_LIMIT`` long."""
    if _DUMP in text:
        _, separator, behind = text.rpartition("\n: ")
        if separator:
            text = behind
    line = " ".join(text.split())
    return line if len(line) <= REASON_LIMIT else line[: REASON_LIMIT - 1] + "…"

"""What in the text of a refusal is for people.

For a violated constraint Envoy prints the whole resource first and the reason behind it; other texts begin with the
reason and may be long. Either way a status line needs the reason, in one line, at a readable length.
"""

from typing import Final

REASON_LIMIT: Final = 400
"""Characters kept."""

_DUMP: Final = "goo.gle/debug"
"""How protobuf's text form announces itself (the end of the word varies on purpose); a dump ends with a line that
begins with a colon."""


def readable_reason(text: str) -> str:
    """The reason without the resource that Envoy prints in front of it, on one line, at most ``REASON_LIMIT`` long."""
    if _DUMP in text:
        _, separator, behind = text.rpartition("\n: ")
        if separator:
            text = behind
    line = " ".join(text.split())
    return line if len(line) <= REASON_LIMIT else line[: REASON_LIMIT - 1] + "…"

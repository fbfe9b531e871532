"""Durations as integers: Go's syntax (``1h2m3.5s``, ``300ms``), of which proto JSON's (``3.5s``) is a part.

No float takes part, so what a user writes is what Envoy gets. Whether a duration makes sense where it stands is
asked elsewhere (``rules.duration_at_least_1ms``).
"""

import re
from typing import Final

NANOSECONDS: Final = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "μs": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
}
"""Units of Go's ``time.ParseDuration``, in nanoseconds."""

MAXIMUM: Final = 2**63 - 1
"""Go's largest duration, about 292 years."""

_TERM: Final = re.compile(r"(\d{0,19})(?:\.(\d{0,19}))?(ns|us|µs|μs|ms|s|m|h)", re.ASCII)


class Duration(int):
    """A length of time in nanoseconds."""

    __slots__ = ()

    @property
    def milliseconds(self) -> int:
        """Whole milliseconds, rounded towards zero."""
        return int(self) // 1_000_000 if self >= 0 else -(-int(self) // 1_000_000)

    def __str__(self) -> str:
        nanoseconds = int(self)
        for unit in ("h", "m", "s", "ms", "us"):
            if nanoseconds and nanoseconds % NANOSECONDS[unit] == 0:
                return f"{nanoseconds // NANOSECONDS[unit]}{unit}"
        return f"{nanoseconds}ns" if nanoseconds else "0s"


def decode_duration(text: str) -> Duration:
    """The duration that ``text`` says. Raises ValueError, with a sentence for the author, if it says none."""
    body = text[1:] if text[:1] in ("+", "-") else text
    if body == "0":
        return Duration(0)
    total, position = 0, 0
    while position < len(body):
        term = _TERM.match(body, position)
        if term is None or not (term[1] or term[2]):
            raise ValueError(f"{text!r} is not a duration")
        total += _nanoseconds(term[1], term[2] or "", NANOSECONDS[term[3]])
        position = term.end()
    if not body or total > MAXIMUM:
        raise ValueError(f"{text!r} is not a duration")
    return Duration(-total if text[0] == "-" else total)


def _nanoseconds(whole: str, fraction: str, unit: int) -> int:
    """One term, its fraction cut off below a nanosecond."""
    return int(whole or "0") * unit + int(fraction or "0") * unit // int("1".ljust(len(fraction) + 1, "0"))

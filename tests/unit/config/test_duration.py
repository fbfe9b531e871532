"""Durations: Go's syntax in, nanoseconds out."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilothouse.config.duration import MAXIMUM, Duration, decode_duration


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("0", 0),
        ("0s", 0),
        ("5s", 5_000_000_000),
        ("300ms", 300_000_000),
        ("1h2m3.5s", 3_723_500_000_000),
        ("1.5h", 5_400_000_000_000),
        (".5s", 500_000_000),
        ("1.s", 1_000_000_000),
        ("+2s", 2_000_000_000),
        ("-1.5s", -1_500_000_000),
        ("3us", 3_000),
        ("3µs", 3_000),
        ("3μs", 3_000),
        ("7ns", 7),
        ("0.0000000019s", 1),
        ("3.500000000s", 3_500_000_000),
    ],
)
def test_what_go_reads_is_read_alike(text: str, nanoseconds: int) -> None:
    assert decode_duration(text) == nanoseconds


@pytest.mark.parametrize(
    "text", ["", "s", "5", "-", "+", ".s", "5 s", "5 parsecs", "1s1", "1e3s", "5S", "٣s", "999999999h"]
)
def test_everything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        decode_duration(text)


@given(st.integers(min_value=-MAXIMUM, max_value=MAXIMUM))
def test_what_is_written_reads_back(nanoseconds: int) -> None:
    assert decode_duration(str(Duration(nanoseconds))) == nanoseconds


@given(st.text())
def test_no_text_raises_anything_but_the_refusal(text: str) -> None:
    with suppress(ValueError):
        assert isinstance(decode_duration(text), Duration)


def test_milliseconds_are_whole_and_round_towards_zero() -> None:
    assert decode_duration("1.9ms").milliseconds == 1
    assert decode_duration("-1.9ms").milliseconds == -1
    assert decode_duration("1h").milliseconds == 3_600_000

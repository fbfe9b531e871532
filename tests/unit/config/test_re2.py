"""The RE2 scanner, against a table made with Envoy 1.40: the binary accepted the first list and refused the second."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilothouse.config.re2 import MAX_LENGTH, regex_fault

ACCEPTED = [
    ".*",
    "^a$",
    ".*(iPod|iPhone|iPad).*",
    r"^(.*?;\s*)?(user=jason)(;.*)?$",
    "a*?",
    "a??",
    "[]a]",
    "[^]a]",
    r"[\d-z]",
    "[[:alpha:]]",
    "[^[:^alpha:]x]",
    r"\pN",
    r"\p{Greek}",
    r"\PL",
    r"\Q.*\E",
    r"\Qa",
    r"\12",
    r"\0",
    r"\x41",
    r"\x{41}",
    r"\z",
    r"\A",
    r"\b\B",
    r"\_\-",
    "a{2}",
    "a{2,}",
    "a{2,3}",
    "(a{500}){2}",
    "a{,3}",
    "a{",
    "{a}",
    "}",
    "(?i)a",
    "a(?i)b",
    "(?i:a)",
    "(?im-s:a)",
    "(?P<n>a)",
    "(?<n>a)",
    "()",
    "|a",
    "^*",
    "[a-]",
    "[-a]",
    r"[\x41-\x5a]",
    "(a*)*",
    "é+",
    r"\t\n\r\f\v\a",
    "a{0}",
]
REFUSED = {
    "*": "nothing",
    "(|*)": "nothing",
    "a**": "repeats a repetition",
    "a++": "repeats a repetition",
    "a*??": "repeats a repetition",
    "a{2}{3}": "repeats a repetition",
    "(a": "not closed",
    "a)": "never opened",
    "[a": "not closed",
    "[]": "not closed",
    "[z-a]": "upside down",
    r"[a-\d]": "upside down",
    "[[:foo:]]": "no such class",
    r"\p{Foo}": "not known",
    r"\1": "back-references",
    r"(a)\8": "back-references",
    r"\x{110000}": "no character",
    r"\x4": "no escape",
    r"\Z": "no escape",
    r"\y": "no escape",
    r"\e": "no escape",
    "\\": "backslash",
    "a{3,2}": "not between",
    "a{1001}": "not between",
    "(a{1000}){2}": "multiply",
    "((a{10}){10}){11}": "multiply",
    "(?=a)": "look-ahead",
    "(?!a)": "look-ahead",
    "(?<=a)": "look-behind",
    "(?<!a)": "look-behind",
    "(?>a)": "atomic",
    "(?#a)": "comments",
    "(?P=n)": "back-references",
    "(?x)a": "does not begin a group",
    "(?P<n-1>a)": "does not begin a group",
    "(?-)": "does not begin a group",
    "(?R)": "recursion",
}


@pytest.mark.parametrize("expression", ACCEPTED)
def test_what_envoy_accepts_is_accepted(expression: str) -> None:
    assert regex_fault(expression) == ""


@pytest.mark.parametrize(("expression", "reason"), REFUSED.items())
def test_what_envoy_refuses_is_refused_with_the_reason(expression: str, reason: str) -> None:
    assert reason in regex_fault(expression)


def test_an_expression_longer_than_istiod_allows_is_refused() -> None:
    assert regex_fault("a" * MAX_LENGTH) == ""
    assert "1025 characters" in regex_fault("a" * (MAX_LENGTH + 1))


@given(st.text(alphabet="ab()[]{}|*+?^$\\.:<>P!=-,0123dpQE", max_size=40))
def test_no_text_makes_the_scanner_fail(expression: str) -> None:
    assert isinstance(regex_fault(expression), str)


@pytest.mark.parametrize(
    ("expression", "fits"),
    [("a{1000}" * 16, True), ("a{1000}" * 17, False), ("(ab){500}" * 16, True), ("(abc){500}" * 16, False)],
)
def test_repetitions_are_counted_as_they_are_written_out(expression: str, fits: bool) -> None:
    assert (regex_fault(expression) == "") is fits

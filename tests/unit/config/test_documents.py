"""Reading a YAML stream: what is cut apart, what values plain scalars have, and which limits hold."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilothouse.config.construct import MAX_DEPTH
from pilothouse.config.documents import MAX_DOCUMENT, MAX_DOCUMENTS, Document, cut, read_documents
from pilothouse.kit.problem import Problem


def values(text: str) -> list[object]:
    """The values of the documents that can be read."""
    return [read.value for read in read_documents(text, "x.yaml") if isinstance(read, Document)]


def problems(text: str) -> list[Problem]:
    """What keeps other documents from being read."""
    return [read for read in read_documents(text, "x.yaml") if isinstance(read, Problem)]


def places(text: str) -> list[str]:
    """Code, line and column of each Problem."""
    return [f"{problem.code.code} {problem.origin}" for problem in problems(text)]


def test_documents_are_cut_at_markers_in_the_first_column() -> None:
    assert values("a: 1\n---\nb: 2\n--- \nc: |\n  ---\n  x\n...\nd: 4\n") == [
        {"a": 1},
        {"b": 2},
        {"c": "---\nx\n"},
        {"d": 4},
    ]


def test_empty_documents_and_comments_are_left_out() -> None:
    assert values("---\n\n---\n# nothing\n---\n~\n---\n{}\n") == [{}]


def test_a_byte_order_mark_and_directives_are_no_part_of_a_document() -> None:
    assert values("\ufeff%YAML 1.2\n# first\n---\na: 1\n") == [{"a": 1}]


def test_a_document_that_is_no_yaml_does_not_take_its_neighbours_with_it() -> None:
    text = "a: 1\n---\nb: [\n---\nc: 3\n---\nd: e: f\n---\ng: 7\n"
    assert values(text) == [{"a": 1}, {"c": 3}, {"g": 7}]
    assert places(text) == ["yaml-syntax x.yaml:4:1", "yaml-syntax x.yaml:7:5"]


def test_the_number_of_lines_before_each_document_is_right() -> None:
    text = "a: 1\n---\nb: 2\n...\n# c\n---\nd: 4\n"
    lines = text.split("\n")
    for before, chunk in cut(text):
        assert lines[before].startswith(chunk.split("\n")[0])


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("yes", "yes"),
        ("on", "on"),
        ("No", "No"),
        ("true", True),
        ("False", False),
        ("~", None),
        ("null", None),
        ("", None),
        ("012", 12),
        ("0o14", 12),
        ("0x1F", 31),
        ("-7", -7),
        ("1:30", "1:30"),
        ("1_000", "1_000"),
        ("2001-01-01", "2001-01-01"),
        ("1.50", 1.5),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("1.2.3", "1.2.3"),
        ("+", "+"),
        ("-", [None]),
        ('"1"', "1"),
        ("'true'", "true"),
        ("!!str 1", "1"),
        ("!!int 1", 1),
        ("!!float 1", 1.0),
        ("99999999999999999999999999", 1e26),
        (".inf", float("inf")),
    ],
)
def test_plain_scalars_follow_the_core_schema_of_yaml_1_2(written: str, value: object) -> None:
    (document,) = values(f"a: {written}\n") if written != "-" else values("a:\n  -\n")
    assert isinstance(document, dict)
    assert document["a"] == value
    assert type(document["a"]) is type(value)


def test_merge_keys_bring_in_what_is_not_there() -> None:
    text = "a: &a {x: 1, y: 2}\nb: &b {y: 3, z: 4}\nc: {<<: [*a, *b], x: 9}\n"
    (value,) = values(text)
    assert isinstance(value, dict)
    assert value["c"] == {"x": 9, "y": 2, "z": 4}
    assert places("a: {<<: 5}\n") == ["yaml-key x.yaml:1:9"]


def test_integer_keys_are_read_as_they_are_written() -> None:
    assert values("ports: {8080: a, 007: b}\n") == [{"ports": {"8080": "a", "007": "b"}}]


def test_a_key_that_is_there_twice_is_refused_with_both_places() -> None:
    (problem,) = problems("a: 1\nb: 2\na: 3\n")
    assert problem.code.code == "yaml-duplicate-key"
    assert (str(problem.origin), problem.path) == ("x.yaml:3:1", "a")
    assert "line 1" in problem.message


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("a: \x00\n", "yaml-syntax x.yaml:1:4"),
        ("a: 1\nb: \x07\n", "yaml-syntax x.yaml:2:4"),
        ("a: \ud800\n", "yaml-syntax x.yaml:1:4"),
        ("a:\n\tb: 1\n", "yaml-syntax x.yaml:2:1"),
        ("a: *nobody\n", "yaml-syntax x.yaml:1:4"),
        ("a: &x 1\nb: &x 2\n", "yaml-syntax x.yaml:2:4"),
        ("a: 'open\n", "yaml-syntax x.yaml:2:1"),
        ("a: !!timestamp 2001-01-01\n", "yaml-tag x.yaml:1:4"),
        ("a: !!int x\n", "yaml-tag x.yaml:1:4"),
        ("a: !!set {x: }\n", "yaml-tag x.yaml:1:4"),
        ("? [a]\n: 1\n", "yaml-key x.yaml:1:3"),
        ("1.5: a\n", "yaml-key x.yaml:1:1"),
    ],
)
def test_what_cannot_be_read_is_named_with_its_place(text: str, place: str) -> None:
    assert places(text) == [place]


def test_depth_is_limited() -> None:
    fits = MAX_DEPTH - 1
    assert len(values("[" * fits + "]" * fits)) == 1
    assert places("[" * 65 + "]" * 65) == ["yaml-limit x.yaml:1:65"]
    assert places("[" * 100_000)[0].startswith("yaml-limit")
    assert places("- " * 100_000)[0].startswith("yaml-limit")


def test_what_aliases_expand_to_is_limited() -> None:
    levels = ["a0: &a0 [x, x]\n", *(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 40))]
    assert [place.split()[0] for place in places("".join(levels))] == ["yaml-limit"]
    assert [place.split()[0] for place in places("a: &a [*a]\n")] == ["yaml-limit"]


def test_size_and_number_of_documents_are_limited() -> None:
    assert places("a: 1\n---\n" + "b" * (MAX_DOCUMENT + 1)) == ["yaml-limit x.yaml:2:1"]
    assert places("# c\n---\n" * (MAX_DOCUMENTS + 1)) == [f"yaml-limit x.yaml:{2 * MAX_DOCUMENTS}:1"]
    assert places("a" * (16 * 1024 * 1024 + 1)) == ["yaml-limit x.yaml"]


@given(st.text(alphabet="ab:-&*!{}[]<>|%@`'\"#,?~ \n\t0.1\u0085\u2028é", max_size=80))
def test_no_text_makes_the_reader_fail(text: str) -> None:
    for read in read_documents(text, "x.yaml"):
        assert isinstance(read, Document | Problem)


@given(st.text(max_size=60))
def test_no_characters_make_the_reader_fail(text: str) -> None:
    assert all(isinstance(read, Document | Problem) for read in read_documents(text, "x.yaml"))

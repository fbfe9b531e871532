"""Envoy's comparisons, one by one."""

from typing import Any

import pytest
from envoy.config.route.v3 import route_components_pb2
from envoy.type.matcher.v3 import string_pb2
from google.protobuf.json_format import ParseDict

from pilothouse.simulate.comparing import (
    CannotTell,
    matches_header,
    matches_path,
    matches_query,
    matches_regex,
    matches_route,
    matches_text,
)
from pilothouse.simulate.request import Request


def text(**fields: Any) -> string_pb2.StringMatcher:
    return ParseDict(fields, string_pb2.StringMatcher())


def header(**fields: Any) -> route_components_pb2.HeaderMatcher:
    return ParseDict({"name": "x", **fields}, route_components_pb2.HeaderMatcher())


def route(**fields: Any) -> route_components_pb2.RouteMatch:
    return ParseDict(fields, route_components_pb2.RouteMatch())


WITH_X = Request("a", headers=(("x", "Value"),))
WITHOUT_X = Request("a")


@pytest.mark.parametrize(
    ("expression", "value", "matches"),
    [
        ("iPhone", "my iPhone", False),
        (".*iPhone.*", "my iPhone", True),
        ("a|ab", "ab", True),
        ("(?i)HELLO", "hello", True),
        (r"\d+\z", "12", True),
        (r"\d", "\u0663", False),
        ("[[:alpha:]]+", "abc", True),
        ("[^[:digit:]]", "7", False),
        (r"\Qa.b\E+", "a.bb", True),
        (r"\Qa.b", "axb", False),
        ("a.c", "a\nc", False),
    ],
)
def test_regular_expression_compares_the_whole_text(expression: str, value: str, matches: bool) -> None:
    assert matches_regex(expression, value) is matches


def test_expression_of_another_dialect_is_not_guessed_at() -> None:
    with pytest.raises(CannotTell, match="regular expression"):
        matches_regex(r"\pN+", "1")


@pytest.mark.parametrize(
    ("matcher", "matches"),
    [
        (text(exact="Value"), True),
        (text(exact="value"), False),
        (text(exact="vALUE", ignore_case=True), True),
        (text(prefix="Va"), True),
        (text(suffix="lue"), True),
        (text(contains="alu"), True),
        (text(contains="ALU"), False),
        (text(safe_regex={"regex": "Val.*"}), True),
    ],
)
def test_text_is_compared_as_asked(matcher: string_pb2.StringMatcher, matches: bool) -> None:
    assert matches_text(matcher, "Value") is matches


def test_unknown_comparison_of_text_is_said() -> None:
    with pytest.raises(CannotTell, match="comparison by None"):
        matches_text(string_pb2.StringMatcher(), "x")


@pytest.mark.parametrize(
    ("matcher", "with_x", "without_x"),
    [
        (header(), True, False),
        (header(present_match=True), True, False),
        (header(present_match=False), False, True),
        (header(present_match=True, invert_match=True), False, True),
        (header(string_match={"exact": "Value"}), True, False),
        (header(string_match={"exact": "other"}), False, False),
        (header(string_match={"exact": "other"}, invert_match=True), True, False),
        (header(string_match={"exact": "other"}, invert_match=True, treat_missing_header_as_empty=True), True, True),
        (header(string_match={"exact": "Value"}, invert_match=True, treat_missing_header_as_empty=True), False, True),
        (header(string_match={"exact": ""}, treat_missing_header_as_empty=True), False, True),
    ],
)
def test_missing_header_matches_only_where_it_counts_as_empty(
    matcher: route_components_pb2.HeaderMatcher, with_x: bool, without_x: bool
) -> None:
    assert (matches_header(matcher, WITH_X), matches_header(matcher, WITHOUT_X)) == (with_x, without_x)


def test_unknown_comparison_of_a_header_is_said() -> None:
    with pytest.raises(CannotTell, match="range_match"):
        matches_header(header(range_match={"start": "1", "end": "5"}), WITH_X)


@pytest.mark.parametrize(
    ("fields", "path", "matches"),
    [
        ({"string_match": {"exact": "1"}}, "/?q=1", True),
        ({"string_match": {"exact": "1"}}, "/?q=2&q=1", False),
        ({"string_match": {"exact": ""}}, "/?q", True),
        ({"string_match": {"exact": ""}}, "/", False),
        ({"present_match": True}, "/?q", True),
        ({}, "/?p=q", False),
    ],
)
def test_first_query_parameter_of_a_name_counts(fields: dict[str, Any], path: str, matches: bool) -> None:
    matcher = ParseDict({"name": "q", **fields}, route_components_pb2.QueryParameterMatcher())
    assert matches_query(matcher, Request("a", path)) is matches


@pytest.mark.parametrize(
    ("match", "path", "matches"),
    [
        (route(prefix="/foo"), "/foobar", True),
        (route(prefix="/foo"), "/Foo", False),
        (route(prefix="/FOO", case_sensitive=False), "/foo/x", True),
        (route(path="/foo"), "/foo?x=1", True),
        (route(path="/foo"), "/foo/", False),
        (route(path="/FOO", case_sensitive=False), "/foo", True),
        (route(safe_regex={"regex": "/b[0-9]+"}), "/b12?x", True),
        (route(safe_regex={"regex": "/B[0-9]+"}, case_sensitive=False), "/b12", False),
    ],
)
def test_path_is_compared_without_its_query(match: route_components_pb2.RouteMatch, path: str, matches: bool) -> None:
    assert matches_path(match, Request("a", path)) is matches


def test_unknown_comparison_of_paths_is_said() -> None:
    with pytest.raises(CannotTell, match="path_separated_prefix"):
        matches_path(route(path_separated_prefix="/x"), Request("a"))


def test_all_that_a_route_asks_for_must_hold() -> None:
    match = route(prefix="/", headers=[{"name": "x", "present_match": True}], query_parameters=[{"name": "q"}])
    assert matches_route(match, Request("a", "/?q", headers=(("x", "1"),)))
    assert not matches_route(match, Request("a", "/?q"))
    assert not matches_route(match, Request("a", "/", headers=(("x", "1"),)))
    assert not matches_route(route(path="/y", headers=[{"name": "x"}]), WITH_X)


def test_route_that_asks_for_something_unknown_is_not_guessed_at() -> None:
    with pytest.raises(CannotTell, match="grpc"):
        matches_route(route(prefix="/", grpc={}), Request("a"))

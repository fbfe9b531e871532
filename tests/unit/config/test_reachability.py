"""Which routes can never be reached: only what is certain is said."""

import pytest

from pilothouse.config.reachability import check_reachable
from pilothouse.config.schema import StringMatch
from pilothouse.config.virtualservice import HTTPMatchRequest, HTTPRoute


def unreachable(*matches: HTTPMatchRequest | None) -> list[int]:
    """The routes, one per match (None: without), that are said to be unreachable."""
    routes = [HTTPRoute(match=() if match is None else (match,)) for match in matches]
    return [int(finding.path[0]) for finding in check_reachable((), routes)]


def prefix(text: str, *, ignore_case: bool = False, method: str = "") -> HTTPMatchRequest:
    """A match by prefix."""
    return HTTPMatchRequest(
        uri=StringMatch(prefix=text),
        ignore_uri_case=ignore_case,
        method=StringMatch(exact=method) if method else None,
    )


def exact(text: str, *, ignore_case: bool = False) -> HTTPMatchRequest:
    """A match by the whole path."""
    return HTTPMatchRequest(uri=StringMatch(exact=text), ignore_uri_case=ignore_case)


REGEX = HTTPMatchRequest(uri=StringMatch(regex="/api.*"))


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        (None, prefix("/api")),
        (None, None),
        (prefix("/"), REGEX),
        (HTTPMatchRequest(), prefix("/api", method="GET")),
        (HTTPMatchRequest(uri=StringMatch(regex=".*")), exact("/x")),
        (prefix("/api"), prefix("/api")),
        (prefix("/api"), prefix("/api/v1", method="GET")),
        (prefix("/api"), exact("/apiary")),
        (prefix("/API", ignore_case=True), exact("/api/x")),
        (prefix("/API", ignore_case=True), exact("/api/x", ignore_case=True)),
        (REGEX, REGEX),
        (prefix("/api", method="GET"), prefix("/api", method="GET")),
    ],
)
def test_what_an_earlier_route_takes_whole_is_unreachable(
    earlier: HTTPMatchRequest | None, later: HTTPMatchRequest | None
) -> None:
    assert unreachable(earlier, later) == [1]


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        (prefix("/api/v1"), prefix("/api")),
        (prefix("/api"), exact("/API")),
        (prefix("/api"), exact("/api", ignore_case=True)),
        (prefix("/api", method="GET"), prefix("/api/v1")),
        (prefix("/api"), REGEX),
        (prefix("/api"), HTTPMatchRequest()),
        (prefix("/api"), None),
        (HTTPMatchRequest(port=80), prefix("/api")),
        (HTTPMatchRequest(gateways=("mesh",)), prefix("/api")),
        (HTTPMatchRequest(source_labels={"app": "x"}), prefix("/api")),
        (exact("/api"), prefix("/api")),
    ],
)
def test_what_may_be_reached_is_left_alone(earlier: HTTPMatchRequest, later: HTTPMatchRequest | None) -> None:
    assert unreachable(earlier, later) == []


def test_names_do_not_make_a_match_different() -> None:
    assert unreachable(HTTPMatchRequest(name="a", port=80), HTTPMatchRequest(name="b", port=80)) == [1]

"""The request as a proxy sees it."""

import pytest

from pilothouse.simulate.request import Request, request_for


def test_url_becomes_authority_and_path() -> None:
    asked = request_for("http://reviews.service.mesh:9080/x/y?z=1", "PUT", {"User-Agent": "curl"})
    assert asked == Request("reviews.service.mesh:9080", "/x/y?z=1", "PUT", "http", (("user-agent", "curl"),))


@pytest.mark.parametrize(
    ("url", "authority", "path"),
    [
        ("http://a", "a", "/"),
        ("http://a?q=1", "a", "/?q=1"),
        ("http://a#top", "a", "/#top"),
        ("HTTP://[::1]:80/x", "[::1]:80", "/x"),
        ("http://a/b?to=http://c/d", "a", "/b?to=http://c/d"),
    ],
)
def test_url_without_a_path_asks_for_the_root(url: str, authority: str, path: str) -> None:
    asked = request_for(url)
    assert (asked.authority, asked.path, asked.scheme) == (authority, path, "http")


@pytest.mark.parametrize("url", ["reviews:9080/x", "http:///x", "http://"])
def test_url_that_names_no_host_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"names no host|not an absolute URL"):
        request_for(url)


def test_host_header_is_the_authority() -> None:
    asked = request_for("http://10.0.0.1/", headers={"Host": "shop.example.com", "x": "1"})
    assert asked.authority == "shop.example.com"
    assert asked.headers == (("x", "1"),)
    assert asked.header("host") == "shop.example.com"


def test_headers_are_found_by_any_case_and_joined() -> None:
    asked = Request("a", "/p?q=1", "GET", "https", (("x", "1"), ("x", "2")))
    assert asked.header("X") == "1,2"
    assert asked.header("y") is None
    assert [asked.header(n) for n in (":authority", ":path", ":method", ":scheme")] == ["a", "/p?q=1", "GET", "https"]


def test_path_and_query_come_apart_undecoded() -> None:
    asked = Request("a", "/p%20q?x=%20&y&&x=2#frag?no=1")
    assert asked.bare_path == "/p%20q"
    assert asked.query == (("x", "%20"), ("y", ""), ("x", "2"))

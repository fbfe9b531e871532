"""Who may ask the admin API what."""

import pytest
from starlette.datastructures import Headers

from pilothouse.server.gate import is_own_host, refuse

TOKEN = "a-secret-of-this-test"


def asked(path: str = "/api/status", **headers: str) -> int:
    """The status of the refusal, or 200."""
    refusal = refuse(path, Headers({"host": "127.0.0.1:15014"} | headers), TOKEN, "mesh.example")
    return refusal.status_code if refusal else 200


@pytest.mark.parametrize("path", ["/api/status", "/debug/syncz", "/debug/config_dump", "/", "/Ready", "/metrics/"])
def test_everything_but_the_public_pages_needs_the_token_even_on_loopback(path: str) -> None:
    assert asked(path) == 401
    assert asked(path, authorization="Bearer wrong") == 401
    assert asked(path, authorization=TOKEN) == 401
    assert asked(path, authorization="Bearer ") == 401
    assert asked(path, authorization=f"Bearer {TOKEN}") == 200
    assert asked(path, authorization=f"bearer {TOKEN} ") == 200


@pytest.mark.parametrize("path", ["/ready", "/version", "/metrics"])
def test_public_pages_need_no_token_but_a_name_of_ours(path: str) -> None:
    assert asked(path) == 200
    assert asked(path, host="evil.example") == 403


def test_a_page_of_another_site_is_not_answered_even_with_the_token() -> None:
    with_token = {"authorization": f"Bearer {TOKEN}"}
    assert asked(origin="http://evil.example", **with_token) == 403
    assert asked(origin="null", **with_token) == 403
    assert asked(origin="https://127.0.0.1:15014", **with_token) == 403
    assert asked(origin="http://127.0.0.1:15014", **with_token) == 200


@pytest.mark.parametrize(
    ("host", "own"),
    [
        ("127.0.0.1", True),
        ("127.0.0.1:15014", True),
        ("[::1]:15014", True),
        ("[::1]", True),
        ("10.1.2.3:15014", True),
        ("localhost:15014", True),
        ("LOCALHOST", True),
        ("mesh.example:80", True),
        ("evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("localhost.evil.example:15014", False),
        ("", False),
        (":15014", False),
    ],
)
def test_only_addresses_and_our_own_names_are_answered(host: str, own: bool) -> None:
    assert is_own_host(host, "mesh.example") is own


def test_no_configured_name_opens_the_door_to_nobody() -> None:
    assert not is_own_host("", "")

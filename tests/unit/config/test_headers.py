"""Header values as Envoy 1.40 takes them: the lists were tried with its binary."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilothouse.config.headers import check_header_name, check_header_value, check_headers, check_one_authority
from pilothouse.config.virtualservice import HeaderOperations, Headers, HTTPRewrite


@pytest.mark.parametrize(
    "value",
    [
        "",
        "plain",
        "a\tb",
        "100%%",
        "%%x%%",
        "%HOSTNAME%:80",
        "%REQ(x)%%RESP(y):3%",
        "%REQ(:path?x):10%",
        "%START_TIME(%s)%",
        "%START_TIME%",
        "%DOWNSTREAM_PEER_FINGERPRINT_256%x",
        "%DYNAMIC_METADATA(a:b)%",
    ],
)
def test_values_that_envoy_accepts(value: str) -> None:
    assert list(check_header_value((), value)) == []


@pytest.mark.parametrize(
    "value",
    [
        "100%",
        "%",
        "%START_TIME%%",
        "%FOO%",
        "%REQ%",
        "%REQ()%",
        "%req(x)%",
        "%REQ(X",
        "%PROTOCOL:3%",
        "%PROTOCOL(x)%",
        "a\nb",
    ],
)
def test_values_for_which_envoy_would_refuse_the_routes(value: str) -> None:
    assert len(list(check_header_value((), value))) == 1


@given(st.text(alphabet="%ABREQ()[]:0129_ax ", max_size=40))
def test_no_value_makes_the_check_fail(value: str) -> None:
    assert len(list(check_header_value((), value))) <= 1


def test_pseudo_headers_are_matched_but_not_changed() -> None:
    assert list(check_header_name((), ":path")) == []
    assert len(list(check_header_name((), ":nonsense"))) == 1
    changes = Headers(request=HeaderOperations(set_={":path": "/", ":authority": "a"}, remove=(":path",)))
    assert [finding.path for finding in check_headers((), changes)] == [
        ("request", "set", ":path"),
        ("request", "remove", 0),
    ]


def test_the_authority_is_changed_in_one_place_only() -> None:
    once = Headers(request=HeaderOperations(set_={"Host": "a"}))
    twice = Headers(request=HeaderOperations(set_={"Host": "a"}, add={":authority": "b"}))
    assert list(check_one_authority((), None, once)) == []
    assert len(list(check_one_authority((), None, twice))) == 1
    assert len(list(check_one_authority((), HTTPRewrite(authority="c"), once))) == 1

"""Rules for single values: hosts, labels, ports, percentages."""

import pytest

from pilothouse.config.findings import Finding
from pilothouse.config.rules import (
    check_export_to,
    check_labels,
    check_object_name,
    check_percentage,
    check_string_match,
    host_fault,
    is_label,
)
from pilothouse.config.schema import Percent, StringMatch


def codes(findings: object) -> list[str]:
    """The codes of some findings."""
    assert hasattr(findings, "__iter__")
    return [finding.code.code for finding in findings if isinstance(finding, Finding)]


@pytest.mark.parametrize(
    "host", ["a", "a.b", "A.B", "a-b.c", "reviews.service.consul", "example.com.", "1a.b", "a" * 63, "x.y.z1"]
)
def test_hosts_that_istio_accepts(host: str) -> None:
    assert host_fault(host, wildcard=False) == ""


@pytest.mark.parametrize(
    "host",
    ["", ".", "a..b", "-a.b", "a-.b", "a_b", "a b", "a:80", "a/b", "1.2.3.4", "a.5", "*", "*.a", "a" * 64, "é.b"],
)
def test_hosts_that_istio_refuses(host: str) -> None:
    assert host_fault(host, wildcard=False)


def test_a_wildcard_is_the_first_label_or_begins_it() -> None:
    assert [host_fault(host, wildcard=True) for host in ("*", "*.a.b", "*a.b", "*-a.b")] == [""] * 4
    assert all(host_fault(host, wildcard=True) for host in ("a.*", "a*.b", "*.*.b", "**.b", "*..b", "*_.b"))


def test_a_host_of_more_than_255_characters_is_refused() -> None:
    assert host_fault(".".join(["abc"] * 64), wildcard=False) == ""
    assert host_fault(".".join(["abc"] * 65), wildcard=False)


def test_labels_are_ascii() -> None:
    assert not is_label("é")
    assert not is_label("٣")


def test_label_keys_may_have_a_prefix_and_values_may_be_empty() -> None:
    assert codes(check_labels((), {"app.kubernetes.io/name": "a_b.c-d", "x": ""})) == []
    assert (
        codes(check_labels((), {"/x": "a", "a/b/c": "a", "": "a", "x" * 64: "a", "y": "a" * 64}))
        == ["invalid-name"] * 5
    )


def test_object_names_are_lower_case() -> None:
    assert codes(check_object_name((), "a.b-c")) == []
    assert codes(check_object_name((), "A")) == ["invalid-name"]


@pytest.mark.parametrize(("value", "good"), [(0, True), (0.0001, True), (100, True), (0.00009, False), (100.1, False)])
def test_percentages_have_a_finest_step(value: float, *, good: bool) -> None:
    assert (codes(check_percentage((), Percent(value=value))) == []) is good


def test_percentages_that_are_no_numbers_are_refused() -> None:
    assert codes(check_percentage((), Percent(value=float("nan")))) == ["out-of-range"]


def test_an_exact_empty_value_and_mere_presence_are_matches() -> None:
    assert codes(check_string_match((), StringMatch(exact=""))) == []
    assert codes(check_string_match((), StringMatch())) == []
    assert codes(check_string_match((), StringMatch(prefix=""))) == ["invalid-value"]
    assert codes(check_string_match((), StringMatch(prefix=""), empty_prefix=True)) == []


def test_the_own_namespace_is_the_same_as_a_dot() -> None:
    assert codes(check_export_to((), (".", "shop"), "shop")) == ["duplicate-entry"]
    assert codes(check_export_to((), (".", "office"), "shop")) == []
    assert codes(check_export_to((), ("~",), "shop", hidden=True)) == []

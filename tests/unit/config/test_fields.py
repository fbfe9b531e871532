"""proto JSON's other spellings, and the old ones of Istio."""

import pytest

from pilothouse.config.decode import decode_as
from pilothouse.config.destinationrule import DestinationRule, OutlierDetection
from pilothouse.config.virtualservice import Delay, HTTPRetry, HTTPRoute, VirtualService


@pytest.mark.parametrize("attempts", [3, "3", 3.0])
def test_integers_may_be_texts_and_whole_floats(attempts: object) -> None:
    typed = decode_as(HTTPRetry, {"attempts": attempts}, ())
    assert (typed.value.attempts, typed.findings) == (3, [])


@pytest.mark.parametrize("attempts", ["three", "3.0", 3.5, True, float("nan"), float("inf"), [3], {}])
def test_anything_else_is_no_integer(attempts: object) -> None:
    typed = decode_as(HTTPRetry, {"attempts": attempts}, ())
    assert [finding.code.code for finding in typed.findings] == ["wrong-type"]


def test_numbers_with_a_fraction_may_be_texts() -> None:
    typed = decode_as(Delay, {"percentage": {"value": "0.5"}}, ())
    assert typed.value.percentage is not None
    assert (typed.value.percentage.value, typed.findings) == (0.5, [])


def test_null_is_not_set() -> None:
    typed = decode_as(HTTPRoute, {"name": None, "match": None, "timeout": None, "headers": None}, ())
    assert (typed.value, typed.findings) == (HTTPRoute(), [])


def test_null_is_nothing_where_a_value_must_be() -> None:
    typed = decode_as(VirtualService, {"hosts": [None], "http": [None]}, ())
    assert [finding.path for finding in typed.findings] == [("hosts", 0), ("http", 0)]


def test_snake_case_and_camel_case_are_one_field() -> None:
    written = {"export_to": ["*"], "http": [{"direct_response": {"status": 200}, "stat_prefix": "x"}]}
    typed = decode_as(VirtualService, written, ())
    assert typed.value.export_to == ("*",)
    assert typed.renamed["export_to"] == "exportTo"
    assert typed.renamed["http[0].direct_response"] == "directResponse"
    assert [finding.path for finding in typed.findings] == [("http", 0, "stat_prefix")]


def test_keys_of_maps_are_never_renamed() -> None:
    typed = decode_as(DestinationRule, {"subsets": [{"traffic_policy": {}, "labels": {"my_label": "x"}}]}, ())
    assert typed.value.subsets[0].labels == {"my_label": "x"}


def test_a_percent_beside_a_percentage_is_ignored_with_a_warning() -> None:
    typed = decode_as(Delay, {"percent": 100, "percentage": {"value": 50}}, ())
    assert typed.value.percentage is not None
    assert typed.value.percentage.value == 50
    assert [finding.code.code for finding in typed.findings] == ["ignored-field"]


def test_old_header_fields_are_added_to_what_is_there_and_never_replace_it() -> None:
    written = {"appendHeaders": {"a": "b"}, "removeResponseHeaders": ["c"], "headers": {"request": {"set": {"d": "e"}}}}
    headers = decode_as(HTTPRoute, written, ()).value.headers
    assert headers is not None
    assert headers.request is not None
    assert headers.response is not None
    assert (headers.request.set_, headers.request.add) == ({"d": "e"}, {"a": "b"})
    assert headers.response.remove == ("c",)
    conflict = decode_as(HTTPRoute, {"appendHeaders": {"a": "b"}, "headers": 5}, ())
    assert sorted(finding.code.code for finding in conflict.findings) == ["conflicting-fields", "wrong-type"]


def test_rewriting_leaves_the_written_value_alone() -> None:
    headers = {"request": {"set": {"d": "e"}}}
    decode_as(HTTPRoute, {"appendHeaders": {"a": "b"}, "headers": headers}, ())
    assert headers == {"request": {"set": {"d": "e"}}}


def test_the_nested_detector_of_2018_may_be_in_snake_case_and_may_be_of_the_wrong_type() -> None:
    typed = decode_as(OutlierDetection, {"http": {"consecutive_errors": "7", "max_ejection_percent": 50}}, ())
    assert (typed.value.consecutive_5xx_errors, typed.value.max_ejection_percent) == (7, 50)
    wrong = decode_as(OutlierDetection, {"http": {"consecutiveErrors": "many"}}, ())
    assert "wrong-type" in [finding.code.code for finding in wrong.findings]
    assert "unknown-field" in [finding.code.code for finding in decode_as(OutlierDetection, {"http": 5}, ()).findings]

"""The door of the room: equal versions, neighbours, namespaces, marks, and nothing that makes it fail."""

from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from pilothouse.config.analyze import analyze
from pilothouse.config.decode import decode_documents, drop_duplicates
from pilothouse.config.destinationrule import DestinationRule, SimpleLB
from pilothouse.config.duration import decode_duration
from pilothouse.config.objects import ConfigKey
from pilothouse.config.virtualservice import VirtualService

CORPUS = Path(__file__).parents[2] / "corpus" / "config"
GOOD = """\
# reviews
apiVersion: networking.istio.io/VERSION
kind: VirtualService
metadata:
  name: reviews
  creationTimestamp: "2024-01-02T00:00:00Z"
  labels: {team: books, app: web}
spec:
  hosts: [reviews.service.mesh]
  http:
  - match:
    - headers:
        end-user: {exact: jason}
    route:
    - destination: {host: reviews.service.mesh, subset: v2, port: {number: 9080}}
    timeout: 1.5s
    retries: {attempts: 3, perTryTimeout: 300ms}
    fault: {delay: {fixedDelay: 2s, percentage: {value: 0.5}}}
  - route:
    - destination: {host: reviews.service.mesh, subset: v1}
"""
TWO = "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: NAME}\nspec: {host: a.b}\n"


def test_all_versions_of_a_kind_are_equal() -> None:
    specs = {
        version: decode_documents(GOOD.replace("VERSION", version), "x.yaml").objects[0]
        for version in ("v1", "v1beta1", "v1alpha3")
    }
    assert specs["v1"] == specs["v1beta1"] == specs["v1alpha3"]


def test_a_good_object_arrives_whole() -> None:
    decoded = decode_documents(GOOD.replace("VERSION", "v1"), "mesh.yaml", "shop")
    assert decoded.problems == ()
    (item,) = decoded.objects
    assert item.key == ConfigKey("VirtualService", "shop", "reviews")
    assert str(item.origin) == "mesh.yaml:2:1"
    assert item.origin.subject == "VirtualService shop/reviews"
    assert item.created == "2024-01-02T00:00:00Z"
    assert item.labels == (("app", "web"), ("team", "books"))
    assert isinstance(item.spec, VirtualService)
    first, second = item.spec.http
    assert first.timeout == decode_duration("1.5s")
    assert first.retries is not None
    assert first.retries.per_try_timeout == decode_duration("300ms")
    assert first.fault is not None
    assert first.fault.delay is not None
    assert first.fault.delay.percentage is not None
    assert first.fault.delay.percentage.per_million == 5000
    assert first.match[0].headers["end-user"].exact == "jason"
    assert second.timeout is None


def test_parts_know_their_lines() -> None:
    (item,) = decode_documents(GOOD.replace("VERSION", "v1"), "mesh.yaml").objects
    assert str(item.origin_at("spec.http[0]")) == "mesh.yaml:11:5"
    assert str(item.origin_at("spec.http[0].match[0]")) == "mesh.yaml:12:7"
    assert str(item.origin_at("spec.http[1].route[0].destination")) == "mesh.yaml:20:20"
    assert item.origin_at("spec.http[1]").subject == "VirtualService default/reviews"


def test_a_part_without_a_mark_has_the_place_of_what_is_around_it() -> None:
    (item,) = decode_documents(GOOD.replace("VERSION", "v1"), "mesh.yaml").objects
    assert item.origin_at("spec.http[0].timeout") == item.origin_at("spec.http[0]")
    assert item.origin_at("spec.http[7].timeout") == item.origin_at("spec.http")
    assert item.origin_at("nothing") == item.origin
    assert item.origin_at("") == item.origin


def test_parts_that_were_written_in_snake_case_have_marks_under_their_proper_names() -> None:
    text = GOOD.replace("VERSION", "v1").replace("    timeout: 1.5s", "    direct_response: {}\n    cors_policy: {}")
    text = text.replace("hosts: [reviews.service.mesh]", "hosts: [reviews.service.mesh]\n  export_to: ['*']")
    decoded = decode_documents(text, "mesh.yaml")
    assert [problem.path for problem in decoded.problems if problem.code.code == "field-not-served"] == [
        "spec.http[0].corsPolicy"
    ]
    kept = decode_documents(text.replace("    direct_response: {}\n    cors_policy: {}\n", ""), "mesh.yaml").objects[0]
    assert kept.marks["spec.exportTo"] == (10, 14)


def test_one_bad_object_hides_neither_its_neighbours_nor_its_own_other_faults() -> None:
    bad = TWO.replace("NAME", "bad").replace("spec: {", "spec: {colour: red, exportTo: 5, subsets: [{name: 'v 1'}], ")
    text = "---\n".join([TWO.replace("NAME", "first"), bad, TWO.replace("NAME", "last")])
    decoded = decode_documents(text, "x.yaml")
    assert [item.key.name for item in decoded.objects] == ["first", "last"]
    assert [problem.code.code for problem in decoded.problems] == ["unknown-field", "wrong-type", "invalid-name"]


def test_the_first_of_two_objects_with_one_name_counts_also_across_texts() -> None:
    one = decode_documents(TWO.replace("NAME", "same"), "one.yaml")
    two = decode_documents(TWO.replace("NAME", "same").replace("a.b", "c.d"), "two.yaml")
    both = drop_duplicates([*one.objects, *two.objects])
    assert both.objects == one.objects
    (problem,) = both.problems
    assert (problem.code.code, str(problem.origin)) == ("duplicate-object", "two.yaml:1:1")
    assert "one.yaml:1:1" in problem.message


def test_problems_are_in_the_order_of_their_places() -> None:
    for case in sorted(CORPUS.glob("*/input.yaml")):
        found = decode_documents(case.read_text(encoding="utf-8"), "x").problems
        places = [(problem.origin.line, problem.origin.column) for problem in found if hasattr(problem.origin, "line")]
        assert places == sorted(places), case


def test_many_warnings_do_not_hide_an_error_behind_them() -> None:
    routes = "".join("  - {match: [{uri: {prefix: /}}], route: [{destination: {host: a.b}}]}\n" for _ in range(150))
    late = "  - {match: [{uri: {exact: /x}}], route: [{destination: {host: a.b}, weight: -1}]}\n"
    text = GOOD.partition("  http:\n")[0].replace("VERSION", "v1") + "  http:\n" + routes
    assert [len(decode_documents(text + last, "x").objects) for last in ("", late)] == [1, 0]
    codes = [problem.code.code for problem in decode_documents(text + late, "x").problems]
    assert codes.count("route-unreachable") == 100
    assert "out-of-range" in codes
    assert "too-many-findings" in codes


def test_values_of_any_length_make_messages_of_bearable_length() -> None:
    decoded = decode_documents(TWO.replace("NAME", "a" * 100_000 + "!"), "x")
    assert all(len(str(problem)) < 2000 for problem in decoded.problems)


def test_the_nesting_of_2018_is_read_and_the_flat_field_is_ignored_as_istiod_does() -> None:
    text = TWO.replace("NAME", "a").replace("a.b", "a.b, trafficPolicy: {outlierDetection: POLICY}")
    nested = decode_documents(text.replace("POLICY", "{http: {consecutiveErrors: 1, interval: 1s}}"), "x")
    flat = decode_documents(text.replace("POLICY", "{consecutiveErrors: 1, interval: 1s}"), "x")
    counts = []
    for decoded in (nested, flat):
        spec = decoded.objects[0].spec
        assert isinstance(spec, DestinationRule)
        assert spec.traffic_policy is not None
        assert spec.traffic_policy.outlier_detection is not None
        assert spec.traffic_policy.outlier_detection.interval == decode_duration("1s")
        counts.append(spec.traffic_policy.outlier_detection.consecutive_5xx_errors)
    assert counts == [1, None]
    assert [problem.code.code for problem in nested.problems] == ["old-spelling"]
    assert [problem.code.code for problem in flat.problems] == ["ignored-field"]


def test_old_spellings_become_their_modern_counterparts() -> None:
    old = TWO.replace("NAME", "a").replace("a.b", "a.b, trafficPolicy: {loadBalancer: {simple: LEAST_CONN}}")
    spec = decode_documents(old, "x").objects[0].spec
    assert isinstance(spec, DestinationRule)
    assert spec.traffic_policy is not None
    assert spec.traffic_policy.load_balancer is not None
    assert spec.traffic_policy.load_balancer.simple is SimpleLB.LEAST_REQUEST


@given(st.text(max_size=200))
def test_no_text_makes_decoding_fail(text: str) -> None:
    decode_documents(text, "x")


SOURCES = [path.read_text(encoding="utf-8") for path in sorted(CORPUS.glob("*/input.yaml"))]
SCRAPS = ["", "~", "[]", "{}", "0", "-1", "1.5", ".nan", '""', "x", "true", "'*'", "&a", "*a", "<<: ", "\n", "  ", ": "]


@st.composite
def mutated(draw: st.DrawFn) -> str:
    """A text of the corpus with a few pieces replaced."""
    text = draw(st.sampled_from(SOURCES))
    for _ in range(draw(st.integers(min_value=1, max_value=4))):
        start = draw(st.integers(min_value=0, max_value=len(text)))
        end = start + draw(st.integers(min_value=0, max_value=12))
        text = text[:start] + draw(st.one_of(st.sampled_from(SCRAPS), st.text(max_size=3))) + text[end:]
    return text


@given(mutated())
@settings(max_examples=150, deadline=None)
def test_no_change_to_a_text_makes_decoding_or_analysis_fail(text: str) -> None:
    decoded = decode_documents(text, "x")
    analyze(decoded.objects, ("reviews.service.mesh", "a.b"))
    assert all(problem.message for problem in decoded.problems)


WORDS = st.sampled_from(["1s", "*", "/", "v1", "a.b"])
LEAVES = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), WORDS)
NAME_WORDS = (
    "hosts http match route destination host subset port number weight uri exact prefix regex headers timeout retries "
    "attempts fault delay abort percent percentage value trafficPolicy subsets name labels outlierDetection tcp simple "
    "connectionPool loadBalancer consistentHash servers selector endpoints address ports protocol resolution exportTo "
    "export_to gateways redirect rewrite directResponse mirror appendHeaders request set remove"
)
NAMES = st.sampled_from(NAME_WORDS.split())
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(NAMES, inner, max_size=4)),
    max_leaves=25,
)


@given(VALUES, st.sampled_from(["VirtualService", "DestinationRule", "Gateway", "ServiceEntry"]))
@settings(max_examples=150, deadline=None)
def test_no_value_in_the_place_of_a_spec_makes_decoding_fail(value: object, kind: str) -> None:
    document = {"apiVersion": "networking.istio.io/v1", "kind": kind, "metadata": {"name": "a"}, "spec": value}
    decoded = decode_documents(yaml.safe_dump(document, allow_unicode=True), "x")
    assert decoded.objects or decoded.problems


@pytest.mark.parametrize("value", ["5", "text", "[1]", "{name: 5}", "{name: {a: b}}", "{labels: {a: 1}}", "~"])
def test_metadata_of_any_shape_is_a_problem_and_not_an_exception(value: str) -> None:
    decoded = decode_documents(TWO.replace("{name: NAME}", value), "x")
    assert decoded.objects == ()
    assert decoded.problems

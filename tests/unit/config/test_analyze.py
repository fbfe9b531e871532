"""Findings across objects, beyond the words that the corpus pins."""

import pytest

from pilothouse.config.analyze import analyze, gateway_key
from pilothouse.config.analyze_conflicts import precedence
from pilothouse.config.analyze_regex import check_expression, matches_a_word_only, without_anchors
from pilothouse.config.decode import decode_documents

OBJECT = "apiVersion: networking.istio.io/v1\nkind: KIND\nmetadata: {name: NAME, namespace: NS}\nspec: SPEC\n---\n"
ROUTE = "http: [{route: [{destination: {host: HOST}}]}]"


def written(kind: str, name: str, spec: str, namespace: str = "default") -> str:
    """One document."""
    return OBJECT.replace("KIND", kind).replace("NAME", name).replace("NS", namespace).replace("SPEC", spec)


def findings(text: str, *hosts: str) -> list[tuple[str, str]]:
    """Code and path of each finding."""
    decoded = decode_documents(text, "x.yaml")
    assert [problem for problem in decoded.problems if problem.is_error] == []
    return [(problem.code.code, problem.path) for problem in analyze(decoded.objects, hosts)]


def test_short_names_mean_the_one_service_that_has_them() -> None:
    text = written("VirtualService", "a", f"{{hosts: [reviews], {ROUTE.replace('HOST', 'reviews')}}}", "shop")
    assert findings(text, "reviews.service.mesh") == []
    assert findings(text, "reviews.shop") == []
    assert {code for code, _ in findings(text, "reviews.shop", "reviews.service.mesh")} == {"ambiguous-host"}
    assert {code for code, _ in findings(text, "ratings.service.mesh")} == {"unknown-host"}


def test_hosts_of_a_gateways_virtual_service_are_not_services() -> None:
    text = written(
        "VirtualService", "a", f"{{hosts: [shop.example.com], gateways: [g], {ROUTE.replace('HOST', 'a.b')}}}"
    )
    assert findings(text, "a.b") == [("unknown-gateway", "spec.gateways[0]")]


def test_subsets_may_come_from_a_wildcard_rule_but_not_past_a_nearer_one() -> None:
    route = "http: [{route: [{destination: {host: a.b.c, subset: v1}}]}]"
    text = written("VirtualService", "a", f"{{hosts: [a.b.c], {route}}}")
    text += written("DestinationRule", "wide", '{host: "*.c", subsets: [{name: v1}]}')
    assert findings(text, "a.b.c") == []
    text += written("DestinationRule", "near", '{host: "*.b.c", subsets: [{name: v2}]}')
    assert findings(text, "a.b.c") == [("unknown-subset", "spec.http[0].route[0].destination.subset")]


def test_rules_for_one_host_share_their_subsets() -> None:
    route = (
        "http: [{route: [{destination: {host: a.b, subset: v1}, weight: 1}, {destination: {host: a.b, subset: v2}}]}]"
    )
    text = written("VirtualService", "a", f"{{hosts: [a.b], {route}}}")
    text += written("DestinationRule", "one", "{host: a.b, subsets: [{name: v1}]}")
    text += written("DestinationRule", "two", "{host: a.b, subsets: [{name: v2}]}")
    assert findings(text, "a.b") == []


def test_rules_of_different_namespaces_that_nobody_sees_together_do_not_conflict() -> None:
    spec = f"{{exportTo: ['.'], hosts: [a.b], {ROUTE.replace('HOST', 'a.b')}}}"
    apart = written("VirtualService", "a", spec, "one") + written("VirtualService", "a", spec, "two")
    assert findings(apart, "a.b") == []
    shared = apart + written("VirtualService", "a", spec.replace("'.'", "one, two"), "three")
    assert findings(shared, "a.b") == [("host-conflict", "spec.hosts[0]")]


def test_the_narrower_then_the_older_then_the_first_name_wins() -> None:
    spec = f"{{hosts: [a.b], {ROUTE.replace('HOST', 'a.b')}}}"
    text = "".join(written("VirtualService", name, spec) for name in ("c", "b"))
    text += written("VirtualService", "z", spec).replace("namespace", 'creationTimestamp: "2024", namespace')
    text += written("VirtualService", "y", spec.replace("{hosts", "{exportTo: ['.'], hosts"))
    ranked = sorted(decode_documents(text, "x").objects, key=precedence)
    assert [item.key.name for item in ranked] == ["y", "b", "c", "z"]


@pytest.mark.parametrize(
    ("reference", "key"),
    [
        ("front", ("shop", "front")),
        ("./front", ("shop", "front")),
        ("edge/front", ("edge", "front")),
        ("front.edge.svc.cluster.local", ("edge", "front")),
    ],
)
def test_references_to_gateways(reference: str, key: tuple[str, str]) -> None:
    assert gateway_key(reference, "shop") == key


def test_a_bound_gateway_is_not_named() -> None:
    gateway = "{selector: {a: b}, servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ['*']}]}"
    text = written("Gateway", "front", gateway, "edge")
    assert findings(text) == [("gateway-without-routes", "")]
    text += written("VirtualService", "a", f"{{hosts: ['*'], gateways: [edge/front], {ROUTE.replace('HOST', 'a.b')}}}")
    assert findings(text, "a.b") == []


@pytest.mark.parametrize(
    "expression", ["(iPod|iPhone|iPad)", "^iPhone$", "Mozilla/5[.]0", r"\*iPhone\+", "[+*]abc", "ab{2}"]
)
def test_expressions_of_words_only_match_whole_values_only(expression: str) -> None:
    assert matches_a_word_only(expression)


@pytest.mark.parametrize("expression", [".*iPhone.*", "curl/.*", "[a-z]+", "ab{2,}", "...", "5"])
def test_expressions_that_may_match_any_length_are_left_alone(expression: str) -> None:
    assert not matches_a_word_only(expression)


def test_the_whole_value_is_only_doubted_for_headers_that_are_long() -> None:
    assert list(check_expression((), "end-user", "jason|peter")) == []
    assert len(list(check_expression((), "user-agent", "jason|peter"))) == 1


def test_alternatives_are_kept_together_when_they_are_widened() -> None:
    assert without_anchors("^a|b$") == "(a|b)"
    assert without_anchors("(a|b)") == "(a|b)"
    assert without_anchors(r"a\|b[|]") == r"a\|b[|]"


def test_a_cookie_expression_that_allows_for_the_space_is_left_alone() -> None:
    assert list(check_expression((), "cookie", r"^(.*?;\s*)?(user=jason)(;.*)?$")) == []

"""What a matching route does."""

from typing import Any

import pytest
from envoy.extensions.filters.http.fault.v3 import fault_pb2
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.json_format import ParseDict

from pilothouse.simulate.comparing import CannotTell
from pilothouse.simulate.request import Request, request_for
from pilothouse.simulate.routing import decide
from pilothouse.simulate.verdict import (
    Answered,
    Faults,
    Forwarded,
    NoCluster,
    NoEndpoints,
    Outcome,
    Reached,
    Redirected,
    Retries,
    Share,
)
from pilothouse.xds.resource import Snapshot

from .support import a_cluster, a_route, a_snapshot, endpoints_of

ASKED = request_for("http://a:9080/old/x?y=1")
DNS = {
    "cluster_name": "dns",
    "endpoints": [
        {"lb_endpoints": [{"endpoint": {"address": {"socket_address": {"address": "d.example", "port_value": 80}}}}]}
    ],
}
LIVE = a_snapshot(
    clusters=(
        a_cluster("live"),
        a_cluster("sick"),
        a_cluster("unanswered"),
        a_cluster("dns", type="STRICT_DNS", load_assignment=DNS),
    ),
    endpoints=(endpoints_of("live", "HEALTHY", "UNHEALTHY", "UNKNOWN", "DRAINING"), endpoints_of("sick", "UNHEALTHY")),
)


def outcome(snapshot: Snapshot, asked: Request = ASKED, match: dict[str, Any] | None = None, **fields: Any) -> Outcome:
    return decide(snapshot, a_route(match, **fields), asked)[0]


def forwarded(**action: Any) -> Forwarded:
    found = outcome(LIVE, route={"cluster": "live", **action})
    assert isinstance(found, Forwarded)
    return found


def test_endpoints_are_those_that_receive_traffic() -> None:
    assert forwarded().shares == (Share(1, Reached("live", ("10.1.0.1:80", "10.1.0.3:80"))),)


def test_dns_cluster_carries_its_endpoints() -> None:
    found = outcome(LIVE, route={"cluster": "dns"})
    assert isinstance(found, Forwarded)
    assert found.shares == (Share(1, Reached("dns", ("d.example:80",))),)


def test_cluster_that_cannot_be_reached_is_the_outcome() -> None:
    assert outcome(LIVE, route={"cluster": "gone"}) == NoCluster("gone")
    assert outcome(LIVE, route={"cluster": "sick"}) == NoEndpoints("sick")
    assert outcome(LIVE, route={"cluster": "unanswered"}) == NoEndpoints("unanswered")


def test_split_returns_all_shares_and_a_step_for_each() -> None:
    split = [{"name": "live", "weight": 9}, {"name": "gone", "weight": 1, "host_rewrite_literal": "b"}]
    found, steps = decide(LIVE, a_route(route={"weighted_clusters": {"clusters": split}}), ASKED)
    assert isinstance(found, Forwarded)
    assert [(s.weight, type(s.target), s.authority) for s in found.shares] == [(9, Reached, ""), (1, NoCluster, "b")]
    assert [step.name for step in steps] == ["live", "gone"]


def test_timeout_is_envoys_default_unless_it_is_written() -> None:
    assert forwarded().timeout_ms == 15_000
    assert forwarded(timeout="0s").timeout_ms == 0
    assert forwarded(timeout="1.5s").timeout_ms == 1500


def test_retries_are_reported() -> None:
    assert forwarded().retries is None
    assert forwarded(retry_policy={"retry_on": "5xx"}).retries == Retries(1, "5xx")
    policy = {"retry_on": "reset", "num_retries": 3, "per_try_timeout": "0.25s"}
    assert forwarded(retry_policy=policy).retries == Retries(3, "reset", 250)


def test_rewrites_change_what_the_upstream_sees() -> None:
    found = forwarded(prefix_rewrite="/", host_rewrite_literal="b")
    assert (found.authority, found.path, found.rewritten) == ("b", "/old/x?y=1", True)
    assert not forwarded().rewritten


@pytest.mark.parametrize(
    ("match", "path"),
    [
        ({"prefix": "/old/"}, "/new/x?y=1"),
        ({"path": "/old/x"}, "/new/?y=1"),
        ({"safe_regex": {"regex": ".*"}}, "/new/?y=1"),
    ],
)
def test_rewrite_replaces_the_part_that_matched(match: dict[str, Any], path: str) -> None:
    found = outcome(LIVE, match=match, route={"cluster": "live", "prefix_rewrite": "/new/"})
    assert isinstance(found, Forwarded)
    assert found.path == path


def with_fault(cluster: str, **fault: Any) -> Outcome:
    packed = AnyMessage()
    packed.Pack(ParseDict(fault, fault_pb2.HTTPFault()))
    route = a_route(route={"cluster": cluster})
    route.typed_per_filter_config["envoy.filters.http.fault"].CopyFrom(packed)
    return decide(LIVE, route, ASKED)[0]


def test_faults_are_shares_of_a_million() -> None:
    found = with_fault(
        "live",
        delay={"fixed_delay": "2s", "percentage": {"numerator": 5}},
        abort={"http_status": 503, "percentage": {"numerator": 5, "denominator": "TEN_THOUSAND"}},
    )
    assert isinstance(found, Forwarded)
    assert found.faults == Faults(2000, 50_000, "503", 500)


def test_grpc_faults_are_named_as_such() -> None:
    found = with_fault("live", abort={"grpc_status": 14, "percentage": {"numerator": 1, "denominator": "MILLION"}})
    assert isinstance(found, Forwarded)
    assert found.faults == Faults(0, 0, "gRPC 14", 1)


def test_fault_comes_before_the_missing_cluster() -> None:
    found = with_fault("gone", abort={"http_status": 418, "percentage": {"numerator": 100}})
    assert isinstance(found, Forwarded)
    assert found.shares[0].target == NoCluster("gone")


def test_fault_for_nobody_is_none() -> None:
    assert with_fault("gone", abort={"http_status": 418}) == NoCluster("gone")


@pytest.mark.parametrize(
    ("redirect", "location"),
    [
        ({}, "http://a:9080/old/x?y=1"),
        ({"path_redirect": "/new"}, "http://a:9080/new?y=1"),
        ({"path_redirect": "/new?z=2"}, "http://a:9080/new?z=2"),
        ({"prefix_rewrite": "/n"}, "http://a:9080/nold/x?y=1"),
        ({"host_redirect": "b"}, "http://b/old/x?y=1"),
        ({"host_redirect": "b", "port_redirect": 81}, "http://b:81/old/x?y=1"),
        ({"scheme_redirect": "https", "port_redirect": 443}, "https://a:443/old/x?y=1"),
        ({"https_redirect": True}, "https://a:9080/old/x?y=1"),
    ],
)
def test_redirect_keeps_what_it_does_not_name(redirect: dict[str, Any], location: str) -> None:
    assert outcome(LIVE, redirect=redirect) == Redirected(301, location)


def test_default_port_goes_when_the_scheme_changes() -> None:
    asked = request_for("http://a:80/x")
    assert outcome(LIVE, asked, redirect={"https_redirect": True}) == Redirected(301, "https://a/x")
    assert outcome(LIVE, asked, redirect={"response_code": "FOUND"}) == Redirected(302, "http://a:80/x")


def test_direct_answers_are_text_or_bytes() -> None:
    assert outcome(LIVE, direct_response={"status": 204}) == Answered(204)
    assert outcome(LIVE, direct_response={"status": 503, "body": {"inline_string": "x"}}) == Answered(503, b"x")
    assert outcome(LIVE, direct_response={"status": 503, "body": {"inline_bytes": "/w=="}}) == Answered(503, b"\xff")


def test_actions_of_other_kinds_are_not_guessed_at() -> None:
    with pytest.raises(CannotTell, match="chosen by cluster_header"):
        outcome(LIVE, route={"cluster_header": "x"})
    route = a_route()
    route.non_forwarding_action.SetInParent()
    with pytest.raises(CannotTell, match="non_forwarding_action"):
        decide(LIVE, route, ASKED)

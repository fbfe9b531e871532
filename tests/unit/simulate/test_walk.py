"""A request through a whole snapshot, by hand-made messages and by the words of the domain."""

import pytest

from pilothouse.compiler.mesh import MeshCompiler
from pilothouse.simulate.request import Request, request_for
from pilothouse.simulate.verdict import NoListener, NoRoute, NoVirtualHost, Undecided
from pilothouse.simulate.walk import normalized, simulate_request
from tests.worlds import a_gateway, a_service, a_sidecar, a_workload, ask, compile_snapshot, world_of

from .support import AT, a_cluster, a_host, a_listener, a_route, a_snapshot, endpoints_of

TALK = """
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: reviews}
spec:
  host: reviews
  subsets:
  - {name: v1, labels: {version: v1}}
  - {name: v2, labels: {version: v2}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews}
spec:
  hosts: [reviews]
  http:
  - name: phones
    match: [{headers: {user-agent: {regex: ".*iPhone.*"}}}]
    route: [{destination: {host: reviews, subset: v2}}]
  - route: [{destination: {host: reviews, subset: v1}}]
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: edge}
spec:
  selector: {istio: ingressgateway}
  servers:
  - port: {number: 8080, name: http, protocol: HTTP}
    hosts: [shop.example.com]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: shop}
spec:
  hosts: [shop.example.com]
  gateways: [edge]
  http:
  - match: [{uri: {prefix: /reviews}}]
    route: [{destination: {host: reviews}}]
"""
WORLD = world_of(
    TALK, a_service("reviews").with_endpoints("v1", "v2"), workloads=[a_workload("reviews-v1", ("reviews", 9080))]
)
SIDECAR = compile_snapshot(WORLD, a_sidecar("reviews-v1"))
GATEWAY = compile_snapshot(WORLD, a_gateway())
URL = "http://reviews.service.mesh:9080/x"


@pytest.mark.parametrize(
    ("headers", "words"),
    [
        ({"User-Agent": "my iPhone"}, "subset v2 of reviews.service.mesh:9080"),
        ({"User-Agent": "curl"}, "subset v1 of reviews.service.mesh:9080"),
        ({}, "subset v1 of reviews.service.mesh:9080"),
    ],
)
def test_phones_see_v2_and_everybody_else_v1(headers: dict[str, str], words: str) -> None:
    assert str(ask(SIDECAR, request_for(URL, headers=headers))) == words


def test_verdict_is_the_same_for_state_of_the_world_streams() -> None:
    compiler = MeshCompiler()
    joined = compiler.sotw(SIDECAR)
    for url in (URL, "http://nobody/", "http://reviews.service.mesh/"):
        assert str(ask(joined, url)) == str(ask(SIDECAR, url))


def test_inbound_request_reaches_the_app() -> None:
    assert str(ask(SIDECAR, URL, ("127.0.1.1", 19080))) == "the app at 127.0.0.1:29080"


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://shop.example.com/reviews/1", "reviews.service.mesh:9080"),
        ("http://shop.example.com:8080/reviews", "reviews.service.mesh:9080"),
        ("http://shop.example.com/admin", "404: shop.example.com:8080 has no route for this request"),
        ("http://shop.example.com/reviews/../admin", "404: shop.example.com:8080 has no route for this request"),
        ("http://other.example.com/", "404: http.8080 has no virtual host for other.example.com"),
    ],
)
def test_gateway_answers_for_its_hosts(url: str, words: str) -> None:
    assert str(ask(GATEWAY, url, ("0.0.0.0", 8080))) == words


def test_steps_name_who_made_what() -> None:
    verdict = ask(SIDECAR, request_for(URL, headers={"user-agent": "iPhone"}))
    assert [(step.what, step.name) for step in verdict.steps] == [
        ("listener", "127.0.0.1_15001"),
        ("routes", "http_proxy"),
        ("virtual host", "reviews.service.mesh:9080"),
        ("route", "phones"),
        ("cluster", "outbound|9080|v2|reviews.service.mesh"),
    ]
    assert "input.yaml:18:13" in [str(origin) for origin in verdict.steps[3].origins]


def test_route_without_a_virtual_service_has_the_origins_of_its_host() -> None:
    plain = compile_snapshot(world_of("", a_service("reviews").with_endpoints("v1")), a_sidecar("productpage"))
    assert [str(o) for o in ask(plain, URL).steps[3].origins] == ["embedded: reviews.service.mesh"]


def test_nothing_listens_there() -> None:
    assert simulate_request(a_snapshot(), Request("a"), ("10.0.0.1", 81)).outcome == NoListener("10.0.0.1", 81)


def test_listener_waits_for_a_table_that_does_not_exist() -> None:
    outcome = simulate_request(a_snapshot(tables=()), Request("a"), AT).outcome
    assert outcome == NoListener("10.0.0.1", 80, waits_for="table")


def test_first_route_that_matches_counts() -> None:
    host = a_host(
        "h",
        "a",
        routes=(
            a_route({"prefix": "/x"}, direct_response={"status": 201}),
            a_route({"prefix": "/"}, direct_response={"status": 202}),
        ),
    )
    snapshot = a_snapshot(hosts=(host,))
    assert str(simulate_request(snapshot, Request("a", "/x"), AT)) == "201"
    assert str(simulate_request(snapshot, Request("a", "/y"), AT)) == "202"


def test_no_virtual_host_and_no_route_are_told_apart() -> None:
    snapshot = a_snapshot(hosts=(a_host("h", "a", routes=(a_route({"path": "/x"}),)),))
    assert simulate_request(snapshot, Request("b"), AT).outcome == NoVirtualHost("table", "b")
    assert simulate_request(snapshot, Request("a"), AT).outcome == NoRoute("h")


def test_what_is_not_known_is_said_and_the_steps_so_far_are_kept() -> None:
    snapshot = a_snapshot(hosts=(a_host("h", "a", routes=(a_route({"prefix": "/", "grpc": {}}),)),))
    verdict = simulate_request(snapshot, Request("a"), AT)
    assert verdict.outcome == Undecided("the simulation does not know routes that ask for grpc")
    assert [step.what for step in verdict.steps] == ["listener", "routes", "virtual host"]


def test_path_stays_as_it_is_unless_the_listener_normalises_it() -> None:
    host = a_host("h", "a", routes=(a_route({"path": "/b"}, route={"cluster": "c"}),))
    parts = {"hosts": (host,), "clusters": (a_cluster("c"),), "endpoints": (endpoints_of("c", "HEALTHY"),)}
    rds = {"route_config_name": "table", "config_source": {"ads": {}}}
    plain = a_snapshot(**parts)
    normal = a_snapshot(**parts, listeners=(a_listener(rds=rds, normalize_path=True),))
    assert isinstance(simulate_request(plain, Request("a", "/x/../b"), AT).outcome, NoRoute)
    assert str(simulate_request(normal, Request("a", "/x/../b"), AT)) == "c, within 15s"


@pytest.mark.parametrize(
    ("path", "normal"),
    [
        ("/a/./b", "/a/b"),
        ("/a/../b", "/b"),
        ("/../b", "/b"),
        ("/a/..", "/"),
        ("/a/.", "/a/"),
        ("/a//b", "/a//b"),
        ("/a\\b", "/a/b"),
        ("/%7Ea%2Fb%zz%", "/~a%2Fb%zz%"),
        ("/a?x=/../y", "/a?x=/../y"),
        ("/", "/"),
    ],
)
def test_path_is_normalised_as_envoy_does(path: str, normal: str) -> None:
    assert normalized(path) == normal

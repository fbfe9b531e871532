"""What a node announces, and what is turned away."""

import math

import pytest

from pilothouse.model.node import decode_node
from pilothouse.model.proxy import CaptureMode, Place, Role
from pilothouse.model.service import Locality

NODE = "sidecar~10.0.0.1~reviews-v1.shop~shop.svc.cluster.local"


def test_a_node_id_in_istios_format_is_read() -> None:
    proxy = decode_node(NODE, {})
    assert (proxy.id, proxy.role, proxy.address) == (NODE, Role.SIDECAR, "10.0.0.1")
    assert (proxy.name, proxy.namespace) == ("reviews-v1", "shop")
    assert proxy.capture is CaptureMode.REDIRECT
    assert proxy.http_proxy_port == 0


def test_metadata_wins_over_the_id() -> None:
    proxy = decode_node(
        NODE,
        {
            "NAME": "other",
            "NAMESPACE": "prod",
            "INSTANCE_IPS": "10.0.0.7,fe80::1",
            "LABELS": {"version": "v1", "app": "reviews"},
            "INTERCEPTION_MODE": "NONE",
            "HTTP_PROXY_PORT": "15081",
            "NETWORK": "east",
            "PILOTHOUSE_WORKLOAD_ID": "w1",
            "PILOTHOUSE_HTTP_PROXY_ADDRESS": "127.0.0.9",
        },
        user_agent_version="1.40.0",
    )
    assert (proxy.name, proxy.namespace, proxy.address) == ("other", "prod", "10.0.0.7")
    assert proxy.labels == (("app", "reviews"), ("version", "v1"))
    assert (proxy.capture, proxy.http_proxy_port, proxy.http_proxy_address) == (CaptureMode.NONE, 15081, "127.0.0.9")
    assert (proxy.network, proxy.workload_id, proxy.envoy_version) == ("east", "w1", "1.40.0")


def test_a_name_with_dots_keeps_them() -> None:
    proxy = decode_node("router~10.0.0.1~edge.a.b.shop~x", {})
    assert (proxy.role, proxy.name, proxy.namespace) == (Role.GATEWAY, "edge.a.b", "shop")


def test_a_name_without_a_namespace_lives_in_default() -> None:
    proxy = decode_node("sidecar~10.0.0.1~reviews~x", {})
    assert (proxy.name, proxy.namespace) == ("reviews", "default")


def test_an_address_may_come_from_metadata_alone() -> None:
    assert decode_node("sidecar~~a.b~x", {"INSTANCE_IPS": "2001:db8::1"}).address == "2001:db8::1"


def test_the_place_comes_from_labels_before_the_nodes_own_locality() -> None:
    announced = Locality("r0", "z0")
    assert decode_node(NODE, {}, announced).locality == announced
    istio = {"LABELS": {"istio-locality": "r1.z1.s1"}}
    assert decode_node(NODE, istio, announced).locality == Locality("r1", "z1", "s1")
    topology = {"LABELS": {"topology.kubernetes.io/region": "r2", "topology.kubernetes.io/zone": "z2"}}
    assert decode_node(NODE, topology, announced).locality == Locality("r2", "z2")


def test_a_port_may_be_the_float_that_protobuf_makes_of_a_number() -> None:
    assert decode_node(NODE, {"HTTP_PROXY_PORT": 15081.0}).http_proxy_port == 15081


@pytest.mark.parametrize(
    ("node_id", "reason"),
    [
        ("", "expected TYPE~IP~NAME.NAMESPACE~DOMAIN"),
        ("envoy-1", "found 1 part"),
        ("ztunnel~10.0.0.1~a.b~x", "'ztunnel' is not served"),
        ("sidecar~10.0.0.1~~x", "the name is empty"),
        ("sidecar~nowhere~a.b~x", "is an IP address"),
        ("sidecar~10.0.0.1~" + "a" * 1024 + "~x", "longer than 1024"),
    ],
)
def test_a_malformed_id_is_named(node_id: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        decode_node(node_id, {})


@pytest.mark.parametrize(
    ("metadata", "key"),
    [
        ({"NAMESPACE": 7.0}, "NAMESPACE"),
        ({"LABELS": "version=v1"}, "LABELS"),
        ({"LABELS": {"version": 1.0}}, "LABELS"),
        ({"INTERCEPTION_MODE": "MAYBE"}, "INTERCEPTION_MODE"),
        ({"HTTP_PROXY_PORT": 70000.0}, "HTTP_PROXY_PORT"),
        ({"HTTP_PROXY_PORT": 0.5}, "HTTP_PROXY_PORT"),
        ({"HTTP_PROXY_PORT": math.nan}, "HTTP_PROXY_PORT"),
        ({"HTTP_PROXY_PORT": math.inf}, "HTTP_PROXY_PORT"),
        ({"HTTP_PROXY_PORT": "many"}, "HTTP_PROXY_PORT"),
        ({"HTTP_PROXY_PORT": {}}, "HTTP_PROXY_PORT"),
        ({"PILOTHOUSE_HTTP_PROXY_ADDRESS": "localhost"}, "PILOTHOUSE_HTTP_PROXY_ADDRESS"),
    ],
)
def test_malformed_metadata_is_named_by_its_key(metadata: dict[str, object], key: str) -> None:
    with pytest.raises(ValueError, match=key):
        decode_node(NODE, metadata)


def test_what_our_agent_announces_is_read() -> None:
    proxy = decode_node(
        NODE,
        {
            "PILOTHOUSE_TCP": "db.service.mesh:5432=127.0.0.1:5432, Cache.service.mesh:6379=[::1]:6379",
            "PILOTHOUSE_TUNNELS": "true",
            "PILOTHOUSE_GUARDED": "10.0.0.1:15000,[2001:db8::1]:15010",
        },
    )
    assert [str(bind) for bind in proxy.tcp] == [
        "cache.service.mesh:6379=[::1]:6379",
        "db.service.mesh:5432=127.0.0.1:5432",
    ]
    assert proxy.tunnels
    assert proxy.guarded == (Place("10.0.0.1", 15000), Place("2001:db8::1", 15010))


@pytest.mark.parametrize(
    "text",
    ["db:5432", "db:5432=10.0.0.1:5432", "=127.0.0.1:1", "db=127.0.0.1:1", "db:x=127.0.0.1:1", "db:1=127.0.0.1:70000"],
)
def test_a_tcp_listener_that_cannot_be_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="metadata PILOTHOUSE_TCP"):
        decode_node(NODE, {"PILOTHOUSE_TCP": text})


def test_two_tcp_listeners_on_one_place_are_refused() -> None:
    with pytest.raises(ValueError, match=r"127\.0\.0\.1:1 is asked for twice"):
        decode_node(NODE, {"PILOTHOUSE_TCP": "a:1=127.0.0.1:1,b:1=127.0.0.1:1"})

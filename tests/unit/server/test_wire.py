"""Bytes joined by hand are what protobuf reads, and requests become values."""

import pytest
from envoy.service.discovery.v3 import discovery_pb2
from hypothesis import given
from hypothesis import strategies as st

from pilothouse.model.service import Locality
from pilothouse.server.wire import (
    decode_delta_request,
    decode_proxy,
    decode_sotw_request,
    delta_headings,
    encode_delta_response,
    encode_sotw_response,
    sotw_headings,
)
from pilothouse.xds.protocol import DeltaRequest, DeltaResponse, SotwRequest, SotwResponse
from pilothouse.xds.resource import CLUSTER, Resource

from .support import NODE

resources = st.lists(
    st.builds(Resource, st.text(max_size=200), st.text(max_size=20), st.binary(max_size=40_000)), max_size=4
)


@given(resources, st.text(max_size=30), st.lists(st.text(min_size=1, max_size=150), max_size=3))
def test_a_delta_response_reads_back(found: list[Resource], nonce: str, removed: list[str]) -> None:
    body = encode_delta_response(DeltaResponse(CLUSTER, nonce, tuple(found), tuple(removed)), delta_headings())
    message = discovery_pb2.DeltaDiscoveryResponse.FromString(body)
    assert (message.type_url, message.nonce, list(message.removed_resources)) == (CLUSTER, nonce, removed)
    assert [(r.name, r.version, r.resource.value) for r in message.resources] == [
        (r.name, r.version, r.body) for r in found
    ]
    assert all(r.resource.type_url == CLUSTER for r in message.resources)


@given(resources, st.text(max_size=30))
def test_a_state_of_the_world_response_reads_back(found: list[Resource], version: str) -> None:
    body = encode_sotw_response(SotwResponse(CLUSTER, "n1", version, tuple(found)), sotw_headings())
    message = discovery_pb2.DiscoveryResponse.FromString(body)
    assert (message.type_url, message.nonce, message.version_info) == (CLUSTER, "n1", version)
    assert [(r.type_url, r.value) for r in message.resources] == [(CLUSTER, r.body) for r in found]


def test_the_bytes_before_a_body_are_made_once_for_all_streams() -> None:
    headings, shared = delta_headings(), Resource("a", "1", b"x")
    for nonce in ("n1", "n2", "n3"):
        encode_delta_response(DeltaResponse(CLUSTER, nonce, (shared,)), headings)
    assert headings.made == 1


def test_headings_that_nobody_used_for_two_turns_are_forgotten() -> None:
    headings, kept, gone = delta_headings(), Resource("kept", "1", b"x"), Resource("gone", "1", b"x")
    headings.heading(CLUSTER, kept)
    headings.heading(CLUSTER, gone)
    for _ in range(2):
        headings.turn()
        headings.heading(CLUSTER, kept)
    assert (len(headings), headings.made) == (1, 2)


def test_a_delta_request_becomes_a_value() -> None:
    message = discovery_pb2.DeltaDiscoveryRequest(
        type_url=CLUSTER,
        resource_names_subscribe=["a"],
        resource_names_unsubscribe=["b"],
        initial_resource_versions={"c": "1"},
        response_nonce="n1",
    )
    assert decode_delta_request(message) == DeltaRequest(CLUSTER, ("a",), ("b",), {"c": "1"}, "n1", None)
    message.error_detail.message = "no"
    assert decode_delta_request(message).error == "no"


def test_a_refusal_without_a_text_is_still_a_refusal() -> None:
    message = discovery_pb2.DiscoveryRequest(
        type_url=CLUSTER, resource_names=["a"], version_info="1", response_nonce="n"
    )
    assert decode_sotw_request(message) == SotwRequest(CLUSTER, ("a",), "1", "n", None)
    message.error_detail.code = 3
    assert decode_sotw_request(message).error == ""


def test_a_node_becomes_a_proxy_with_its_metadata_place_and_version() -> None:
    node = discovery_pb2.DeltaDiscoveryRequest().node
    node.id = NODE
    node.locality.region, node.locality.zone = "r", "z"
    node.metadata["NAMESPACE"] = "shop"
    node.metadata["LABELS"] = {"version": "v1"}
    node.metadata["HTTP_PROXY_PORT"] = 15081
    proxy = decode_proxy(node)
    assert (proxy.namespace, proxy.labels, proxy.http_proxy_port) == ("shop", (("version", "v1"),), 15081)
    assert (proxy.locality, proxy.envoy_version) == (Locality("r", "z"), "")
    node.user_agent_build_version.version.major_number = 1
    node.user_agent_build_version.version.minor_number = 40
    assert decode_proxy(node).envoy_version == "1.40.0"


def test_a_node_larger_than_any_real_one_is_turned_away() -> None:
    node = discovery_pb2.DeltaDiscoveryRequest().node
    node.id = NODE
    node.metadata["NOISE"] = "x" * 70_000
    with pytest.raises(ValueError, match="larger than 64 KiB"):
        decode_proxy(node)

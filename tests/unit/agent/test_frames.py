"""Heads of frames against protobuf's own reading of the same bytes."""

import pytest
from envoy.service.discovery.v3 import discovery_pb2
from google.protobuf import any_pb2
from hypothesis import given
from hypothesis import strategies as st

from pilothouse.agent.frames import DOUBTED, decode_request, decode_response, doubt_versions, encode_response
from pilothouse.xds.framing import MalformedFrame
from pilothouse.xds.protocol import DeltaRequest, DeltaResponse
from pilothouse.xds.resource import CLUSTER, Resource

TEXTS = st.text(st.characters(codec="utf-8"), max_size=12)
NAMES = st.lists(TEXTS.filter(bool), max_size=4)
VERSIONS = st.dictionaries(TEXTS, TEXTS, max_size=4)


def a_request(type_url: str = CLUSTER, **fields: object) -> discovery_pb2.DeltaDiscoveryRequest:
    request = discovery_pb2.DeltaDiscoveryRequest(type_url=type_url, **fields)
    request.node.id = "sidecar~127.0.0.1~a.default~default.service.mesh"
    return request


@given(TEXTS, NAMES, NAMES, VERSIONS, TEXTS, TEXTS | st.none())
def test_a_request_is_read_as_protobuf_reads_it(
    type_url: str, subscribe: list[str], unsubscribe: list[str], versions: dict[str, str], nonce: str, error: str | None
) -> None:
    message = a_request(
        type_url,
        resource_names_subscribe=subscribe,
        resource_names_unsubscribe=unsubscribe,
        initial_resource_versions=versions,
        response_nonce=nonce,
    )
    if error is not None:
        message.error_detail.code = 13
        message.error_detail.message = error
    assert decode_request(message.SerializeToString()) == DeltaRequest(
        type_url, tuple(subscribe), tuple(unsubscribe), versions, nonce, error
    )


@given(st.lists(st.tuples(TEXTS, TEXTS, st.binary(max_size=40)), max_size=5), NAMES, TEXTS)
def test_a_response_is_read_and_written_as_protobuf_does(
    resources: list[tuple[str, str, bytes]], removed: list[str], nonce: str
) -> None:
    message = discovery_pb2.DeltaDiscoveryResponse(
        type_url=CLUSTER,
        nonce=nonce,
        system_version_info="ignored",
        removed_resources=removed,
        resources=[
            discovery_pb2.Resource(name=n, version=v, resource=any_pb2.Any(type_url=CLUSTER, value=body))
            for n, v, body in resources
        ],
    )
    expected = DeltaResponse(CLUSTER, nonce, tuple(Resource(n, v, body) for n, v, body in resources), tuple(removed))
    assert decode_response(message.SerializeToString()) == expected
    message.system_version_info = ""
    assert discovery_pb2.DeltaDiscoveryResponse.FromString(encode_response(expected)) == message


def test_doubted_versions_are_replaced_and_all_else_stays() -> None:
    message = a_request(initial_resource_versions={"a": "1", "b": "2"}, resource_names_subscribe=["*"])
    doubted = discovery_pb2.DeltaDiscoveryRequest.FromString(doubt_versions(message.SerializeToString(), {"b"}))
    assert dict(doubted.initial_resource_versions) == {"a": "1", "b": DOUBTED}
    message.initial_resource_versions["b"] = DOUBTED
    assert doubted == message


@given(st.binary(max_size=80))
def test_no_bytes_make_the_scan_fail_otherwise(frame: bytes) -> None:
    for decode in (decode_request, decode_response):
        try:
            decode(frame)
        except MalformedFrame:
            continue


def test_a_text_that_is_not_utf_8_is_malformed() -> None:
    with pytest.raises(MalformedFrame, match="not UTF-8"):
        decode_request(b"\x12\x02\xff\xfe")

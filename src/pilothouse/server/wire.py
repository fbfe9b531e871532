"""Between protobuf and the stream machines: requests are read into values, responses are joined from shared bytes.

A response is a join of length-delimited fields (ecosystem §1.3): the bodies of resources are never copied into
messages, and the few bytes before each body are made once for all proxies. It knows the discovery messages only.
"""

from collections.abc import Callable
from typing import Final

from envoy.config.core.v3 import base_pb2
from envoy.service.discovery.v3 import discovery_pb2
from google.protobuf import json_format

from pilothouse.model.node import decode_node
from pilothouse.model.proxy import Proxy
from pilothouse.model.service import Locality
from pilothouse.xds.framing import delta_heading, sotw_heading, text_field
from pilothouse.xds.protocol import DeltaRequest, DeltaResponse, SotwRequest, SotwResponse
from pilothouse.xds.resource import Resource

MOST_NODE_BYTES: Final = 64 * 1024
"""Istio's metadata stays below a tenth of this."""


def decode_delta_request(message: discovery_pb2.DeltaDiscoveryRequest) -> DeltaRequest:
    """The request without its node."""
    return DeltaRequest(
        type_url=message.type_url,
        subscribe=tuple(message.resource_names_subscribe),
        unsubscribe=tuple(message.resource_names_unsubscribe),
        initial_versions=dict(message.initial_resource_versions),
        nonce=message.response_nonce,
        error=message.error_detail.message if message.HasField("error_detail") else None,
    )


def decode_sotw_request(message: discovery_pb2.DiscoveryRequest) -> SotwRequest:
    """The request without its node."""
    return SotwRequest(
        type_url=message.type_url,
        names=tuple(message.resource_names),
        version=message.version_info,
        nonce=message.response_nonce,
        error=message.error_detail.message if message.HasField("error_detail") else None,
    )


def decode_proxy(node: base_pb2.Node) -> Proxy:
    """The proxy that this node is. Raises ValueError with a text for the proxy's operator."""
    if node.ByteSize() > MOST_NODE_BYTES:
        raise ValueError(f"node: larger than {MOST_NODE_BYTES // 1024} KiB")
    place = node.locality
    version = node.user_agent_version
    if not version and node.HasField("user_agent_build_version"):
        number = node.user_agent_build_version.version
        version = f"{number.major_number}.{number.minor_number}.{number.patch}"
    metadata = json_format.MessageToDict(node.metadata) if node.HasField("metadata") else {}
    return decode_node(node.id, metadata, Locality(place.region, place.zone, place.sub_zone), version)


class Headings:
    """The bytes that stand before each resource's body in a response, made once and shared by all streams.

    Keyed by the resource object. ``turn`` forgets what was not used since the last ``turn``: the pipeline calls it
    once per publication, so the memory is bounded by what two publications send.
    """

    def __init__(self, encode: Callable[[str, Resource], bytes]) -> None:
        self._encode = encode
        self._young: dict[int, tuple[Resource, bytes]] = {}
        self._old: dict[int, tuple[Resource, bytes]] = {}
        self.made = 0

    def heading(self, type_url: str, resource: Resource) -> bytes:
        """What precedes the body of this resource; the resource has one type for all its life."""
        slot = id(resource)
        known = self._young.get(slot) or self._old.get(slot)
        if known is None:
            self.made += 1
            known = (resource, self._encode(type_url, resource))
        self._young[slot] = known
        return known[1]

    def turn(self) -> None:
        """Forget what was not used since the last turn."""
        self._old, self._young = self._young, {}

    def __len__(self) -> int:
        return len(self._young.keys() | self._old.keys())


def delta_headings() -> Headings:
    """Headings for delta responses, where each resource travels in an envelope with its name and version."""
    return Headings(delta_heading)


def sotw_headings() -> Headings:
    """Headings for state-of-the-world responses, where each resource is a bare Any."""
    return Headings(sotw_heading)


def encode_delta_response(response: DeltaResponse, headings: Headings) -> bytes:
    """A DeltaDiscoveryResponse."""
    parts: list[bytes] = []
    for resource in response.resources:
        parts += (headings.heading(response.type_url, resource), resource.body)
    parts.append(text_field(4, response.type_url))
    parts.append(text_field(5, response.nonce))
    parts += (text_field(6, name) for name in response.removed)
    return b"".join(parts)


def encode_sotw_response(response: SotwResponse, headings: Headings) -> bytes:
    """A DiscoveryResponse."""
    parts = [text_field(1, response.version)]
    for resource in response.resources:
        parts += (headings.heading(response.type_url, resource), resource.body)
    parts.append(text_field(4, response.type_url))
    parts.append(text_field(5, response.nonce))
    return b"".join(parts)

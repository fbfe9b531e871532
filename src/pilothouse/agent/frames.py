"""What a frame on its way between Envoy and the control plane says in its head, without a look into resources.

Pure. The relay asks it which type, nonce, names and versions pass; bodies stay bytes. A frame that cannot be read is
``MalformedFrame``: the relay passes it on all the same, because judging it is the receiver's business.
Field numbers: ``envoy/service/discovery/v3/discovery.proto``.
"""

from collections.abc import Collection
from typing import Final

from pilothouse.xds.framing import MalformedFrame, bytes_field, delta_heading, scan, text_field
from pilothouse.xds.protocol import DeltaRequest, DeltaResponse
from pilothouse.xds.resource import Resource

DOUBTED: Final = "unknown-to-the-relay"
"""Stands for the version of a resource that Envoy holds and the relay does not: the control plane sends it again."""


def decode_request(frame: bytes) -> DeltaRequest:
    """A DeltaDiscoveryRequest without its node. Raises ``MalformedFrame``."""
    type_url, nonce = "", ""
    error: str | None = None
    subscribe: list[str] = []
    unsubscribe: list[str] = []
    versions: dict[str, str] = {}
    for number, _, start, end in scan(frame):
        if number == 2:
            type_url = _text(frame, start, end)
        elif number == 3:
            subscribe.append(_text(frame, start, end))
        elif number == 4:
            unsubscribe.append(_text(frame, start, end))
        elif number == 5:
            name, version = _entry(frame, start, end)
            versions[name] = version
        elif number == 6:
            nonce = _text(frame, start, end)
        elif number == 7:
            error = _entry(frame, start, end)[1]
    return DeltaRequest(type_url, tuple(subscribe), tuple(unsubscribe), versions, nonce, error)


def response_key(frame: bytes) -> tuple[str, str]:
    """Type URL and nonce of a DeltaDiscoveryResponse: all that has to be known before it may pass.

    Raises ``MalformedFrame``.
    """
    texts = {number: _text(frame, start, end) for number, _, start, end in scan(frame) if number in (4, 5)}
    return texts.get(4, ""), texts.get(5, "")


def decode_response(frame: bytes) -> DeltaResponse:
    """A DeltaDiscoveryResponse; the bodies are copied out, not opened. Raises ``MalformedFrame``."""
    type_url, nonce = "", ""
    resources: list[Resource] = []
    removed: list[str] = []
    for number, _, start, end in scan(frame):
        if number == 2:
            resources.append(_resource(frame, start, end))
        elif number == 4:
            type_url = _text(frame, start, end)
        elif number == 5:
            nonce = _text(frame, start, end)
        elif number == 6:
            removed.append(_text(frame, start, end))
    return DeltaResponse(type_url, nonce, tuple(resources), tuple(removed))


def encode_response(response: DeltaResponse) -> bytes:
    """A DeltaDiscoveryResponse, the same bytes that the control plane would join."""
    parts: list[bytes] = []
    for resource in response.resources:
        parts += (delta_heading(response.type_url, resource), resource.body)
    parts += (text_field(4, response.type_url), text_field(5, response.nonce))
    parts += (text_field(6, name) for name in response.removed)
    return b"".join(parts)


def doubt_versions(frame: bytes, names: Collection[str]) -> bytes:
    """The request with ``DOUBTED`` as the version of these names in ``initial_resource_versions``.

    The names stay, so that the control plane still says which of them are gone.
    """
    parts: list[bytes] = []
    for number, begin, start, end in scan(frame):
        if number == 5 and (name := _entry(frame, start, end)[0]) in names:
            parts.append(bytes_field(5, text_field(1, name) + text_field(2, DOUBTED)))
        else:
            parts.append(frame[begin:end])
    return b"".join(parts)


def _resource(frame: bytes, start: int, end: int) -> Resource:
    """Name (3), version (1) and the value of the Any (2) of a Resource."""
    name = version = ""
    body = b""
    for number, _, at, ends in scan(frame, start, end):
        if number == 1:
            version = _text(frame, at, ends)
        elif number == 2:
            body = next((frame[a:z] for inner, _, a, z in scan(frame, at, ends) if inner == 2), b"")
        elif number == 3:
            name = _text(frame, at, ends)
    return Resource(name, version, body)


def _entry(frame: bytes, start: int, end: int) -> tuple[str, str]:
    """Fields 1 and 2 as texts: an entry of a map; of a google.rpc.Status the second is its message."""
    texts = {number: (at, ends) for number, _, at, ends in scan(frame, start, end) if number in (1, 2)}
    nothing = (start, start)
    return _text(frame, *texts.get(1, nothing)), _text(frame, *texts.get(2, nothing))


def _text(frame: bytes, start: int, end: int) -> str:
    try:
        return frame[start:end].decode()
    except UnicodeDecodeError as error:
        raise MalformedFrame(f"a text at byte {start} is not UTF-8") from error

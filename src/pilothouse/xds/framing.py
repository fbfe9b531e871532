"""Protobuf's wire format, as far as discovery needs it: length-delimited fields around bytes that nobody opens.

For the server, which joins responses from shared bodies, and for an agent's relay, which reads the heads of frames
as they pass. Knows field numbers of the discovery messages and of no resource (ecosystem §1.3).
"""

from collections.abc import Iterator
from typing import Final, TypeAlias

from pilothouse.xds.resource import Resource

Field: TypeAlias = tuple[int, int, int, int]
"""Field number, where the field begins (its tag), where its value begins, where both end."""

_DELIMITED: Final = 2
_FIXED: Final = {1: 8, 5: 4}
_LONGEST_VARINT: Final = 10


class MalformedFrame(ValueError):
    """Bytes that are not a protobuf message."""


def scan(frame: bytes, start: int = 0, end: int | None = None) -> Iterator[Field]:
    """The length-delimited fields between ``start`` and ``end``; others are skipped. Raises ``MalformedFrame``."""
    end = len(frame) if end is None else end
    at = start
    while at < end:
        begins = at
        tag, at = _read_varint(frame, at, end)
        kind = tag & 7
        if kind == _DELIMITED:
            length, at = _read_varint(frame, at, end)
            value, at = at, at + length
            if at > end:
                raise MalformedFrame(f"a field of {length} bytes does not fit at byte {begins}")
            yield tag >> 3, begins, value, at
        elif kind == 0:
            _, at = _read_varint(frame, at, end)
        elif kind in _FIXED:
            at += _FIXED[kind]
        else:
            raise MalformedFrame(f"wire type {kind} at byte {begins}")
    if at > end:
        raise MalformedFrame("a number is cut off")


def _read_varint(frame: bytes, at: int, end: int) -> tuple[int, int]:
    value = shift = 0
    for position in range(at, min(end, at + _LONGEST_VARINT)):
        byte = frame[position]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position + 1
        shift += 7
    raise MalformedFrame(f"no number at byte {at}")


def text_field(number: int, text: str) -> bytes:
    """A text field; nothing for an empty text, as in protobuf."""
    return bytes_field(number, text.encode()) if text else b""


def bytes_field(number: int, body: bytes) -> bytes:
    """A length-delimited field."""
    return varint(number << 3 | _DELIMITED) + varint(len(body)) + body


def varint(value: int) -> bytes:
    """Base-128, least significant group first."""
    groups = bytearray()
    while value > 0x7F:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    groups.append(value)
    return bytes(groups)


def sotw_heading(type_url: str, resource: Resource) -> bytes:
    """``resources`` (field 2): an Any that holds the body."""
    return _nested(2, _any_heading(type_url, resource), len(resource.body))


def delta_heading(type_url: str, resource: Resource) -> bytes:
    """``resources`` (field 2): a Resource with version (1), the Any (2) and the name (3), of which the Any is last.

    Protobuf readers accept fields in any order; the body must come last so that it is not copied.
    """
    before = text_field(3, resource.name) + text_field(1, resource.version)
    packed = _nested(2, _any_heading(type_url, resource), len(resource.body))
    return _nested(2, before + packed, len(resource.body))


def _any_heading(type_url: str, resource: Resource) -> bytes:
    """The type URL (1) of an Any, and the tag and length of its value (2)."""
    value = b"\x12" + varint(len(resource.body)) if resource.body else b""
    return text_field(1, type_url) + value


def _nested(number: int, head: bytes, rest: int) -> bytes:
    """Tag and length of a message of ``head`` and ``rest`` further bytes, then ``head``."""
    return bytes((number << 3 | _DELIMITED,)) + varint(len(head) + rest) + head

"""The file under ``last_good``: how it is laid out, how it is replaced whole, how one that is broken is set aside.

A line that names the format, a digest of all that follows, then MessagePack. Whatever does not fit is ``Unusable``
with a reason for the operator. Synchronous, and knows nothing of streams.
"""

import hashlib
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from pilothouse.kit.errors import PilothouseError
from pilothouse.xds.resource import Resource

MAGIC: Final = b"pilothouse last good "
FORMAT: Final = 1
_DIGEST_BYTES: Final = 32


class Unusable(PilothouseError):
    """The stored state cannot be used. The text says why."""


@dataclass(frozen=True, slots=True)
class State:
    """What is stored: resources by type URL and name, and when the control plane was last in touch with them."""

    types: Mapping[str, Mapping[str, Resource]]
    confirmed_at: float


class _Body(msgspec.Struct):
    node_id: str
    confirmed_at: float
    types: dict[str, list[tuple[str, str, bytes]]]


def encode_state(state: State, node_id: str) -> bytes:
    """The file of the Envoy with this node id."""
    types = {url: [(one.name, one.version, one.body) for one in kept.values()] for url, kept in state.types.items()}
    payload = msgspec.msgpack.encode(_Body(node_id, state.confirmed_at, types))
    return b"".join((MAGIC, str(FORMAT).encode(), b"\n", _digest(payload), payload))


def decode_state(body: bytes, node_id: str) -> State:
    """What ``encode_state`` made. Raises ``Unusable``."""
    head, newline, rest = body.partition(b"\n")
    if not newline or not head.startswith(MAGIC):
        raise Unusable("it is no stored configuration, or its beginning is damaged")
    if head != MAGIC + str(FORMAT).encode():
        raise Unusable(f"it was written by another version of Pilothouse ({head[len(MAGIC) :][:20]!r}, not {FORMAT})")
    payload = rest[_DIGEST_BYTES:]
    if _digest(payload) != rest[:_DIGEST_BYTES]:
        raise Unusable("it is damaged: its checksum does not fit its content")
    try:
        decoded = msgspec.msgpack.decode(payload, type=_Body)
    except msgspec.DecodeError as error:
        raise Unusable(f"it is not understood: {error}") from error
    if decoded.node_id != node_id:
        raise Unusable(f"it belongs to {decoded.node_id}, not to {node_id}")
    types = {
        url: {name: Resource(name, version, content) for name, version, content in kept}
        for url, kept in decoded.types.items()
    }
    return State(types, decoded.confirmed_at)


def read_file(path: Path, most_bytes: int) -> bytes:
    """What is stored. Raises OSError, and ``Unusable`` if it is larger than it may be."""
    with path.open("rb") as file:
        body = file.read(most_bytes + 1)
    if len(body) > most_bytes:
        raise Unusable(f"it is larger than {most_bytes} bytes")
    return body


def replace_file(path: Path, body: bytes, most_bytes: int) -> None:
    """Put ``body`` in the place of ``path``: whole and on the disk, or not at all. Raises OSError and ``Unusable``."""
    if len(body) > most_bytes:
        raise Unusable(f"it would take {len(body)} bytes, and {most_bytes} are allowed")
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.new")
    try:
        with suppress(FileNotFoundError):
            fresh.unlink()
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(body)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
        _synchronise(path.parent)
    except OSError:
        with suppress(OSError):
            fresh.unlink()
        raise


def set_aside(path: Path, now: float) -> str:
    """Rename a file that cannot be used; only the newest such file is kept. Returns what was done, for people."""
    try:
        for older in path.parent.glob(f"{path.name}.bad-*"):
            older.unlink()
        aside = path.with_name(f"{path.name}.bad-{int(now)}")
        path.rename(aside)
    except OSError as error:
        return f"it could not be renamed either ({error.strerror})"
    return f"it is now {aside.name}"


def _synchronise(folder: Path) -> None:
    """Make the rename itself durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _digest(payload: bytes) -> bytes:
    return hashlib.blake2b(payload, digest_size=_DIGEST_BYTES).digest()

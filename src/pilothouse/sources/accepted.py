"""The copy of the accepted configuration on disk, from which a restarted control plane knows what was served.

Without it, a control plane that starts beside a half-empty folder would take the half for the whole. It keeps texts,
not decoded values, so that another version of Pilothouse reads them as it reads files. A copy that is damaged or newer
than this program is set aside and reported, and the start goes on as if there were none. It decides nothing.
"""

import os
from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Final

import msgspec

from pilothouse.config.objects import ConfigKey, ConfigObject
from pilothouse.sources.hold import Served
from pilothouse.sources.last_good import Decode, FileState

FILE_NAME: Final = "configuration.msgpack"
MOST_BYTES: Final = 256 * 1024 * 1024
FORMAT: Final = 1
_MAGIC: Final = b"pilothouse-configuration"


class Piece(msgspec.Struct, frozen=True):
    """One text of one file, and the objects in it that were served."""

    path: str
    text: str
    keys: tuple[ConfigKey, ...]


class Accepted(msgspec.Struct, frozen=True):
    """What was served from ``folder``. ``held`` names what it did not hold any more, ``since`` when (seconds, UTC)."""

    folder: str
    namespace: str
    pieces: tuple[Piece, ...] = ()
    held: tuple[ConfigKey, ...] = ()
    since: float = 0.0


class CopyUnusable(Exception):
    """The copy was set aside, or cannot be read or written; the message says what happened."""


def gather(folder: Path, namespace: str, served: Served, texts: Mapping[ConfigKey, str]) -> Accepted:
    """The copy of ``served``, whose objects were decoded from ``texts``."""
    pieces: dict[tuple[str, str], list[ConfigKey]] = {}
    for one in served.objects:
        pieces.setdefault((one.origin.path, texts.get(one.key, "")), []).append(one.key)
    return Accepted(
        str(folder),
        namespace,
        tuple(Piece(path, text, tuple(keys)) for (path, text), keys in pieces.items()),
        tuple(one.key for one in served.held),
        served.since,
    )


def revive(copy: Accepted, decode: Decode) -> tuple[Served, dict[Path, FileState]]:
    """What was served, and the state of each file as if it could not be read now: all of it carried."""
    found: dict[ConfigKey, ConfigObject] = {}
    files: dict[Path, FileState] = {}
    for piece in copy.pieces:
        wanted = set(piece.keys)
        objects = [o for o in decode(piece.text, piece.path, copy.namespace).objects if o.key in wanted]
        found.update((o.key, o) for o in objects)
        before = files.get(Path(piece.path), FileState(piece.path))
        texts = {**before.texts, **{o.key: piece.text for o in objects}}
        files[Path(piece.path)] = FileState(piece.path, carried=(*before.carried, *objects), texts=texts)
    held = tuple(found[key] for key in copy.held if key in found)
    return Served(tuple(found.values()), held, copy.since), files


def read_copy(path: Path) -> Accepted | None:
    """The copy in ``path``, or None if there is none. Raises CopyUnusable; what is damaged was then renamed."""
    try:
        with path.open("rb") as file:
            body = file.read(MOST_BYTES + 1)
        return _decode(body)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise CopyUnusable(f"cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise CopyUnusable(f"{error}, and was set aside as {_set_aside(path)}") from error


def write_copy(path: Path, copy: Accepted) -> None:
    """Replace the copy in one step, readable for this user only. Raises CopyUnusable."""
    body = msgspec.msgpack.encode(copy)
    draft = path.with_name(f".{path.name}.draft")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(b"%s %d %s\n" % (_MAGIC, FORMAT, _checksum(body)))
            file.write(body)
            file.flush()
            os.fsync(descriptor)
        draft.replace(path)
    except OSError as error:
        raise CopyUnusable(f"cannot be written: {error.strerror or error}") from error


def _decode(body: bytes) -> Accepted:
    """Raises ValueError that says what is wrong with the copy."""
    head, _, rest = body.partition(b"\n")
    magic, *words = head.split(b" ")
    if magic != _MAGIC or len(words) != 2 or not words[0].isdigit():
        raise ValueError("is not a copy of configuration")
    if int(words[0]) > FORMAT:
        raise ValueError(f"was written by a newer version of Pilothouse (format {int(words[0])})")
    if words[1] != _checksum(rest):
        raise ValueError("is damaged (its checksum does not fit)")
    try:
        return msgspec.msgpack.decode(rest, type=Accepted)
    except msgspec.DecodeError as error:
        raise ValueError(f"does not hold what this version expects ({error})") from error


def _checksum(body: bytes) -> bytes:
    return blake2b(body, digest_size=16).hexdigest().encode()


def _set_aside(path: Path) -> Path:
    aside = path.with_suffix(".set-aside")
    try:
        path.replace(aside)
    except OSError:
        return path
    return aside

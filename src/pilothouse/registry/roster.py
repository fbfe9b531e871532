"""Who was registered before the last stop: the one thing that the embedded registry keeps on disk.

Registrations live in memory and come back with the agents. The roster only tells a restarted control plane whom to
wait for, so that it never answers a proxy with half of the endpoints. It is advice: a file that cannot be read is
taken for an empty one, and that is logged.
"""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import msgspec
import structlog

log = structlog.get_logger(__name__)

FILE_NAME: Final = "registrations.msgpack"
MOST_BYTES: Final = 16 * 1024 * 1024


class _Roster(msgspec.Struct, frozen=True):
    workloads: tuple[str, ...]
    version: int = 1


def read_roster(path: Path) -> frozenset[str]:
    """The ids of the workloads that were registered when ``path`` was written; empty if there is no such file."""
    try:
        with path.open("rb") as file:
            return frozenset(msgspec.msgpack.decode(file.read(MOST_BYTES), type=_Roster).workloads)
    except FileNotFoundError:
        return frozenset()
    except (OSError, msgspec.DecodeError) as error:
        log.warning("the list of earlier registrations cannot be read", path=str(path), error=str(error))
        return frozenset()


def write_roster(path: Path, workloads: Iterable[str]) -> bool:
    """Replace ``path`` atomically. False, and a line in the log, if that fails (a full disk stops nobody)."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft.write_bytes(msgspec.msgpack.encode(_Roster(tuple(sorted(workloads)))))
        draft.replace(path)
    except OSError as error:
        log.warning("the list of registrations cannot be written", path=str(path), error=str(error))
        return False
    return True

"""Which files of a folder are configuration, and whether they can be read whole.

The eyes of ``sources.files``: it lists, stats and reads, and says what it could not see. It decodes nothing.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

SUFFIXES: Final = (".yaml", ".yml", ".json")
MOST_BYTES: Final = 8 * 1024 * 1024
MOST_FILES: Final = 20_000

Look: TypeAlias = tuple[int, int, int]
"""Size, modification time in nanoseconds, inode: equal looks mean that nobody wrote in between."""


@dataclass(frozen=True, slots=True)
class Listing:
    """The configuration files below a folder in path order, and the folders that could not be listed, with why."""

    files: tuple[Path, ...] = ()
    unreadable: tuple[tuple[Path, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Content:
    """What one file held. ``error`` says why it could not be read; ``moving`` that somebody was writing it."""

    look: Look = (0, 0, 0)
    body: bytes = b""
    error: str = ""
    moving: bool = False


def list_files(folder: Path) -> Listing:
    """All configuration files, recursively. Hidden files and folders are not looked at, linked folders not entered.

    Hidden names cover what editors and Kubernetes leave beside the real files (``.x.swp``, ``..data``).
    """
    found: list[Path] = []
    failed: list[tuple[Path, str]] = []

    def note(error: OSError) -> None:
        failed.append((Path(error.filename or folder), error.strerror or str(error)))

    for parent, folders, names in os.walk(folder, onerror=note):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found.extend(Path(parent, name) for name in names if name.endswith(SUFFIXES) and not name.startswith("."))
    if len(found) > MOST_FILES:
        return Listing(unreadable=((folder, f"more than {MOST_FILES} configuration files"),))
    return Listing(tuple(sorted(found)), tuple(failed))


def look_at(path: Path) -> Look | None:
    """The file's present look, or None if there is none to be had."""
    try:
        seen = path.stat()
    except OSError:
        return None
    return (seen.st_size, seen.st_mtime_ns, seen.st_ino)


def look_at_all(paths: Iterable[Path]) -> dict[Path, Look | None]:
    """The present look of each file."""
    return {path: look_at(path) for path in paths}


def read(path: Path, look: Look | None) -> Content:
    """The file's content, ``moving`` if it looks different from ``look`` (taken a moment ago) before or after."""
    try:
        with path.open("rb") as file:
            body = file.read(MOST_BYTES + 1)
            seen = os.fstat(file.fileno())
    except OSError as error:
        return Content(error=error.strerror or str(error))
    after = (seen.st_size, seen.st_mtime_ns, seen.st_ino)
    if len(body) > MOST_BYTES:
        return Content(look=after, error=f"larger than {MOST_BYTES // (1024 * 1024)} MiB")
    return Content(look=after, body=body, moving=after != look or len(body) != after[0])

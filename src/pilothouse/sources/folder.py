"""Which files of a folder are configuration, and whether they can be read whole.

The eyes of ``sources.files``: it lists, stats and reads, and says what it could not see. It decodes nothing.
"""

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

SUFFIXES: Final = (".yaml", ".yml", ".json")
MOST_BYTES: Final = 8 * 1024 * 1024
MOST_FILES: Final = 20_000

Look: TypeAlias = tuple[int, int, int]
"""Size, modification time in nanoseconds, inode: equal looks mean that nobody wrote in between."""


Survey: TypeAlias = tuple["Listing", dict[Path, Look | None]]
"""Which files there are, and how each looks."""


@dataclass(frozen=True, slots=True)
class Listing:
    """The configuration files below a folder in path order, and the folders that could not be listed, with why.

    ``missing``: there is no such folder, which is something else than an empty one and than one that is closed to us.
    """

    files: tuple[Path, ...] = ()
    unreadable: tuple[tuple[Path, str], ...] = ()
    missing: bool = False


@dataclass(frozen=True, slots=True)
class Content:
    """What one file held. ``error`` says why it could not be read; ``moving`` that somebody was writing it.

    ``gone``: there is no such file any more.
    """

    look: Look = (0, 0, 0)
    body: bytes = b""
    error: str = ""
    moving: bool = False
    gone: bool = False


def list_files(folder: Path) -> Listing:
    """All configuration files, recursively. Hidden files and folders are not looked at, linked folders not entered.

    Hidden names cover what editors and Kubernetes leave beside the real files (``.x.swp``, ``..data``). A folder that
    is named like a file is listed as one, so that reading it says what is wrong; it is not entered.
    """
    found: list[Path] = []
    failed: list[tuple[Path, str]] = []
    lost: list[Path] = []

    def note(error: OSError) -> None:
        path = Path(error.filename or folder)
        if isinstance(error, FileNotFoundError | NotADirectoryError):
            lost.append(path)  # Below the top, that is a folder which was removed while we looked.
        else:
            failed.append((path, error.strerror or str(error)))

    for parent, folders, names in os.walk(folder, onerror=note):
        found.extend(Path(parent, name) for name in (*names, *folders) if is_configuration(name))
        folders[:] = [name for name in folders if not name.startswith(".") and not is_configuration(name)]
    if folder in lost:
        return Listing(missing=True)
    if len(found) > MOST_FILES:
        return Listing(unreadable=((folder, f"more than {MOST_FILES} configuration files"),))
    return Listing(tuple(sorted(found)), tuple(failed))


def is_configuration(name: str) -> bool:
    """Whether a file of this name is read."""
    return name.endswith(SUFFIXES) and not name.startswith(".")


def survey(folder: Path) -> Survey:
    """The files below ``folder``, each with its present look."""
    listing = list_files(folder)
    return listing, {path: look_at(path) for path in listing.files}


def look_at(path: Path) -> Look | None:
    """The file's present look, or None if there is none to be had."""
    try:
        return look_of(path.stat())
    except OSError:
        return None


def look_of(seen: os.stat_result) -> Look:
    """The look that a stat shows."""
    return (seen.st_size, seen.st_mtime_ns, seen.st_ino)


def read(path: Path, look: Look | None) -> Content:
    """The file's content, ``moving`` if it looks different from ``look`` (taken a moment ago) before or after.

    A file that was renamed into place meanwhile is whole, and not moving: its new inode was not touched while it was
    read, and renaming left the later of its two times (a rename sets the change time, a write sets both).
    """
    try:
        # Without O_NONBLOCK, a pipe would keep us until somebody writes into it.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError as error:
        return describe_failure(path, error)
    try:
        return read_open(descriptor, look)
    except OSError as error:
        return Content(error=error.strerror or str(error))
    finally:
        os.close(descriptor)


def read_open(descriptor: int, look: Look | None) -> Content:
    """The content of an open file; see ``read``. Raises OSError."""
    before = os.fstat(descriptor)
    if not stat.S_ISREG(before.st_mode):
        return Content(error=f"it is {describe_kind(before.st_mode)}, not a file")
    if before.st_size > MOST_BYTES:
        return Content(error=f"larger than {MOST_BYTES // (1024 * 1024)} MiB")
    with os.fdopen(descriptor, "rb", closefd=False) as file:
        body = file.read(MOST_BYTES + 1)
    after = os.fstat(descriptor)
    seen = look_of(after)
    still = look_of(before) == seen and len(body) == after.st_size
    renamed = look is not None and look[2] != after.st_ino and after.st_ctime_ns > after.st_mtime_ns
    return Content(look=seen, body=body, moving=not (still and (seen == look or renamed)))


def describe_failure(path: Path, error: OSError) -> Content:
    """Why ``path`` could not be opened."""
    if not isinstance(error, FileNotFoundError):
        return Content(error=error.strerror or str(error))
    if path.is_symlink():
        return Content(error=f"it is a link to {path.readlink()}, which does not exist")
    return Content(error=error.strerror or str(error), gone=True)


def describe_kind(mode: int) -> str:
    """What something is that is no file."""
    kinds = ((stat.S_ISDIR, "a folder"), (stat.S_ISFIFO, "a pipe"), (stat.S_ISSOCK, "a socket"))
    return next((word for is_kind, word in kinds if is_kind(mode)), "a device")

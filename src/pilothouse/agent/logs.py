"""Where Envoy's output goes: bounded files, and the last lines in memory for the report of a crash.

A full disk, a removed folder or a read-only file system costs lines, which are counted, and never Envoy or its holder.
Access logs come on standard output and everything else on standard error, so the two are told apart by pipe. Part of
the holder: standard library only.
"""

import contextlib
import errno
import os
from collections import deque
from typing import Final

MOST_BYTES: Final = 10 * 1024 * 1024
CHUNK_BYTES: Final = 64 * 1024
LINE_BYTES: Final = 16 * 1024
"""A longer line is cut into pieces of this length, so that a flood without line ends stays bounded in memory."""
LAST_LINES: Final = 20


class BoundedFile:
    """A file that is moved to ``NAME.1`` when it would grow beyond ``most`` bytes. Blocking; errors are counted."""

    def __init__(self, path: str, most: int = MOST_BYTES) -> None:
        self._path = path
        self._most = most
        self._descriptor = -1
        self.lost_bytes = 0

    def write(self, data: bytes) -> None:
        """Append ``data``, which should be whole lines. A full disk or a missing folder costs lines, nothing else."""
        try:
            self._append(data)
        except OSError:
            self.lost_bytes += len(data)
            self.close()

    def _append(self, data: bytes) -> None:
        if self._descriptor < 0:
            os.makedirs(os.path.dirname(self._path), 0o700, exist_ok=True)
            self._descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        size = os.fstat(self._descriptor).st_size
        if size and size + len(data) > self._most:
            os.replace(self._path, f"{self._path}.1")
            self.close()
            self._descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        if os.write(self._descriptor, data) != len(data):
            raise OSError(errno.ENOSPC, "only a part was written")

    def close(self) -> None:
        """Close the file; the next write opens it again."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            with contextlib.suppress(OSError):
                os.close(descriptor)


class LineSplitter:
    """Gathers bytes into whole lines, cutting those that never end."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> bytes:
        """All whole lines that are now known, ends included; empty if there is none yet."""
        held = self._rest + data
        end = held.rfind(b"\n") + 1
        self._rest = held[end:]
        return held[:end] if len(self._rest) < LINE_BYTES else held[:end] + self.flush()

    def flush(self) -> bytes:
        """What was held back, ended as a line; empty if nothing was."""
        rest, self._rest = self._rest, b""
        return rest + b"\n" if rest else b""


class Output:
    """One pipe of Envoy's, copied to a file by whole lines; ``last`` gets the newest lines. Must not block."""

    def __init__(self, descriptor: int, file: BoundedFile, last: "deque[str] | None" = None) -> None:
        self.descriptor = descriptor
        self._file = file
        self._last = last
        self._splitter = LineSplitter()
        self.at_end = False

    @property
    def open(self) -> bool:
        """Whether more may come."""
        return self.descriptor >= 0

    def read(self) -> bool:
        """Copy what there is now. False if there was nothing; ``at_end`` says whether there will ever be more."""
        try:
            data = os.read(self.descriptor, CHUNK_BYTES)
        except BlockingIOError:
            return False
        self.at_end = not data
        self._keep(self._splitter.feed(data))
        return bool(data)

    def close(self) -> None:
        """Copy what was held back, and close the pipe."""
        self._keep(self._splitter.flush())
        os.close(self.descriptor)
        self.descriptor = -1

    def _keep(self, lines: bytes) -> None:
        if not lines:
            return
        self._file.write(lines)
        if self._last is not None:
            self._last.extend(line.decode(errors="replace") for line in lines.splitlines()[-LAST_LINES:])


def detach(log_dir: str) -> None:
    """Leave the session and the terminal of who started this; that process returns as soon as this one listens."""
    if os.fork():
        os._exit(0)
    os.setsid()
    null = os.open(os.devnull, os.O_RDWR)
    log = null
    with contextlib.suppress(OSError):
        log = os.open(f"{log_dir}/holder.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for descriptor, source in ((0, null), (1, log), (2, log)):
        os.dup2(source, descriptor)

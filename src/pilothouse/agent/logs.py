"""Where Envoy's output goes: bounded files, and the last lines in memory for the report of a crash.

A full disk, a removed folder or a read-only file system costs lines, which are counted, and never the agent.
Access logs come on standard output and everything else on standard error, so the two are told apart by pipe.
"""

import asyncio
from collections import deque
from pathlib import Path
from typing import BinaryIO

import structlog

log = structlog.get_logger(__name__)

MOST_BYTES = 10 * 1024 * 1024
CHUNK_BYTES = 64 * 1024
LINE_BYTES = 16 * 1024
"""A longer line is cut into pieces of this length, so that a flood without line ends stays bounded in memory."""
LAST_LINES = 20


class BoundedFile:
    """A file that is moved to ``NAME.1`` when it would grow beyond ``most`` bytes. Blocking; errors are counted."""

    def __init__(self, path: Path, most: int = MOST_BYTES) -> None:
        self._path = path
        self._most = most
        self._file: BinaryIO | None = None
        self.lost_bytes = 0
        self.error = ""
        """Why the last write failed; empty after one that succeeded."""

    def write(self, data: bytes) -> None:
        """Append ``data``, which should be whole lines. Never raises for the file system's sake."""
        try:
            self._append(data)
        except OSError as error:
            self.lost_bytes += len(data)
            if not self.error:
                log.warning("log lines are lost", file=str(self._path), reason=str(error))
            self.error = str(error)
            self.close()
        else:
            self.error = ""

    def _append(self, data: bytes) -> None:
        if self._file is None:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._file = self._path.open("ab", buffering=0)
        if self._file.tell() and self._file.tell() + len(data) > self._most:
            self._file.close()
            self._path.replace(self._path.with_name(self._path.name + ".1"))
            self._file = self._path.open("ab", buffering=0)
        if self._file.write(data) != len(data):
            raise OSError("only a part was written; is the disk full?")

    def close(self) -> None:
        """Close the file; the next write opens it again."""
        file, self._file = self._file, None
        if file is not None:
            try:
                file.close()
            except OSError as error:
                log.warning("a log file did not close", file=str(self._path), reason=str(error))


class LineSplitter:
    """Gathers bytes into whole lines, cutting those that never end."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> bytes:
        """All whole lines that are now known, ends included; empty if there is none yet."""
        held = self._rest + data
        end = held.rfind(b"\n") + 1
        self._rest = held[end:]
        if len(self._rest) < LINE_BYTES:
            return held[:end]
        return held[:end] + self.flush()

    def flush(self) -> bytes:
        """What was held back, ended as a line; empty if nothing was."""
        rest, self._rest = self._rest, b""
        return rest + b"\n" if rest else b""


class LastLines:
    """The newest lines of a stream."""

    def __init__(self, count: int = LAST_LINES) -> None:
        self._lines: deque[str] = deque(maxlen=count)

    def add(self, data: bytes) -> None:
        """Remember the lines in ``data``."""
        for line in data.splitlines()[-(self._lines.maxlen or 0) :]:
            self._lines.append(line.decode(errors="replace"))

    @property
    def lines(self) -> tuple[str, ...]:
        """Oldest first."""
        return tuple(self._lines)


async def relay(stream: asyncio.StreamReader, file: BoundedFile, last: LastLines | None = None) -> None:
    """Copy ``stream`` to ``file`` by whole lines until it ends. Writing happens in a thread: a disk may be slow."""
    splitter = LineSplitter()
    while data := await stream.read(CHUNK_BYTES):
        await keep(splitter.feed(data), file, last)
    await keep(splitter.flush(), file, last)


async def keep(lines: bytes, file: BoundedFile, last: LastLines | None) -> None:
    """Write ``lines``, if any."""
    if not lines:
        return
    if last is not None:
        last.add(lines)
    await asyncio.to_thread(file.write, lines)

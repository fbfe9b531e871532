"""The agent's end of the holder's socket: reach a running holder or start one, ask, and hear what changed.

``envoy`` decides what is asked; ``holder`` is the other side and imports nothing of this. A holder that is there is
used whoever started it: that is how an agent adopts the Envoy of the agent before it.
"""

import asyncio
import contextlib
import json
import os
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Final

import msgspec

from pilothouse.agent import holder
from pilothouse.kit.errors import PilothouseError

ANSWER_SECONDS: Final = 15.0
"""A holder answers at once, but for a reload, which asks two binaries for their hot restart version."""
MOST_LINE_BYTES: Final = 1024 * 1024


class HolderLost(PilothouseError):
    """The holder ended, did not start, or does not answer."""


class HolderState(msgspec.Struct, frozen=True):
    """What the holder tells. ``pid`` is the newest Envoy's, 0 if none runs; ``older`` are epochs beside it.

    ``digest`` names the bootstrap that the newest was started with. ``reload`` is why the last hot restart failed,
    and ``deaf`` says that the Envoy which went on then has lost its admin interface to the one that failed.
    """

    pid: int = 0
    epoch: int = 0
    since: float = 0.0
    binary: str = ""
    digest: str = ""
    older: tuple[int, ...] = ()
    starts: int = 0
    restarts: int = 0
    last_exit: str = ""
    last_lines: tuple[str, ...] = ()
    reload: str = ""
    deaf: bool = False
    holder: int = 0
    lost_log_bytes: int = 0


class Answer(msgspec.Struct, frozen=True):
    """What the holder says to a command. ``incompatible``: the binary cannot take over from the running one."""

    ok: bool
    reason: str = ""
    incompatible: bool = False


class _Line(msgspec.Struct, frozen=True):
    state: HolderState | None = None
    answer: Answer | None = None


@contextmanager
def short_path(folder: Path, name: str) -> Iterator[str]:
    """A path to ``folder/name`` that fits a socket's 107 bytes wherever the folder is. Raises OSError."""
    if sys.platform != "linux":
        yield str(folder / name)
        return
    descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}/{name}"
    finally:
        os.close(descriptor)


class Link:
    """One connection to a holder. ``follow`` must run for ``ask`` to get an answer."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._answers: asyncio.Queue[Answer | None] = asyncio.Queue()
        self._asking = asyncio.Lock()
        self._lost = False

    async def first_state(self) -> HolderState:
        """What the holder says to everybody who comes. Raises ``HolderLost``."""
        line = await self._line()
        if line is None or line.state is None:
            raise HolderLost("the holder ended")
        return line.state

    async def follow(self, on_state: Callable[[HolderState], None]) -> None:
        """Hand every change on until the holder ends."""
        try:
            while (line := await self._line()) is not None:
                if line.state is not None:
                    on_state(line.state)
                if line.answer is not None:
                    self._answers.put_nowait(line.answer)
        finally:
            self._lost = True
            self._answers.put_nowait(None)

    async def ask(self, command: str, **fields: Any) -> Answer:
        """What the holder says to ``command``. Raises ``HolderLost``."""
        async with self._asking:
            if self._lost:
                raise HolderLost("the holder ended")
            try:
                async with asyncio.timeout(ANSWER_SECONDS):
                    self._writer.write(msgspec.json.encode({"command": command, **fields}) + b"\n")
                    await self._writer.drain()
                    answer = await self._answers.get()
            except TimeoutError as error:
                self._writer.close()
                raise HolderLost(f"the holder gave no answer within {ANSWER_SECONDS:g} s") from error
            except OSError as error:
                raise HolderLost(f"the holder ended: {error}") from error
        if answer is None:
            raise HolderLost("the holder ended")
        return answer

    async def _line(self) -> _Line | None:
        try:
            line = await self._reader.readline()
            return msgspec.json.decode(line, type=_Line) if line else None
        except (OSError, ValueError, msgspec.DecodeError) as error:
            raise HolderLost(f"the holder said something unknown: {error}") from error


@asynccontextmanager
async def reach(state_dir: Path) -> AsyncIterator[Link]:
    """A connection to the holder that runs there. Raises OSError if none does."""
    with short_path(state_dir, holder.SOCKET) as path:
        reader, writer = await asyncio.open_unix_connection(path, limit=MOST_LINE_BYTES)
    try:
        yield Link(reader, writer)
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def held(state_dir: Path) -> HolderState | None:
    """What a holder there holds now; None without one, or if it does not answer."""
    try:
        async with asyncio.timeout(ANSWER_SECONDS), reach(state_dir) as link:
            return await link.first_state()
    except (OSError, HolderLost, TimeoutError):
        return None


async def start_holder(state_dir: Path, log_dir: Path, owner_pid: int) -> None:
    """Start a holder that outlives this process; it listens when this returns. ``owner_pid`` 0: it has no owner.

    Raises ``HolderLost`` with what it said.
    """
    starting = await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", "-S", holder.__file__, str(state_dir), str(log_dir), str(owner_pid)),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    _, said = await starting.communicate()
    if starting.returncode:
        words = said.decode(errors="replace").strip().splitlines() or ["it said nothing"]
        raise HolderLost(f"the holder could not be started: {words[-1]}")


def end_now(state_dir: Path) -> None:
    """Tell a holder, if there is one, to end Envoy and itself without waiting. For a process that ends at once."""
    with (
        contextlib.suppress(OSError),
        short_path(state_dir, holder.SOCKET) as path,
        socket.socket(socket.AF_UNIX) as connection,
    ):
        connection.settimeout(1.0)
        connection.connect(path)
        connection.sendall(json.dumps({"command": "stop", "seconds": 0}).encode() + b"\n")
        while connection.recv(65536):
            pass

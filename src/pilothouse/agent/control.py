"""The running agent's control socket in its state directory, and how a command line speaks to it.

One JSON object a line: a ``Request`` goes in, ``Reply`` lines come back, the last of them with ``done``. The socket
lies in a directory of mode 0700, which is its credential. What a request means is told by whoever serves it.
"""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, Literal

import msgspec
import structlog

from pilothouse.agent.holding import short_path
from pilothouse.kit.errors import PilothouseError

log = structlog.get_logger(__name__)

SOCKET: Final = "agent.sock"
REQUEST_SECONDS: Final = 5.0
MOST_LINE_BYTES: Final = 64 * 1024


class Request(msgspec.Struct, frozen=True):
    """``reload``: ``binary`` is the Envoy to take, empty for the one that would be found now. ``stop``: leave."""

    command: Literal["reload", "stop"]
    binary: str = ""


class Reply(msgspec.Struct, frozen=True):
    """One line for a person. The last one is ``done`` and says whether all is ``ok``."""

    text: str
    done: bool = False
    ok: bool = True


Say = Callable[[str], Awaitable[None]]
Serve = Callable[[Request, Say], Awaitable[str]]
"""Does what is asked, tells what happens meanwhile, and returns the last line. Raises PilothouseError."""


@asynccontextmanager
async def controlled(state_dir: Path, serve: Serve) -> AsyncIterator[None]:
    """Serve the control socket. Raises PilothouseError if it cannot be made."""

    async def on_client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            await converse(reader, writer, serve)
        writer.close()

    try:
        (state_dir / SOCKET).unlink(missing_ok=True)
        with short_path(state_dir, SOCKET) as path:
            server = await asyncio.start_unix_server(on_client, path, limit=MOST_LINE_BYTES)
    except OSError as error:
        raise PilothouseError(f"cannot listen on {state_dir / SOCKET}: {error.strerror}") from error
    try:
        yield
    finally:
        server.close()
        with contextlib.suppress(OSError):
            (state_dir / SOCKET).unlink(missing_ok=True)


async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, serve: Serve) -> None:
    """One request and its replies. Raises OSError if the client left."""

    async def say(reply: Reply) -> None:
        writer.write(msgspec.json.encode(reply) + b"\n")
        await writer.drain()

    async def tell(text: str) -> None:
        with contextlib.suppress(OSError):  # Whoever asked may leave; what was asked for goes on.
            await say(Reply(text))

    try:
        async with asyncio.timeout(REQUEST_SECONDS):
            request = msgspec.json.decode(await reader.readline(), type=Request)
        last = Reply(await serve(request, tell), done=True)
    except (msgspec.DecodeError, ValueError, TimeoutError) as error:
        last = Reply(f"not a request: {error}", done=True, ok=False)
    except PilothouseError as error:
        last = Reply(str(error), done=True, ok=False)
    await say(last)


def ask_agent(state_dir: Path, request: Request, seconds: float) -> Iterator[Reply]:
    """What the agent that owns ``state_dir`` says, line by line. Raises PilothouseError without one."""
    try:
        with short_path(state_dir, SOCKET) as path, socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(seconds)
            connection.connect(path)
            connection.sendall(msgspec.json.encode(request) + b"\n")
            with connection.makefile("rb") as lines:
                for line in lines:
                    reply = msgspec.json.decode(line, type=Reply)
                    yield reply
                    if reply.done:
                        return
    except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError) as error:
        raise PilothouseError(f"no agent runs with the state directory {state_dir}") from error
    except TimeoutError as error:
        raise PilothouseError(f"the agent of {state_dir} gave no answer within {seconds:g} s") from error
    except (OSError, msgspec.DecodeError) as error:
        raise PilothouseError(f"the agent of {state_dir} cannot be asked: {error}") from error
    raise PilothouseError(f"the agent of {state_dir} ended before it answered")

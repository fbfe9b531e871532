"""The control socket: requests, replies, and those that are none."""

import asyncio
from pathlib import Path

import pytest

from pilothouse.agent.control import SOCKET, Reply, Request, Say, ask_agent, controlled
from pilothouse.agent.holding import short_path
from pilothouse.kit.errors import PilothouseError


async def serve(request: Request, say: Say) -> str:
    await say(f"heard {request.command}")
    if request.command == "stop":
        raise PilothouseError("not now")
    return f"took {request.binary}"


def ask(state_dir: Path, request: Request) -> list[Reply]:
    return list(ask_agent(state_dir, request, 10))


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    """A folder whose path is longer than a socket's may be."""
    folder = tmp_path / ("long" * 30)
    folder.mkdir()
    return folder


async def test_what_happens_is_told_line_by_line_and_the_last_line_says_so(state_dir: Path) -> None:
    async with controlled(state_dir, serve):
        replies = await asyncio.to_thread(ask, state_dir, Request("reload", "/envoy"))
        assert replies == [Reply("heard reload"), Reply("took /envoy", done=True)]
        replies = await asyncio.to_thread(ask, state_dir, Request("stop"))
        assert replies[-1] == Reply("not now", done=True, ok=False)
    assert not (state_dir / SOCKET).exists()


async def test_nonsense_is_answered_and_harms_nobody(state_dir: Path) -> None:
    async with controlled(state_dir, serve):
        for nonsense in (b"\n", b"{}\n", b"\xff\n", b'{"command": "dance"}\n', b"x" * 100_000 + b"\n"):
            with short_path(state_dir, SOCKET) as path:
                reader, writer = await asyncio.open_unix_connection(path)
            writer.write(nonsense)
            assert b"not a request" in await reader.readline()
            writer.close()
        assert (await asyncio.to_thread(ask, state_dir, Request("reload")))[-1].ok


def test_an_agent_that_does_not_run_is_said(state_dir: Path) -> None:
    for where in (state_dir, state_dir / "missing"):
        with pytest.raises(PilothouseError, match="no agent runs with the state directory"):
            ask(where, Request("stop"))

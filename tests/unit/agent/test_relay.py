"""Where the relay listens: only this user can reach it, and it leaves nothing behind."""

from pathlib import Path

import pytest

from pilothouse.agent.relay import Relay, RelayUnavailable, is_private
from tests.unit.agent.support import a_settings


def no_crash(name: str, error: BaseException) -> None:
    raise AssertionError(name) from error


def is_socket_of_one(path: Path) -> bool:
    return path.is_socket() and path.stat().st_mode & 0o077 == 0 and is_private(path.parent)


def left(path: Path) -> tuple[bool, bool]:
    """Whether the socket and its folder are still there."""
    return path.exists(), path.parent.exists()


@pytest.mark.parametrize("length", [1, 120], ids=["in the state folder", "elsewhere, because the path is too long"])
async def test_the_socket_is_for_its_user_alone_and_gone_afterwards(tmp_path: Path, length: int) -> None:
    settings = a_settings(tmp_path / ("x" * length))
    socket = Path(settings.relay_socket)
    assert (socket.parent == Path(settings.state_dir)) is (length == 1)
    async with Relay(settings).serving(no_crash):
        assert is_socket_of_one(socket)
    assert left(socket) == ((False, True) if length == 1 else (False, False))


async def test_a_folder_that_others_may_enter_is_refused(tmp_path: Path) -> None:
    settings = a_settings(tmp_path / ("x" * 120))
    folder = Path(settings.relay_socket).parent
    folder.mkdir(mode=0o755)
    try:
        with pytest.raises(RelayUnavailable, match="not a folder of this user alone"):
            async with Relay(settings).serving(no_crash):
                raise AssertionError("it listens")
    finally:
        folder.rmdir()

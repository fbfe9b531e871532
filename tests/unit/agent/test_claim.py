"""One agent per state directory."""

import os
import stat
from pathlib import Path

import pytest

from pilothouse.agent.claim import LOCK, claimed
from pilothouse.kit.errors import AgentRunning, PilothouseError


async def test_a_second_claim_is_refused_with_the_owner_s_process_and_a_later_one_is_not(tmp_path: Path) -> None:
    state_dir = tmp_path / "deep" / "agent"
    async with claimed(state_dir):
        assert stat.S_IMODE(state_dir.stat().st_mode) == 0o700
        with pytest.raises(AgentRunning, match=f"process {os.getpid()} owns {state_dir}"):
            async with claimed(state_dir):
                raise AssertionError("both own it")
    async with claimed(state_dir):
        assert (state_dir / LOCK).read_text() == f"{os.getpid()}\n"


async def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PilothouseError, match="cannot be used: Not a directory"):
        async with claimed(tmp_path / "file" / "agent"):
            raise AssertionError("owned")

"""The registrations on disk: what is written is read, and nothing else is."""

import contextlib
import os
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilothouse.aio.clock import ManualClock
from pilothouse.registry.stored import (
    FILE_NAME,
    VERSION,
    KnownRemoval,
    KnownState,
    RegistrationFile,
    Unusable,
    decode_state,
    encode_state,
    seal,
)

from .support import a_workload, key_of, known

STATE = KnownState(known(a_workload()).registrations, (KnownRemoval(key_of("reviews"), 7),))
GOOD = encode_state(STATE)


def wrapped(body: bytes, version: int = VERSION) -> bytes:
    """``body`` under a header that fits it."""
    return f"pilothouse registrations {version} {len(body)} {seal(version, body)}\n".encode() + body


def a_file(folder: Path) -> RegistrationFile:
    return RegistrationFile(folder / FILE_NAME, ManualClock(1_700_000_000.0))


def test_what_was_written_is_read(tmp_path: Path) -> None:
    file = a_file(tmp_path / "state")
    assert file.write(STATE)
    assert file.read() == STATE
    assert [p.name for p in (tmp_path / "state").iterdir()] == [FILE_NAME], "no draft is left behind"
    assert file.problems == ()


def test_no_file_is_no_problem(tmp_path: Path) -> None:
    file = a_file(tmp_path)
    assert file.read() == KnownState()
    assert file.problems == ()


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "does not begin as such a file does"),
        (b"\xc1 something else", "does not begin as such a file does"),
        (GOOD[:-1], "cut short"),
        (GOOD[:20], "does not begin"),
        (GOOD + b"x", "too long"),
        (GOOD[:-1] + bytes([GOOD[-1] ^ 1]), "does not match its digest"),
        (wrapped(b"future", VERSION + 1), f"format {VERSION + 1}, and this version knows formats up to {VERSION}"),
        (wrapped(b"\xc1"), "not what it should be"),
        (wrapped(msgspec.msgpack.encode({"registrations": [1]})), "not what it should be"),
    ],
)
def test_a_file_that_is_not_ours_is_set_aside_and_named(tmp_path: Path, content: bytes, why: str) -> None:
    (tmp_path / FILE_NAME).write_bytes(content)
    file = a_file(tmp_path)
    assert file.read() == KnownState()
    (problem,) = file.problems
    assert problem.code.code == "registrations-set-aside"
    assert why in problem.message
    assert "registrations.bad-1700000000" in problem.message
    assert [p.name for p in tmp_path.iterdir()] == ["registrations.bad-1700000000"]
    assert (tmp_path / "registrations.bad-1700000000").read_bytes() == content
    assert file.write(STATE)
    assert file.read() == STATE
    assert file.problems == (problem,), "it stays until somebody looked, or the next start"


def test_only_the_newest_bad_files_are_kept(tmp_path: Path) -> None:
    clock = ManualClock(1_700_000_000.0)
    for _ in range(6):
        (tmp_path / FILE_NAME).write_bytes(b"bad")
        RegistrationFile(tmp_path / FILE_NAME, clock).read()
        clock.advance(1)
    assert len(list(tmp_path.iterdir())) == 3
    assert (tmp_path / "registrations.bad-1700000005").exists()


def test_a_file_that_cannot_be_read_is_a_problem_too(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).mkdir()
    file = a_file(tmp_path)
    assert file.read() == KnownState()
    assert "cannot be read: Is a directory" in file.problems[0].message


def test_a_disk_that_takes_nothing_is_a_problem_until_it_does(tmp_path: Path) -> None:
    blocker = tmp_path / "state"
    blocker.write_text("")
    file = RegistrationFile(blocker / FILE_NAME, ManualClock())
    assert not file.write(STATE)
    (problem,) = file.problems
    assert problem.code.code == "registrations-unsaved"
    assert "Registrations cannot be written: File exists" in problem.message
    blocker.unlink()
    assert file.write(STATE)
    assert file.problems == ()


def test_a_full_disk_keeps_the_last_good_file_and_leaves_no_draft(tmp_path: Path) -> None:
    """``/dev/full`` is a disk without room: the draft's name leads there."""
    file = a_file(tmp_path)
    assert file.write(STATE)
    (tmp_path / f".{FILE_NAME}.{os.getpid()}").symlink_to("/dev/full")
    assert not file.write(KnownState())
    assert "No space left on device" in file.problems[0].message
    assert file.read() == STATE
    assert [p.name for p in tmp_path.iterdir()] == [FILE_NAME]


def test_no_flipped_bit_passes_unseen() -> None:
    for at in range(len(GOOD)):
        for bit in range(8):
            broken = bytearray(GOOD)
            broken[at] ^= 1 << bit
            with pytest.raises(Unusable):
                decode_state(bytes(broken))


@given(st.binary(max_size=200))
def test_no_bytes_crash_the_decoder(content: bytes) -> None:
    for candidate in (content, wrapped(content)):
        with contextlib.suppress(Unusable):
            assert isinstance(decode_state(candidate), KnownState)

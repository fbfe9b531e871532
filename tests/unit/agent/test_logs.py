"""Envoy's output: whole lines, bounded files, and no harm from a full disk."""

import asyncio
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilothouse.agent.logs import LINE_BYTES, BoundedFile, LastLines, LineSplitter, relay


@given(st.lists(st.text("ab\n", max_size=12), max_size=12))
def test_lines_come_out_whole_whatever_the_pieces(pieces: list[str]) -> None:
    splitter, parts = LineSplitter(), []
    for piece in pieces:
        part = splitter.feed(piece.encode())
        assert not part or part.endswith(b"\n")
        parts.append(part)
    text = "".join(pieces)
    assert b"".join([*parts, splitter.flush()]).decode() == (text if text.endswith("\n") or not text else text + "\n")


def test_a_line_without_end_is_cut_not_gathered() -> None:
    splitter = LineSplitter()
    assert splitter.feed(b"x" * LINE_BYTES) == b"x" * LINE_BYTES + b"\n"
    assert splitter.flush() == b""


def test_a_full_file_is_moved_aside_and_one_is_kept(tmp_path: Path) -> None:
    file = BoundedFile(tmp_path / "access.log", most=20)
    for number in range(5):
        file.write(f"line number {number}\n".encode())
    file.close()
    assert {path.name for path in tmp_path.iterdir()} == {"access.log", "access.log.1"}
    assert (tmp_path / "access.log").read_text() == "line number 4\n"
    assert (tmp_path / "access.log.1").read_text() == "line number 3\n"


def test_a_file_is_continued_after_a_restart(tmp_path: Path) -> None:
    for number in range(2):
        file = BoundedFile(tmp_path / "envoy.log")
        file.write(f"{number}\n".encode())
        file.close()
    assert (tmp_path / "envoy.log").read_text() == "0\n1\n"


def test_a_full_disk_costs_lines_which_are_counted(tmp_path: Path) -> None:
    file = BoundedFile(Path("/dev/full"))
    file.write(b"lost\n")
    file.write(b"lost too\n")
    assert file.lost_bytes == 14
    assert "No space left" in file.error


def test_writing_goes_on_when_the_hindrance_is_gone(tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    folder.write_text("in the way")
    file = BoundedFile(folder / "envoy.log")
    file.write(b"lost\n")
    assert file.error
    folder.unlink()
    file.write(b"kept\n")
    file.close()
    assert (file.error, (folder / "envoy.log").read_text()) == ("", "kept\n")


async def test_a_stream_is_copied_to_its_end_and_its_last_lines_are_kept(tmp_path: Path) -> None:
    stream, file, last = asyncio.StreamReader(), BoundedFile(tmp_path / "envoy.log"), LastLines(2)
    stream.feed_data(b"one\ntwo\nthr")
    stream.feed_data(b"ee\n\xff four")
    stream.feed_eof()
    await relay(stream, file, last)
    file.close()
    assert (tmp_path / "envoy.log").read_bytes() == b"one\ntwo\nthree\n\xff four\n"
    assert last.lines == ("three", "\ufffd four")


@pytest.mark.parametrize("count", [1, 20])
def test_last_lines_are_bounded(count: int) -> None:
    last = LastLines(count)
    last.add(b"".join(b"%d\n" % number for number in range(100)))
    last.add(b"newest\n")
    assert len(last.lines) == count
    assert last.lines[-1] == "newest"

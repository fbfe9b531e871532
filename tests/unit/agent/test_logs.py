"""Envoy's output: whole lines, bounded files, and no harm from a full disk."""

import os
from collections import deque
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from pilothouse.agent.logs import LINE_BYTES, BoundedFile, LineSplitter, Output


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
    file = BoundedFile(str(tmp_path / "access.log"), most=20)
    for number in range(5):
        file.write(f"line number {number}\n".encode())
    file.close()
    assert {path.name for path in tmp_path.iterdir()} == {"access.log", "access.log.1"}
    assert (tmp_path / "access.log").read_text() == "line number 4\n"
    assert (tmp_path / "access.log.1").read_text() == "line number 3\n"


def test_a_file_is_continued_after_a_restart(tmp_path: Path) -> None:
    for number in range(2):
        file = BoundedFile(str(tmp_path / "envoy.log"))
        file.write(f"{number}\n".encode())
        file.close()
    assert (tmp_path / "envoy.log").read_text() == "0\n1\n"


def test_a_full_disk_costs_lines_which_are_counted(tmp_path: Path) -> None:
    file = BoundedFile("/dev/full")
    file.write(b"lost\n")
    file.write(b"lost too\n")
    assert file.lost_bytes == 14


def test_writing_goes_on_when_the_hindrance_is_gone(tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    folder.write_text("in the way")
    file = BoundedFile(str(folder / "envoy.log"))
    file.write(b"lost\n")
    assert file.lost_bytes == 5
    folder.unlink()
    file.write(b"kept\n")
    file.close()
    assert (file.lost_bytes, (folder / "envoy.log").read_text()) == (5, "kept\n")


def test_a_pipe_is_copied_to_its_end_and_its_last_lines_are_kept(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    last: deque[str] = deque(maxlen=2)
    output = Output(reading, BoundedFile(str(tmp_path / "envoy.log")), last)
    assert not output.read()
    assert not output.at_end, "nothing yet is not the end"
    for data in (b"one\ntwo\nthr", b"ee\n\xff four"):
        os.write(writing, data)
        assert output.read()
    os.close(writing)
    output.read()
    assert output.at_end
    output.close()
    assert not output.open
    assert (tmp_path / "envoy.log").read_bytes() == b"one\ntwo\nthree\n\xff four\n"
    assert list(last) == ["three", "\ufffd four"]

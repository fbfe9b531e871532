"""The file of the last good configuration: whole or not used, whatever happens to its bytes."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilothouse.agent.state_file import State, Unusable, decode_state, encode_state, read_file, replace_file, set_aside
from pilothouse.xds.resource import CLUSTER, LISTENER, Resource

NODE = "sidecar~127.0.0.1~a.default~default.service.mesh"
STATE = State({CLUSTER: {"a": Resource("a", "1", b"body")}, LISTENER: {}}, 1000.5)
FILE = encode_state(STATE, NODE)


def test_what_was_written_is_read() -> None:
    assert decode_state(FILE, NODE) == STATE


@given(st.integers(0, len(FILE) * 8 - 1))
def test_any_flipped_bit_makes_it_unusable(bit: int) -> None:
    damaged = bytearray(FILE)
    damaged[bit // 8] ^= 1 << bit % 8
    with pytest.raises(Unusable):
        decode_state(bytes(damaged), NODE)


@given(st.integers(0, len(FILE) - 1))
def test_any_truncation_makes_it_unusable(length: int) -> None:
    with pytest.raises(Unusable):
        decode_state(FILE[:length], NODE)


@given(st.binary(max_size=100))
def test_any_other_bytes_are_unusable(body: bytes) -> None:
    with pytest.raises(Unusable):
        decode_state(body, NODE)


def test_a_newer_format_and_another_node_are_named() -> None:
    with pytest.raises(Unusable, match="another version of Pilothouse"):
        decode_state(FILE.replace(b"good 1\n", b"good 2\n"), NODE)
    with pytest.raises(Unusable, match="belongs to sidecar"):
        decode_state(FILE, "router~127.0.0.1~b.default~default.service.mesh")


def test_a_file_is_replaced_whole_and_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "new" / "last-good"
    replace_file(path, b"one", 10)
    replace_file(path, b"two", 10)
    assert path.read_bytes() == b"two"
    assert path.stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in path.parent.iterdir()] == ["last-good"]


def test_more_than_is_allowed_is_neither_written_nor_read(tmp_path: Path) -> None:
    path = tmp_path / "last-good"
    replace_file(path, b"12345", 5)
    with pytest.raises(Unusable, match="would take 6 bytes"):
        replace_file(path, b"123456", 5)
    with pytest.raises(Unusable, match="larger than 4"):
        read_file(path, 4)
    assert path.read_bytes() == b"12345"


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "last-good"
    path.mkdir()
    with pytest.raises(OSError, match="directory"):
        replace_file(path, b"one", 10)
    assert [entry.name for entry in tmp_path.iterdir()] == ["last-good"]


def test_only_the_newest_unusable_file_is_kept_aside(tmp_path: Path) -> None:
    path = tmp_path / "last-good"
    for now in (1.0, 2.0):
        path.write_bytes(b"bad")
        assert set_aside(path, now) == f"it is now last-good.bad-{now:.0f}"
    assert [entry.name for entry in tmp_path.iterdir()] == ["last-good.bad-2"]
    assert "could not be renamed" in set_aside(path, 3.0)

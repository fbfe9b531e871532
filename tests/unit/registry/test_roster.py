"""The list of who was registered before the last stop."""

from pathlib import Path

from pilothouse.registry.roster import FILE_NAME, read_roster, write_roster


def test_what_was_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "state" / FILE_NAME
    assert write_roster(path, ["b", "a"])
    assert read_roster(path) == {"a", "b"}
    assert [p.name for p in path.parent.iterdir()] == [FILE_NAME], "no draft is left behind"


def test_a_missing_or_broken_list_is_an_empty_one(tmp_path: Path) -> None:
    path = tmp_path / FILE_NAME
    assert read_roster(path) == frozenset()
    path.write_bytes(b"\xc1 not a roster")
    assert read_roster(path) == frozenset()
    path.write_bytes(b"")
    assert read_roster(path) == frozenset()


def test_a_list_that_cannot_be_written_stops_nobody(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert not write_roster(tmp_path / "file" / FILE_NAME, ["a"])

"""Which files are configuration, and whether they hold still."""

import os
from pathlib import Path

import pytest

from pilothouse.sources.folder import list_files, look_at, read


def touch(path: Path, text: str = "x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_yaml_and_json_are_found_recursively_in_path_order(tmp_path: Path) -> None:
    names = ["b.yaml", "a/z.yml", "a/b/c.json", "a.json"]
    for name in names:
        touch(tmp_path / name)
    assert [str(p.relative_to(tmp_path)) for p in list_files(tmp_path).files] == [
        "a/b/c.json",
        "a/z.yml",
        "a.json",
        "b.yaml",
    ]


@pytest.mark.parametrize(
    "name",
    [".hidden.yaml", ".git/config.yaml", "a.yaml~", "#a.yaml#", ".a.yaml.swp", "4913", "notes.txt", "a.yaml.bak"],
)
def test_hidden_and_temporary_files_are_not_configuration(tmp_path: Path, name: str) -> None:
    touch(tmp_path / name)
    assert list_files(tmp_path).files == ()


def test_a_mounted_config_map_is_read_through_its_links_once(tmp_path: Path) -> None:
    touch(tmp_path / "..2026_11_24" / "a.yaml")
    (tmp_path / "..data").symlink_to("..2026_11_24")
    (tmp_path / "a.yaml").symlink_to("..data/a.yaml")
    assert list_files(tmp_path).files == (tmp_path / "a.yaml",)
    assert read(tmp_path / "a.yaml", look_at(tmp_path / "a.yaml")).body == b"x"


def test_a_missing_folder_is_reported_and_not_empty(tmp_path: Path) -> None:
    listing = list_files(tmp_path / "gone")
    assert listing.files == ()
    assert [path for path, _ in listing.unreadable] == [tmp_path / "gone"]


def test_a_file_that_changed_since_the_look_is_moving(tmp_path: Path) -> None:
    path = touch(tmp_path / "a.yaml")
    look = look_at(path)
    assert not read(path, look).moving
    touch(path, "longer")
    assert read(path, look).moving
    assert read(path, None).moving


def test_a_file_replaced_by_an_equal_looking_one_is_moving(tmp_path: Path) -> None:
    path = touch(tmp_path / "a.yaml")
    look = look_at(path)
    assert look is not None
    other = touch(tmp_path / "b")
    os.utime(other, ns=(look[1], look[1]))
    other.rename(path)
    assert read(path, look).moving, "the inode tells them apart"


def test_a_file_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    assert "No such file" in read(tmp_path / "a.yaml", None).error
    (tmp_path / "folder.yaml").mkdir()
    assert "directory" in read(tmp_path / "folder.yaml", None).error.lower()

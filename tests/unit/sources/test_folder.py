"""Which files are configuration, and whether they hold still."""

import os
import socket
from pathlib import Path

import pytest

from pilothouse.sources.folder import MOST_BYTES, Listing, list_files, look_at, read


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
    assert list_files(tmp_path / "gone") == Listing(missing=True)
    assert list_files(touch(tmp_path / "a-file")) == Listing(missing=True)
    assert list_files(tmp_path) == Listing()


def test_a_file_that_changed_since_the_look_is_moving(tmp_path: Path) -> None:
    path = touch(tmp_path / "a.yaml")
    look = look_at(path)
    assert not read(path, look).moving
    touch(path, "longer")
    assert read(path, look).moving
    assert read(path, None).moving


def test_a_file_written_anew_is_moving_although_it_has_the_same_size_and_time(tmp_path: Path) -> None:
    path = touch(tmp_path / "a.yaml")
    look = look_at(path)
    assert look is not None
    other = touch(tmp_path / "b.yaml", "y")
    assert read(other, look).moving, "the inode tells them apart"


def test_a_file_that_was_renamed_into_place_is_read_at_once(tmp_path: Path) -> None:
    path = touch(tmp_path / "a.yaml")
    look = look_at(path)
    draft = touch(tmp_path / ".draft", "whole")
    seen = draft.stat()
    while draft.stat().st_ctime_ns <= seen.st_mtime_ns:  # a coarse clock needs a few milliseconds to tell them apart
        draft.rename(tmp_path / ".draft-2")
        (tmp_path / ".draft-2").rename(draft)
    draft.rename(path)
    content = read(path, look)
    assert (content.body, content.moving) == (b"whole", False)


def test_a_file_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    missing = read(tmp_path / "a.yaml", None)
    assert missing.gone
    assert "No such file" in missing.error
    (tmp_path / "folder.yaml").mkdir()
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "null.yaml").symlink_to("/dev/null")
    (tmp_path / "link.yaml").symlink_to("nowhere")
    (tmp_path / "round.yaml").symlink_to("round.yaml")
    with (tmp_path / "huge.yaml").open("wb") as file:
        file.truncate(MOST_BYTES + 1)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket.yaml"))
        told = {path.stem: read(path, look_at(path)) for path in list_files(tmp_path).files}
    assert {name: content.error for name, content in told.items()} == {
        "folder": "it is a folder, not a file",
        "pipe": "it is a pipe, not a file",
        "null": "it is a device, not a file",
        "link": "it is a link to nowhere, which does not exist",
        "round": "Too many levels of symbolic links",
        "huge": "larger than 8 MiB",
        "socket": "No such device or address",
    }
    assert not any(content.gone for content in told.values())


def test_a_file_of_somebody_else_says_that_permission_is_denied(tmp_path: Path) -> None:
    path = touch(tmp_path / "a.yaml")
    path.chmod(0o000)
    us = os.geteuid()
    if us == 0:  # root may read everything
        os.seteuid(65534)
    try:
        told = read(path, None)
    finally:
        os.seteuid(us)
    assert told.error == "Permission denied"


def test_a_folder_that_is_named_like_a_file_is_listed_and_not_entered(tmp_path: Path) -> None:
    touch(tmp_path / "a.yaml" / "b.yaml")
    assert list_files(tmp_path).files == (tmp_path / "a.yaml",)

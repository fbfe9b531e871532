"""Flags win over the file, the file over defaults; paths mean what their author meant."""

from pathlib import Path

import pytest

from pilothouse.cli.serve import ServeOptions, decode_serve
from pilothouse.kit.errors import SettingsError


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def test_without_a_file_the_defaults_lie_in_the_current_folder(here: Path) -> None:
    settings = decode_serve(ServeOptions())
    assert settings.xds_address == "127.0.0.1:15010"
    assert settings.config_folder == str(here / "config")
    assert settings.token_path == here / ".pilothouse" / "token"


def test_paths_in_the_file_are_the_files_and_paths_in_flags_the_shells(here: Path, tmp_path: Path) -> None:
    file = tmp_path / "mesh.yaml"
    file.write_text("config_folder: rules\nstate_dir: state\n")
    settings = decode_serve(ServeOptions(config=str(file), state_dir="mine"))
    assert settings.config_folder == str(tmp_path / "rules")
    assert settings.state_dir == str(here / "mine")


def test_a_flag_wins_over_the_file(here: Path) -> None:
    (here / "mesh.yaml").write_text("xds_address: 127.0.0.1:1\nadmin_address: 127.0.0.1:2\n")
    settings = decode_serve(ServeOptions(config="mesh.yaml", xds_address="127.0.0.1:3", insecure=True))
    assert (settings.xds_address, settings.admin_address, settings.insecure) == ("127.0.0.1:3", "127.0.0.1:2", True)


def test_a_flag_that_is_no_address_is_named(here: Path) -> None:
    with pytest.raises(SettingsError, match=r"--admin-address: 'everywhere' is not HOST:PORT"):
        decode_serve(ServeOptions(admin_address="everywhere"))

"""The local credential: made once, guarded, compared without a hint."""

import stat
from pathlib import Path

import pytest

from pilothouse.identity.tokens import load_or_create_token, read_token, token_matches
from pilothouse.kit.errors import SettingsError


def test_first_start_makes_a_secret_that_only_its_owner_can_read(tmp_path: Path) -> None:
    path = tmp_path / "state" / "token"
    token = load_or_create_token(path)
    assert len(token) >= 43
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [p.name for p in path.parent.iterdir()] == ["token"], "no draft is left behind"


def test_later_starts_read_the_same_secret(tmp_path: Path) -> None:
    path = tmp_path / "token"
    assert load_or_create_token(path) == load_or_create_token(path) == read_token(path)


def test_two_control_planes_have_different_secrets(tmp_path: Path) -> None:
    assert load_or_create_token(tmp_path / "a") != load_or_create_token(tmp_path / "b")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666])
def test_a_file_that_others_can_read_is_refused_with_the_way_out(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "token"
    load_or_create_token(path)
    path.chmod(mode)
    with pytest.raises(SettingsError, match=f"mode {mode:04o}.*chmod 600"):
        load_or_create_token(path)


@pytest.mark.parametrize("content", ["", "short\n"])
def test_a_truncated_file_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "token"
    path.write_text(content)
    path.chmod(0o600)
    with pytest.raises(SettingsError, match="no usable token"):
        load_or_create_token(path)


def test_a_folder_that_cannot_be_made_is_a_settings_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match="cannot use the token file"):
        load_or_create_token(tmp_path / "file" / "token")


@pytest.mark.parametrize(
    ("given", "expected", "matches"),
    [
        ("secret", "secret", True),
        ("Secret", "secret", False),
        ("", "secret", False),
        ("", "", False),
        ("sécret", "sécret", True),
    ],
)
def test_tokens_match_only_when_equal_and_never_when_empty(given: str, expected: str, matches: bool) -> None:
    assert token_matches(given, expected) is matches

"""Where Envoy is looked for, in which order, and what is said if it is nowhere."""

import stat
from pathlib import Path

import pytest

from pilothouse.agent.binary import decode_version, find_envoy, read_version
from pilothouse.kit.errors import EnvoyNotFound


def a_program(path: Path, text: str = "#!/bin/sh\n") -> Path:
    path.write_text(text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def test_the_setting_wins(tmp_path: Path) -> None:
    assert find_envoy(str(a_program(tmp_path / "mine"))) == tmp_path / "mine"


@pytest.mark.parametrize("kind", ["missing", "a folder", "not executable"])
def test_a_setting_that_names_no_program_is_an_error_not_a_hint(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "mine"
    if kind == "a folder":
        path.mkdir()
    elif kind == "not executable":
        path.write_text("")
    with pytest.raises(EnvoyNotFound, match="not an executable file"):
        find_envoy(str(path))


def test_the_distribution_comes_before_path(tmp_path: Path) -> None:
    a_program(tmp_path / "envoy")
    assert find_envoy(search_path=str(tmp_path)).parts[-3:] == ("envoy", "_bin", "envoy")


def test_path_is_the_last_resort(tmp_path: Path) -> None:
    assert (
        find_envoy(search_path=str(a_program(tmp_path / "envoy").parent), package="no-such-thing") == tmp_path / "envoy"
    )


def test_nowhere_is_said_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(EnvoyNotFound, match="pip install"):
        find_envoy(search_path=str(tmp_path), package="no-such-thing")


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("\nenvoy  version: 9e55/1.40.0/Clean/RELEASE/BoringSSL\n\n", "1.40.0"),
        ("envoy  version: 9e55/1.41.0-dev/Modified/DEBUG/BoringSSL", "1.41.0-dev"),
        ("something else", ""),
    ],
)
def test_the_version_is_read_from_what_envoy_prints(text: str, version: str) -> None:
    assert decode_version(text) == version


@pytest.mark.parametrize(
    ("text", "said"),
    [("#!/bin/sh\necho hello\n", "printed no Envoy version"), ("#!/no/such/interpreter\n", "does not run")],
)
async def test_a_program_that_is_no_envoy_is_found_out(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(EnvoyNotFound, match=said):
        await read_version(a_program(tmp_path / "envoy", text))

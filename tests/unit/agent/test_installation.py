"""Files that come and go, all of them."""

from pathlib import Path

import pytest

from pilothouse.agent.installation import Installation, hidden_part, run_systemctl
from pilothouse.kit.errors import PilothouseError

from .test_units import PLAN


def never(*arguments: str) -> None:
    raise AssertionError(f"systemctl {arguments} was asked for another root")


def tree(root: Path) -> dict[str, str]:
    return {str(p.relative_to(root)): p.read_text() if p.is_file() else "" for p in root.rglob("*")}


@pytest.mark.parametrize("before", [(), ("etc/pilothouse/token",), ("etc/systemd/system/other.service",)])
def test_uninstall_leaves_nothing_that_install_wrote(tmp_path: Path, before: tuple[str, ...]) -> None:
    for name in before:
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text("the operator's own")
    found = tree(tmp_path)
    here = Installation(tmp_path, "hello-v1", "default")
    assert here.install(PLAN, never) == (
        tmp_path / "etc/systemd/system/pilothouse-agent-hello-v1.service",
        tmp_path / "etc/pilothouse/agent-hello-v1.env",
    )
    assert here.unit_file.stat().st_mode & 0o777 == 0o644
    wanted = tmp_path / "etc/systemd/system/multi-user.target.wants"
    wanted.mkdir()
    (wanted / here.unit).symlink_to(here.unit_file)  # as `systemctl --root enable` does
    here.install(PLAN, never)
    assert len(here.uninstall(never)) == 2
    assert tree(tmp_path) == found
    assert here.uninstall(never) == ()


def test_a_unit_of_the_operators_own_is_neither_replaced_nor_removed(tmp_path: Path) -> None:
    here = Installation(tmp_path, "hello-v1", "default")
    here.unit_file.parent.mkdir(parents=True)
    here.unit_file.write_text("[Unit]\n")
    for ask in (lambda: here.install(PLAN, never), lambda: here.uninstall(never)):
        with pytest.raises(PilothouseError, match="was not written by"):
            ask()
    assert here.unit_file.read_text() == "[Unit]\n"
    assert not here.environment_file.exists()


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "etc").write_text("a file")
    with pytest.raises(PilothouseError, match=str(tmp_path)):
        Installation(tmp_path, "a", "default").install(PLAN, never)


def test_what_systemctl_says_is_passed_on() -> None:
    with pytest.raises(PilothouseError, match="systemctl --no-such-option failed"):
        run_systemctl("--no-such-option")


def test_what_keeps_a_user_from_a_file_is_found(tmp_path: Path) -> None:
    path = tmp_path / "inner" / "token"
    path.parent.mkdir()
    path.write_text("x")
    for part in (tmp_path, tmp_path.parent, tmp_path.parent.parent, path.parent):
        part.chmod(0o755)
    path.chmod(0o600)
    owner, stranger = path.stat().st_uid, 54_321
    assert hidden_part(path, owner, frozenset()) is None
    assert hidden_part(path, stranger, frozenset()) == path
    path.chmod(0o640)
    assert hidden_part(path, stranger, frozenset({path.stat().st_gid})) is None
    path.parent.chmod(0o700)
    assert hidden_part(path, stranger, frozenset()) == path.parent
    assert hidden_part(path.with_name("missing"), owner, frozenset()) == path.with_name("missing")

"""One folder per running mesh: claimed by one, found by others, left without a trace."""

import os
import stat
from pathlib import Path

import pytest

from pilothouse.demo.runtime import RunRecord, claim, find_runs, runtime_root, write_private
from pilothouse.kit.errors import PilothouseError, PortInUse


def record(port: int) -> RunRecord:
    return RunRecord(os.getpid(), port, f"127.0.0.1:{port}", "token", "config", "logs")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "pilothouse"


def test_the_root_is_the_users_runtime_folder_or_the_one_for_temporary_files() -> None:
    assert runtime_root({"XDG_RUNTIME_DIR": "/run/user/7"}) == Path(f"/run/user/7/pilothouse-{os.getuid()}")
    assert runtime_root({}).name == f"pilothouse-{os.getuid()}"


def test_a_claimed_folder_is_private_and_vanishes_when_it_is_released(root: Path) -> None:
    folder = claim(root, 8080)
    assert mode(root) == mode(folder.path) == 0o700
    (folder.path / "logs").mkdir()
    write_private(folder.path / "token", "secret")
    assert mode(folder.path / "token") == 0o600
    folder.release(keep_logs=False, keep_config=False)
    assert not root.exists()


def test_logs_and_configuration_stay_if_that_is_asked(root: Path) -> None:
    folder = claim(root, 8080)
    for name in ("logs", "config", "state"):
        (folder.path / name).mkdir()
    folder.release(keep_logs=True, keep_config=True)
    assert sorted(path.name for path in folder.path.iterdir()) == ["config", "logs"]


def test_a_second_mesh_on_the_same_port_is_refused_with_the_first_ones_process(root: Path) -> None:
    folder = claim(root, 8080)
    folder.announce(record(8080))
    with pytest.raises(PortInUse, match=rf"another `pilothouse up` \(process {os.getpid()}\) runs on port 8080"):
        claim(root, 8080)
    folder.release(keep_logs=False, keep_config=False)
    claim(root, 8080).release(keep_logs=False, keep_config=False)


def test_meshes_on_different_ports_do_not_know_each_other(root: Path) -> None:
    first, second = claim(root, 8080), claim(root, 8180)
    first.release(keep_logs=False, keep_config=False)
    assert second.path.exists()
    second.release(keep_logs=False, keep_config=False)


def test_what_a_killed_mesh_left_is_cleared_but_for_configuration(root: Path) -> None:
    folder = claim(root, 8080)
    (folder.path / "state").mkdir()
    (folder.path / "config").mkdir()
    folder.announce(record(8080))
    os.close(folder.lock)  # As the kernel does when a process dies.
    again = claim(root, 8080)
    assert sorted(path.name for path in again.path.iterdir()) == ["config", "lock"]
    again.release(keep_logs=False, keep_config=False)


def test_only_meshes_that_run_are_found(root: Path) -> None:
    running, dead = claim(root, 8180), claim(root, 8080)
    running.announce(record(8180))
    dead.announce(record(8080))
    os.close(dead.lock)
    assert [run.port for run in find_runs(root)] == [8180]
    running.release(keep_logs=False, keep_config=False)
    assert find_runs(root) == ()


def test_a_record_that_is_not_understood_is_no_mesh(root: Path) -> None:
    folder = claim(root, 8080)
    write_private(folder.path / "run.json", "{}")
    assert find_runs(root) == ()
    folder.release(keep_logs=False, keep_config=False)


def test_a_folder_that_others_may_enter_is_not_used(root: Path) -> None:
    root.mkdir(mode=0o700)
    (root / "8080").mkdir()
    (root / "8080").chmod(0o755)
    with pytest.raises(PilothouseError, match="not a folder that only you can open"):
        claim(root, 8080)


def test_a_link_in_place_of_the_folder_is_not_followed(root: Path, tmp_path: Path) -> None:
    root.mkdir(mode=0o700)
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    (root / "8080").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(PilothouseError, match="not a folder that only you can open"):
        claim(root, 8080)

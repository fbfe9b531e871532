"""What a mesh prepares before its first process, and takes back if it cannot start."""

import socket
import stat
from pathlib import Path

import pytest

from pilothouse.demo.config import starting_files
from pilothouse.demo.plan import Kind, MeshPlan, ProcessPlan
from pilothouse.demo.ports import proposals
from pilothouse.demo.progress import Progress, State
from pilothouse.demo.runtime import find_runs
from pilothouse.demo.up import MeshNotReady, MeshOptions, RunningMesh
from pilothouse.kit.errors import PortInUse, SettingsError
from pilothouse.server.settings_file import load_settings


@pytest.fixture
def port() -> int:
    return next(proposals(MeshPlan.of(10_200, "/nowhere", "/nowhere")))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "run"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def is_gone(folder: Path) -> bool:
    return not folder.exists()


async def test_everything_that_the_processes_read_is_there_before_them(root: Path, port: int) -> None:
    async with RunningMesh(MeshOptions(port, root=root)) as mesh:
        folder = root / str(port)
        assert names(folder) == ["config", "lock", "logs", "mesh.yaml", "run.json", "token"]
        assert stat.S_IMODE((folder / "token").stat().st_mode) == 0o600
        assert names(mesh.config_folder) == sorted(starting_files(mesh.plan))
        assert mesh.wrote_configuration
        settings = load_settings(folder / "mesh.yaml")
        assert settings.xds_address == f"127.0.0.1:{port - 8080 + 15010}"
        assert settings.config_folder == str(mesh.config_folder)
        assert settings.token_path == folder / "token"
        (run,) = find_runs(root)
        assert run.admin_address == settings.admin_address
    assert is_gone(root)
    assert mesh.kept == ()


async def test_paths_with_quotes_and_spaces_reach_the_control_plane_as_they_are(tmp_path: Path, port: int) -> None:
    folder = tmp_path / 'it\'s "my": folder #1'
    options = MeshOptions(port, config_folder=folder, root=tmp_path / "run")
    async with RunningMesh(options) as mesh:
        assert load_settings(Path(mesh.plan.settings_file)).config_folder == str(folder)


async def test_a_port_in_use_leaves_nothing_behind(root: Path, port: int) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", port))
        server.listen()
        with pytest.raises(PortInUse, match="the gateway"):
            await RunningMesh(MeshOptions(port, root=root)).__aenter__()
    assert is_gone(root)


async def test_a_port_out_of_range_makes_no_folder(root: Path) -> None:
    with pytest.raises(SettingsError, match="choose a port"):
        await RunningMesh(MeshOptions(70_000, root=root)).__aenter__()
    assert is_gone(root)


async def test_configuration_that_was_edited_outlives_the_mesh_and_is_used_by_the_next(root: Path, port: int) -> None:
    async with RunningMesh(MeshOptions(port, root=root)) as mesh:
        (mesh.config_folder / "mine.yaml").write_text("# mine\n")
    assert mesh.kept == (mesh.config_folder,)
    async with RunningMesh(MeshOptions(port, root=root)) as again:
        assert not again.wrote_configuration
        assert "mine.yaml" in names(again.config_folder)


async def test_a_check_starts_from_the_starting_configuration_whatever_was_edited(root: Path, port: int) -> None:
    async with RunningMesh(MeshOptions(port, root=root)) as mesh:
        (mesh.config_folder / "mine.yaml").write_text("# mine\n")
    async with RunningMesh(MeshOptions(port, root=root, check=True)) as check:
        assert names(check.config_folder) == sorted(starting_files(check.plan))
    assert "mine.yaml" in names(mesh.config_folder)
    assert is_gone(check.config_folder)


async def test_a_folder_of_the_users_own_is_never_removed(tmp_path: Path, port: int) -> None:
    own = tmp_path / "own"
    async with RunningMesh(MeshOptions(port, config_folder=own, root=tmp_path / "run")) as mesh:
        assert names(own) == sorted(starting_files(mesh.plan))
    assert names(own) == sorted(starting_files(mesh.plan))
    assert is_gone(tmp_path / "run")


async def test_logs_stay_after_a_failure_and_when_asked(root: Path, port: int) -> None:
    with pytest.raises(ZeroDivisionError):
        async with RunningMesh(MeshOptions(port, root=root)) as failed:
            raise ZeroDivisionError
    assert failed.kept == (failed.log_folder,)
    async with RunningMesh(MeshOptions(port, root=root, keep_logs=True)) as kept:
        pass
    assert names(root / str(port)) == ["logs"]
    assert kept.kept == (kept.log_folder,)


async def test_a_mesh_that_does_not_come_up_says_what_is_missing(root: Path, port: int) -> None:
    with pytest.raises(MeshNotReady) as caught:
        async with RunningMesh(MeshOptions(port, root=root)) as mesh:
            await mesh.wait_ready(0.2)
    lines = str(caught.value).splitlines()
    assert lines[0] == "the mesh is not ready after 0.2 s:"
    assert "reviews-v1 sidecar: starting" in lines
    assert lines[-1] == f"The logs are in {mesh.log_folder}"
    assert mesh.kept == (mesh.log_folder,)


async def test_a_process_that_fails_again_and_again_ends_the_wait_with_its_last_words(root: Path, port: int) -> None:
    async with RunningMesh(MeshOptions(port, root=root)) as mesh:
        failing = ("timeit", "-n1", "-r1", "raise SystemExit('no Envoy was found')")
        mesh.processes.start([ProcessPlan("ratings-v1 sidecar", Kind.SIDECAR, failing, (), f"{mesh.log_folder}/a.log")])
        with pytest.raises(
            MeshNotReady, match=r"ratings-v1 sidecar ended with exit code 1, 4 times in a row(.|\n)*no Envoy"
        ):
            await mesh.wait_ready(60)


async def test_a_mesh_that_does_not_converge_names_who_waits(root: Path, port: int) -> None:
    async with RunningMesh(MeshOptions(port, root=root)) as mesh:
        with pytest.raises(MeshNotReady, match=r"not every proxy took the configuration within 0\.2 s: control plane"):
            await mesh.wait_converged(0.2)


async def test_a_watcher_sees_the_first_state_before_anything_answers(root: Path, port: int) -> None:
    seen: list[Progress] = []
    async with RunningMesh(MeshOptions(port, root=root)) as mesh:
        await mesh.start(seen.append)
        mesh.kill()
    assert {part.state for _, part in seen[0].parts} == {State.STARTING}

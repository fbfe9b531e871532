"""The parts of the supervisor that need no Envoy."""

import stat
from pathlib import Path
from typing import cast

import pytest

from pilothouse.agent.admin import EnvoyAdmin
from pilothouse.agent.envoy import Envoy, EnvoyCommand, Process, describe_exit, write_private
from pilothouse.aio.tasks import Tasks
from tests.load import until


@pytest.mark.parametrize(
    ("code", "text"),
    [(0, "ended with exit code 0"), (1, "ended with exit code 1"), (-9, "killed by SIGKILL"), (-99, "signal 99")],
)
def test_an_exit_is_told_in_words(code: int, text: str) -> None:
    assert describe_exit(code).endswith(text)


def test_the_first_start_is_no_restart() -> None:
    assert [Process(starts=starts).restarts for starts in range(4)] == [0, 0, 1, 2]


def test_a_private_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "new" / "envoy.json"
    write_private(path, "one")
    write_private(path, "two")
    assert path.read_text() == "two"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [one.name for one in path.parent.iterdir()] == ["envoy.json"]


def test_envoy_is_run_without_hot_restart_and_with_prompt_logs(tmp_path: Path) -> None:
    arguments = EnvoyCommand(Path("/envoy"), "{}", tmp_path, tmp_path).arguments()
    assert "--disable-hot-restart" in arguments
    assert arguments[arguments.index("--file-flush-interval-msec") + 1] == "100"
    assert arguments[arguments.index("--config-path") + 1] == str(tmp_path / "envoy.json")


async def test_a_program_that_always_fails_is_started_again_until_stop(tmp_path: Path) -> None:
    envoy = Envoy(EnvoyCommand(Path("/bin/false"), "{}", tmp_path, tmp_path / "logs"), cast(EnvoyAdmin, None))
    async with Tasks() as tasks:
        task = tasks.start("envoy", envoy.run())
        await until(lambda: envoy.process.value.starts >= 3, what="three starts")
        await envoy.stop(0)
        await until(task.done)
        assert envoy.process.value.pid == 0


async def test_a_bootstrap_that_cannot_be_written_is_tried_again(tmp_path: Path) -> None:
    in_the_way = tmp_path / "state"
    in_the_way.write_text("a file where the folder should be")
    envoy = Envoy(EnvoyCommand(Path("/bin/false"), "{}", in_the_way, tmp_path / "logs"), cast(EnvoyAdmin, None))
    async with Tasks() as tasks:
        tasks.start("envoy", envoy.run())
        await until(lambda: "could not be started" in envoy.process.value.last_exit)
        in_the_way.unlink()
        await until(lambda: envoy.process.value.starts >= 1, what="a start")
        await envoy.stop(0)


async def test_a_supervisor_that_never_ran_stops_at_once(tmp_path: Path) -> None:
    envoy = Envoy(EnvoyCommand(Path("/bin/false"), "{}", tmp_path, tmp_path), cast(EnvoyAdmin, None))
    await envoy.stop(5.0)
    await envoy.run()
    assert envoy.process.value.starts == 0

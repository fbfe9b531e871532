"""The parts of the supervisor that need no Envoy."""

import os
from pathlib import Path
from typing import cast

import pytest

from pilothouse.agent.admin import EnvoyAdmin
from pilothouse.agent.envoy import Envoy, EnvoyCommand
from pilothouse.agent.epoch import describe_exit
from pilothouse.aio.tasks import Tasks
from tests.load import until


@pytest.mark.parametrize(
    ("code", "text"),
    [(0, "ended with exit code 0"), (1, "ended with exit code 1"), (-9, "killed by SIGKILL"), (-99, "signal 99")],
)
def test_an_exit_is_told_in_words(code: int, text: str) -> None:
    assert describe_exit(code).endswith(text)


def test_envoy_is_run_with_prompt_logs_and_a_parent_that_outlives_the_drain(tmp_path: Path) -> None:
    arguments = EnvoyCommand(Path("/envoy"), "{}", tmp_path, tmp_path).arguments()
    assert arguments[arguments.index("--file-flush-interval-msec") + 1] == "100"
    drain = int(arguments[arguments.index("--drain-time-s") + 1])
    assert int(arguments[arguments.index("--parent-shutdown-time-s") + 1]) > drain


def test_the_digest_tells_bootstraps_apart(tmp_path: Path) -> None:
    one, same, other = (EnvoyCommand(Path("/envoy"), text, tmp_path, tmp_path).digest for text in ("{}", "{}", "{ }"))
    assert one == same != other


async def test_a_program_that_always_fails_is_started_again_until_stop(tmp_path: Path) -> None:
    envoy = Envoy(
        EnvoyCommand(Path("/bin/false"), "{}", tmp_path, tmp_path / "logs", owner_pid=os.getpid()),
        cast(EnvoyAdmin, None),
    )
    async with Tasks() as tasks:
        task = tasks.start("envoy", envoy.run())
        await until(lambda: envoy.process.value.starts >= 3, what="three starts")
        await envoy.stop(0)
        await until(task.done)
        assert envoy.process.value.pid == 0


async def test_a_bootstrap_that_cannot_be_written_is_tried_again(tmp_path: Path) -> None:
    in_the_way = tmp_path / "state"
    in_the_way.write_text("a file where the folder should be")
    envoy = Envoy(
        EnvoyCommand(Path("/bin/false"), "{}", in_the_way, tmp_path / "logs", owner_pid=os.getpid()),
        cast(EnvoyAdmin, None),
    )
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

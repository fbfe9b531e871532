"""The registry's one loop, and when it writes."""

import asyncio
from collections.abc import Callable
from pathlib import Path

from pilothouse.aio.tasks import Tasks
from pilothouse.model.registration import Health
from pilothouse.registry.embedded import EmbeddedRules
from pilothouse.registry.stored import FILE_NAME, KnownState, RegistrationFile
from pilothouse.registry.upkeep import Saver, keep

from .support import Harness, a_workload, known


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)


class Kept:
    """A registry with its file. ``file`` is another handle of it, which only reads."""

    def __init__(self, folder: Path, rules: EmbeddedRules, earlier: KnownState | None = None) -> None:
        self.mesh = Harness(rules, earlier)
        self.written = RegistrationFile(folder / FILE_NAME, self.mesh.clock)
        self.file = RegistrationFile(folder / FILE_NAME, self.mesh.clock)
        self.saver = Saver(self.mesh.registry, self.written, self.mesh.clock)


async def test_the_file_follows_the_registrations(tmp_path: Path) -> None:
    kept, synced = Kept(tmp_path, EmbeddedRules(settle_seconds=0.0)), asyncio.Event()
    registration = kept.mesh.join()
    async with Tasks() as tasks:
        tasks.start("registry", keep(kept.mesh.registry, kept.saver, synced.set))
        async with asyncio.timeout(10):
            await synced.wait()
        await until(lambda: kept.file.read() == known(a_workload()))
        kept.mesh.registry.health(registration, Health(healthy=False))
        await until(lambda: kept.file.read() == known(a_workload(), serving=False))
        kept.mesh.registry.deregister(registration)
        await until(lambda: kept.file.read() == KnownState())


async def test_a_stop_leaves_the_registrations_on_disk(tmp_path: Path) -> None:
    kept, synced = Kept(tmp_path, EmbeddedRules(settle_seconds=0.0)), asyncio.Event()
    async with Tasks() as tasks:
        tasks.start("registry", keep(kept.mesh.registry, kept.saver, synced.set))
        async with asyncio.timeout(10):
            await synced.wait()
        kept.mesh.registry.lost(kept.mesh.join())
    assert kept.file.read() == known(a_workload())


def test_nothing_is_written_while_nothing_changes(tmp_path: Path) -> None:
    kept = Kept(tmp_path, EmbeddedRules(), known(a_workload()))
    kept.mesh.join()
    kept.saver.save()
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_takes_nothing_loses_nothing_in_memory_and_is_tried_again(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    folder.write_text("no folder")
    kept = Kept(folder, EmbeddedRules())
    kept.mesh.join()
    kept.saver.save()
    assert [problem.code.code for problem in kept.written.problems] == ["registrations-unsaved"]
    assert kept.mesh.serving() == ["reviews-v1"]
    folder.unlink()
    kept.saver.save()
    assert not folder.exists(), "not with each tick"
    kept.mesh.clock.advance(1.0)
    kept.saver.save()
    assert kept.file.read() == known(a_workload())
    assert kept.written.problems == ()

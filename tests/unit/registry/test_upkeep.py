"""The registry's one loop."""

import asyncio
from pathlib import Path

from pilothouse.aio.tasks import Tasks
from pilothouse.registry.embedded import EmbeddedRules
from pilothouse.registry.roster import FILE_NAME, read_roster, write_roster
from pilothouse.registry.upkeep import keep

from .support import Harness


async def until(path: Path, expected: set[str]) -> None:
    for _ in range(1000):
        if read_roster(path) == expected:
            return
        await asyncio.sleep(0.01)
    raise TimeoutError(f"the roster is {read_roster(path)}, not {expected}")


async def test_the_roster_follows_the_registrations(tmp_path: Path) -> None:
    path, mesh, synced = tmp_path / FILE_NAME, Harness(EmbeddedRules(settle_seconds=0.0)), asyncio.Event()
    registration = mesh.join()
    async with Tasks() as tasks:
        tasks.start("registry", keep(mesh.registry, path, synced.set))
        async with asyncio.timeout(10):
            await synced.wait()
        await until(path, {"reviews-v1"})
        mesh.registry.deregister(registration)
        await until(path, set())


async def test_the_earlier_roster_stands_until_the_wait_is_over(tmp_path: Path) -> None:
    path = tmp_path / FILE_NAME
    write_roster(path, ["reviews-v1", "reviews-v2"])
    mesh = Harness(EmbeddedRules(restart_seconds=2.5), tuple(read_roster(path)))
    synced = asyncio.Event()
    async with Tasks() as tasks:
        tasks.start("registry", keep(mesh.registry, path, synced.set))
        mesh.join()
        await asyncio.sleep(0)
    assert not synced.is_set()
    assert read_roster(path) == {"reviews-v1", "reviews-v2"}, "a crash during the wait forgets nobody"


async def test_a_stop_leaves_the_registrations_on_disk(tmp_path: Path) -> None:
    path, mesh, synced = tmp_path / FILE_NAME, Harness(EmbeddedRules(settle_seconds=0.0)), asyncio.Event()
    async with Tasks() as tasks:
        tasks.start("registry", keep(mesh.registry, path, synced.set))
        async with asyncio.timeout(10):
            await synced.wait()
        mesh.join()
    assert read_roster(path) == {"reviews-v1"}

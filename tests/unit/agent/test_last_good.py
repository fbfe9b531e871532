"""The store: survives a restart, sets aside what it cannot trust, tells what the disk refuses, goes on regardless."""

from pathlib import Path

import pytest

from pilothouse.agent.last_good import LastGood
from pilothouse.aio.clock import ManualClock
from pilothouse.aio.tasks import Tasks
from pilothouse.xds.resource import CLUSTER, ROUTE, VIRTUAL_HOST, Resource
from tests.load import until

NODE = "sidecar~127.0.0.1~a.default~default.service.mesh"
A = Resource("a", "1", b"body")


def a_store(tmp_path: Path, most_bytes: int = 1000) -> LastGood:
    return LastGood(tmp_path / "last-good", NODE, most_bytes=most_bytes, clock=ManualClock())


async def test_what_is_kept_is_there_after_a_restart_with_the_time_of_the_last_contact(tmp_path: Path) -> None:
    store = a_store(tmp_path)
    assert store.empty
    store.keep(CLUSTER, {"a": A})
    assert await store.flush()
    assert store.state.writes == 1
    again = a_store(tmp_path)
    again.load()
    assert again.of(CLUSTER) == {"a": A}
    assert again.state.confirmed_at == 1000.0
    assert not again.empty


async def test_a_contact_is_noted_without_writing_the_content_again(tmp_path: Path) -> None:
    clock = ManualClock()
    store = LastGood(tmp_path / "last-good", NODE, most_bytes=1000, clock=clock)
    store.touch()  # nothing is there yet
    store.keep(CLUSTER, {"a": A})
    await store.flush()
    clock.advance(60)
    store.touch()
    again = LastGood(tmp_path / "last-good", NODE, most_bytes=1000, clock=clock)
    again.load()
    assert again.state.confirmed_at == 1060.0


async def test_a_burst_is_written_once(tmp_path: Path) -> None:
    store = a_store(tmp_path)
    async with Tasks() as tasks:
        tasks.start("store", store.run())
        for number in range(50):
            store.keep(CLUSTER, {"a": Resource("a", str(number), b"body")})
        await until(lambda: store.state.writes > 0)
    assert store.state.writes == 1
    again = a_store(tmp_path)
    again.load()
    assert again.of(CLUSTER)["a"].version == "49"


@pytest.mark.parametrize("damage", [b"", b"nonsense", b"pilothouse last good 2\n"])
def test_what_cannot_be_trusted_is_set_aside_and_counts_as_none(tmp_path: Path, damage: bytes) -> None:
    (tmp_path / "last-good").write_bytes(damage)
    store = a_store(tmp_path)
    store.load()
    assert store.empty
    assert "was not used" in store.state.problem
    assert [entry.name for entry in tmp_path.iterdir()] == ["last-good.bad-1000"]


def test_a_file_that_cannot_be_read_is_told_and_counts_as_none(tmp_path: Path) -> None:
    (tmp_path / "last-good").mkdir()
    store = a_store(tmp_path)
    store.load()
    assert store.empty
    assert "cannot be read" in store.state.problem


async def test_a_disk_that_takes_nothing_is_counted_and_the_next_write_makes_it_good(tmp_path: Path) -> None:
    in_the_way = tmp_path / "last-good"
    in_the_way.mkdir()
    store = a_store(tmp_path)
    store.keep(CLUSTER, {"a": A})
    assert not await store.flush()
    assert store.of(CLUSTER) == {"a": A}, "it still serves from memory"
    assert store.state.failed_writes == 1
    assert "could not be stored" in store.state.problem
    in_the_way.rmdir()
    assert await store.flush()
    assert store.state.problem == ""


async def test_more_than_the_bound_is_not_written_and_told(tmp_path: Path) -> None:
    store = a_store(tmp_path, most_bytes=300)
    store.keep(CLUSTER, {"a": A})
    assert await store.flush()
    store.keep(CLUSTER, {"a": Resource("a", "2", b"x" * 300)})
    assert not await store.flush()
    assert "300 are allowed" in store.state.problem
    again = a_store(tmp_path, most_bytes=300)
    again.load()
    assert again.of(CLUSTER) == {"a": A}


async def test_a_stored_route_brings_its_virtual_hosts_behind_it(tmp_path: Path) -> None:
    store = LastGood(tmp_path / "last-good", NODE, most_bytes=1000, clock=ManualClock())
    store.keep(ROUTE, {"web": Resource("web", "1", b"")})
    store.keep(CLUSTER, {"a": A})
    snapshot = store.snapshot()
    route = snapshot.find(ROUTE, "web")
    assert route is not None
    assert route.follows == ((VIRTUAL_HOST, "web/"),)
    assert snapshot.find(CLUSTER, "a") == A

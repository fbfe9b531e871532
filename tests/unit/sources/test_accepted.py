"""The copy of the accepted configuration, and the restarts that it is for."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from pilothouse.kit.errors import SettingsError
from pilothouse.sources.accepted import Accepted, CopyUnusable, Piece, read_copy, write_copy
from pilothouse.sources.files import Keeping

from .support import FAST, HALF_WRITTEN, Folder, a_route

COPY = Accepted("/config", "default", (Piece("/config/a.yaml", "text", ()),))


@dataclass
class Place:
    """A configuration folder beside a copy, and control planes that come and go."""

    root: Path

    @property
    def copy(self) -> Path:
        return self.root / "state" / "copy"

    def start(self, folder: str = "config") -> Folder:
        """A new process."""
        self.copy.parent.mkdir(exist_ok=True)
        started = Folder(self.root / folder, FAST, Keeping(copy=self.copy))
        started.source.restore()
        return started

    async def with_routes(self, count: int = 20) -> Folder:
        folder = self.start()
        for number in range(count):
            folder.write(f"{number:02}.yaml", a_route(f"r-{number:02}"))
        await folder.look()
        return folder


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


async def test_a_restart_beside_a_half_empty_folder_holds_what_is_missing(place: Place) -> None:
    before = await place.with_routes()
    for path in list(before.path.iterdir())[:15]:
        path.unlink()
    folder = place.start()
    await folder.look()
    assert sorted(folder.names()) == sorted(before.names())
    assert folder.codes() == ["deletion-held"]
    assert "15 of 20 objects" in folder.emitted[0].problems[0].message


async def test_objects_that_are_known_again_equal_those_that_were_served(place: Place) -> None:
    before = await place.with_routes()
    folder = place.start()
    assert folder.source.served.objects == before.source.served.objects
    await folder.look()
    assert folder.emitted[0] == before.emitted[-1]


async def test_a_restart_without_the_folder_serves_on(place: Place) -> None:
    before = await place.with_routes(3)
    shutil.rmtree(before.path)
    folder = place.start()
    folder.source.check()
    await folder.look()
    assert len(folder.names()) == 3
    assert folder.codes() == ["deletion-held"]


async def test_a_hold_outlives_a_restart_though_little_of_it_is_left(place: Place) -> None:
    first = await place.with_routes()
    shutil.rmtree(first.path)
    await first.look()
    since = first.source.served.since
    for number in range(18):
        first.write(f"{number:02}.yaml", a_route(f"r-{number:02}"))
    await first.look()
    assert len(first.source.served.held) == 2
    second = place.start()
    await second.look()
    assert (len(second.source.served.held), second.source.served.since) == (2, since)
    assert await second.source.accept(second.source.served.change)
    third = place.start()
    await third.look()
    assert len(third.names()) == 18
    assert third.codes() == []


async def test_a_file_that_broke_while_nobody_looked_keeps_its_last_good_version(place: Place) -> None:
    before = await place.with_routes(2)
    before.write("00.yaml", HALF_WRITTEN)
    folder = place.start()
    await folder.look()
    assert sorted(folder.names()) == ["r-00", "r-01"]
    assert "goes on" in folder.emitted[0].problems[0].message
    again = place.start()
    await again.look()
    assert sorted(again.names()) == ["r-00", "r-01"], "also the second time"


async def test_another_folder_is_not_measured_by_this_ones_copy(place: Place) -> None:
    await place.with_routes()
    (place.root / "other").mkdir()
    folder = place.start("other")
    await folder.look()
    assert (folder.names(), folder.codes()) == ([], [])
    with pytest.raises(SettingsError, match="is not a folder"):
        place.start("missing").source.check()


async def test_only_what_is_held_now_is_accepted(place: Place) -> None:
    folder = await place.with_routes(30)
    for path in sorted(folder.path.iterdir())[:20]:
        path.unlink()
    await folder.look()
    seen = folder.source.served.change
    (folder.path / "29.yaml").unlink()
    await folder.look()
    assert not await folder.source.accept(seen)
    assert not await folder.source.accept("")
    assert len(folder.names()) == 30
    assert await folder.source.accept(folder.source.served.change)
    assert (len(folder.names()), folder.codes()) == (9, [])
    await folder.look()
    assert (len(folder.names()), folder.codes()) == (9, [])


async def test_after_accepting_the_loss_of_the_folder_its_absence_is_still_told(place: Place) -> None:
    folder = await place.with_routes(3)
    shutil.rmtree(folder.path)
    await folder.look()
    assert await folder.source.accept(folder.source.served.change)
    await folder.look()
    assert (folder.names(), folder.codes()) == ([], ["folder-unreadable"])


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda body: body[:-1], "its checksum does not fit"),
        (lambda body: body[:40] + bytes([body[40] ^ 1]) + body[41:], "its checksum does not fit"),
        (lambda body: b"", "is not a copy"),
        (lambda body: b"\0" * 100, "is not a copy"),
        (lambda body: body.replace(b"configuration 1 ", b"configuration 2 ", 1), "newer version"),
    ],
)
async def test_a_copy_that_cannot_be_trusted_is_set_aside_and_told(place: Place, spoil: object, reason: str) -> None:
    await place.with_routes(12)
    assert callable(spoil)
    place.copy.write_bytes(spoil(place.copy.read_bytes()))
    folder = place.start()
    await folder.look()
    assert len(folder.names()) == 12, "the start goes on as if there were none"
    (problem,) = folder.emitted[0].problems
    assert problem.code.code == "last-good-copy"
    assert reason in problem.message
    assert (place.copy.parent / "copy.set-aside").exists()
    assert read_copy(place.copy) is not None, "and a new copy is written"
    assert folder.codes() == []


async def test_a_copy_that_cannot_be_written_is_told_and_stops_nothing(place: Place) -> None:
    place.copy.parent.mkdir()
    (place.copy.parent / ".copy.draft").mkdir()
    folder = await place.with_routes(2)
    assert folder.names() == ["r-00", "r-01"]
    assert folder.codes() == ["last-good-copy"]
    assert "cannot be written" in folder.emitted[-1].problems[0].message
    (place.copy.parent / ".copy.draft").rmdir()
    await folder.look()
    assert folder.codes() == []


def test_a_copy_comes_back_as_it_was_and_is_closed_to_others(tmp_path: Path) -> None:
    path = tmp_path / "copy"
    assert read_copy(path) is None
    write_copy(path, COPY)
    assert read_copy(path) == COPY
    assert path.stat().st_mode & 0o077 == 0
    with pytest.raises(CopyUnusable, match="cannot be read"):
        read_copy(tmp_path)

"""The folder source over real folders: what is emitted, and when."""

import asyncio
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from pilothouse.aio.tasks import Tasks
from pilothouse.config.objects import Decoded
from pilothouse.kit.errors import SettingsError
from pilothouse.sources.files import FileSource, Keeping, Pace
from pilothouse.sources.folder import MOST_BYTES
from pilothouse.sources.hold import HoldRules

from .support import BROKEN_FIELD, FAST, HALF_WRITTEN, Folder, a_route


async def test_the_first_look_hands_over_everything_as_one_delta(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.write("b.yaml", a_route("reviews"))
    folder.write(
        "a/a.json",
        '{"apiVersion": "networking.istio.io/v1", "kind": "Gateway", "metadata": {"name": "edge"}, '
        '"spec": {"servers": [{"port": {"number": 80, "name": "http", "protocol": "HTTP"}, "hosts": ["*"]}]}}',
    )
    await folder.look()
    assert len(folder.emitted) == 1
    assert folder.names() == ["edge", "reviews"]
    assert folder.codes() == []


async def test_an_empty_folder_is_a_state_too(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    await folder.look()
    assert folder.emitted[0].objects == ()


async def test_nothing_is_emitted_while_nothing_changes(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    path = folder.write("a.yaml", a_route("reviews"))
    await folder.look()
    await folder.look()
    os.utime(path)
    await folder.source.look(by_content=True)
    assert len(folder.emitted) == 1


async def test_unchanged_files_keep_their_objects_when_another_changes(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.write("a.yaml", a_route("reviews"))
    folder.write("b.yaml", a_route("ratings"))
    before = {o.key: o for o in (await folder.look()).objects}
    folder.write("b.yaml", a_route("ratings", timeout="2s"))
    after = {o.key: o for o in (await folder.look()).objects}
    changed = [key.name for key in after if after[key] is not before[key]]
    assert changed == ["ratings"]


async def test_a_deleted_file_takes_its_objects_with_it(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.write("a.yaml", a_route("reviews"))
    folder.write("b.yaml", a_route("ratings")).unlink()
    (folder.write("c.yaml", a_route("details"))).unlink()
    await folder.look()
    (tmp_path / "a.yaml").unlink()
    await folder.look()
    assert folder.names() == []
    assert folder.codes() == []


@pytest.mark.parametrize("text", [BROKEN_FIELD, HALF_WRITTEN])
async def test_a_broken_file_keeps_its_last_good_object_and_does_not_hide_its_neighbours(
    tmp_path: Path, text: str
) -> None:
    folder = Folder(tmp_path)
    folder.write("a.yaml", a_route("reviews"))
    folder.write("b.yaml", a_route("ratings"))
    await folder.look()
    folder.write("a.yaml", text)
    folder.write("b.yaml", a_route("ratings", timeout="2s"))
    await folder.look()
    assert sorted(folder.names()) == ["ratings", "reviews"]
    assert folder.codes()
    assert "goes on" in folder.emitted[-1].problems[0].message


async def test_an_emptied_file_is_taken_for_a_half_written_one(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    path = folder.write("a.yaml", a_route("reviews"))
    await folder.look()
    path.write_text("")
    await folder.look()
    assert folder.names() == ["reviews"]
    assert folder.codes() == ["file-empty"]
    path.write_text("# nothing here on purpose\n")
    await folder.look()
    assert folder.names() == []
    assert folder.codes() == []


async def test_text_in_another_encoding_keeps_the_last_good_version(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    path = folder.write("a.yaml", a_route("reviews"))
    await folder.look()
    path.write_bytes("kind: Ü".encode("latin-1"))
    await folder.look()
    assert folder.names() == ["reviews"]
    assert folder.codes() == ["file-unreadable"]


async def test_a_file_that_turned_into_a_folder_keeps_the_last_good_version(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    path = folder.write("a.yaml", a_route("reviews"))
    await folder.look()
    path.unlink()
    path.mkdir()
    await folder.look()
    assert folder.names() == ["reviews"]
    assert folder.codes() == ["file-unreadable"]
    path.rmdir()
    await folder.look()
    assert folder.names() == []


async def test_a_dangling_link_keeps_the_last_good_version(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "config")
    target = tmp_path / "target.yaml"
    target.write_text(a_route("reviews"))
    folder.path.mkdir()
    (folder.path / "a.yaml").symlink_to(target)
    await folder.look()
    target.unlink()
    await folder.look()
    assert folder.names() == ["reviews"]
    assert folder.codes() == ["file-unreadable"]


async def test_a_lost_folder_keeps_everything_and_says_so(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "config")
    folder.write("a.yaml", a_route("reviews"))
    folder.write("b.yaml", a_route("ratings"))
    await folder.look()
    shutil.rmtree(folder.path)
    await folder.look()
    assert folder.names() == ["reviews", "ratings"]
    assert folder.codes() == ["deletion-held"]
    folder.write("b.yaml", a_route("ratings", timeout="7s"))
    await folder.look()
    assert folder.codes() == ["deletion-held"], "the folder is back with less than it held"
    folder.write("a.yaml", a_route("reviews"))
    await folder.look()
    assert folder.names() == ["reviews", "ratings"]
    assert folder.codes() == []


async def test_without_holding_a_lost_folder_still_says_nothing_about_its_objects(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "config", keeping=Keeping(HoldRules(enabled=False)))
    for number in range(12):
        folder.write(f"{number}.yaml", a_route(f"r-{number}"))
    await folder.look()
    shutil.rmtree(folder.path)
    await folder.look()
    assert len(folder.names()) == 12
    assert folder.codes() == ["folder-unreadable"]
    folder.path.mkdir()
    await folder.look()
    assert folder.names() == []
    assert folder.codes() == []


async def test_two_files_with_one_object_are_a_problem_that_goes_when_one_goes(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.write("a.yaml", a_route("reviews"))
    folder.write("b.yaml", a_route("reviews", timeout="9s"))
    await folder.look()
    assert [o.origin.path for o in folder.objects()] == [str(tmp_path / "a.yaml")]
    assert folder.codes() == ["duplicate-object"]
    (tmp_path / "a.yaml").unlink()
    await folder.look()
    assert [o.origin.path for o in folder.objects()] == [str(tmp_path / "b.yaml")]
    assert folder.codes() == []


async def test_a_file_is_read_only_once_it_holds_still(tmp_path: Path) -> None:
    folder = Folder(tmp_path, Pace(still=0.05))
    path = folder.write("a.yaml", a_route("reviews"))
    await folder.look()
    path.write_text(HALF_WRITTEN)
    async with Tasks() as tasks:
        looking = tasks.start("look", folder.source.look())
        await asyncio.sleep(0)
        path.write_text(a_route("reviews", timeout="7s"))
        await looking
    assert all("yaml-syntax" not in [p.code.code for p in delta.problems] for delta in folder.emitted)
    assert folder.codes() == []


async def test_a_crash_of_the_decoder_costs_one_file_only(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.write("a.yaml", "crash")
    folder.write("b.yaml", "fine")

    def decode(text: str, path: str, namespace: str) -> Decoded:
        if text == "crash":
            raise RuntimeError("a bug")
        return Decoded()

    source = FileSource(tmp_path, folder._take, pace=FAST, decode=decode)
    await source.look()
    assert folder.codes() == ["internal-error"]


def test_a_missing_folder_at_start_is_a_settings_error(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="is not a folder"):
        Folder(tmp_path / "gone").source.check()
    Folder(tmp_path).source.check()


async def test_a_watched_folder_reports_writes_renames_and_removals(tmp_path: Path) -> None:
    folder, read_once = Folder(tmp_path, Pace(still=0.005, sweep=60, step_ms=10, debounce_ms=20)), asyncio.Event()
    folder.write("a.yaml", a_route("reviews"))
    async with Tasks() as tasks:
        tasks.start("files", folder.source.run(read_once.set))
        await folder.until(read_once.is_set)
        assert folder.names() == ["reviews"]
        await asyncio.sleep(0)
        folder.write("sub/b.yaml", a_route("ratings"))
        await folder.until(lambda: folder.names() == ["reviews", "ratings"])
        (tmp_path / "a.yaml").write_text(a_route("reviews", timeout="4s"))
        await folder.until(lambda: len(folder.emitted) == 3)
        (tmp_path / "a.yaml").rename(tmp_path / "c.yaml")
        await folder.until(lambda: folder.objects()[0].origin.path == str(tmp_path / "c.yaml"))
        (tmp_path / "sub" / "b.yaml").unlink()
        await folder.until(lambda: folder.names() == ["reviews"])


async def test_a_sweep_finds_what_no_event_told(tmp_path: Path) -> None:
    folder, read_once = Folder(tmp_path), asyncio.Event()
    path = folder.write("a.yaml", a_route("reviews", timeout="1s"))
    seen = path.stat()
    async with Tasks() as tasks:
        tasks.start("files", folder.source.run(read_once.set))
        await folder.until(read_once.is_set)
        with path.open("r+") as file:  # same size, same inode, and below the same modification time
            file.write(a_route("reviews", timeout="2s"))
        os.utime(path, ns=(seen.st_atime_ns, seen.st_mtime_ns))
        await folder.until(lambda: len(folder.emitted) == 2)


async def test_a_lost_folder_is_watched_again_once_it_is_back(tmp_path: Path) -> None:
    folder, read_once = Folder(tmp_path / "config"), asyncio.Event()
    folder.write("a.yaml", a_route("reviews"))
    async with Tasks() as tasks:
        tasks.start("files", folder.source.run(read_once.set))
        await folder.until(read_once.is_set)
        shutil.rmtree(folder.path)
        await folder.until(lambda: folder.codes() == ["deletion-held"])
        assert folder.names() == ["reviews"]
        folder.write("a.yaml", a_route("reviews"))
        await folder.until(lambda: folder.codes() == [])
        folder.write("c.yaml", a_route("details"))
        await folder.until(lambda: folder.names() == ["reviews", "details"])


async def test_a_checkout_of_many_files_is_one_change(tmp_path: Path) -> None:
    folder, read_once = Folder(tmp_path, Pace(still=0.1)), asyncio.Event()
    async with Tasks() as tasks:
        tasks.start("files", folder.source.run(read_once.set))
        await folder.until(read_once.is_set)

        def check_out(timeout: str) -> None:
            for number in range(500):
                (tmp_path / f"{number:03}.yaml").write_text(a_route(f"r-{number}", timeout=timeout))

        for count, timeout in enumerate(("1s", "2s", "3s"), start=2):
            await asyncio.to_thread(check_out, timeout)
            await folder.until(lambda timeout=timeout: timeout_of(folder) == {timeout})
            assert len(folder.emitted) == count, "one delta for each checkout"
    assert len(folder.names()) == 500


def timeout_of(folder: Folder) -> set[str]:
    return {str(rule.timeout) for o in folder.objects() for rule in getattr(o.spec, "http", ())}


async def test_a_mounted_config_map_changes_all_of_its_files_at_once(tmp_path: Path) -> None:
    folder = Folder(tmp_path)

    def mount(version: str) -> None:
        (tmp_path / f"..{version}").mkdir()
        for name in ("ratings", "reviews"):
            (tmp_path / f"..{version}" / f"{name}.yaml").write_text(a_route(name, timeout=version))
        (tmp_path / "..new").symlink_to(f"..{version}")
        (tmp_path / "..new").rename(tmp_path / "..data")

    mount("1s")
    for name in ("ratings", "reviews"):
        (tmp_path / f"{name}.yaml").symlink_to(f"..data/{name}.yaml")
    await folder.look()
    mount("2s")
    await folder.look()
    assert folder.names() == ["ratings", "reviews"]
    assert len(folder.emitted) == 2
    assert timeout_of(folder) == {"2s"}
    assert folder.codes() == []


async def test_a_file_that_is_written_without_a_pause_keeps_its_last_good_version(tmp_path: Path) -> None:
    folder = Folder(tmp_path, Pace(still=0.015, tries=5))
    path = folder.write("a.yaml", a_route("reviews"))
    folder.write("b.yaml", a_route("ratings"))
    await folder.look()
    stop = asyncio.Event()

    def scribble() -> None:
        for number in range(1_000_000):
            if stop.is_set():
                return
            path.write_text(HALF_WRITTEN + "x" * (number % 50))

    async with Tasks() as tasks:
        writer = tasks.start("writer", asyncio.to_thread(scribble))
        folder.write("b.yaml", a_route("ratings", timeout="9s"))
        await folder.look()
        stop.set()
        await writer
    assert sorted(folder.names()) == ["ratings", "reviews"]
    assert timeout_of(folder) == {"1s", "9s"}
    assert folder.codes(), "which one depends on the moment at which the writer was caught"
    folder.write("a.yaml", a_route("reviews"))
    await folder.look()
    assert folder.codes() == []


async def test_a_file_that_never_holds_still_is_told(tmp_path: Path) -> None:
    folder = Folder(tmp_path, Pace(still=0.001, tries=3))
    path = folder.write("a.yaml", a_route("reviews"))
    await folder.look()
    path.unlink()
    path.symlink_to("/proc/uptime")  # never as long as it says
    await folder.look()
    assert folder.names() == ["reviews"]
    assert folder.codes() == ["file-busy"]
    path.unlink()
    folder.write("a.yaml", a_route("reviews"))
    await folder.look()
    assert folder.codes() == []


async def test_a_file_that_is_replaced_a_thousand_times_ends_as_its_last_version(tmp_path: Path) -> None:
    folder, read_once = Folder(tmp_path), asyncio.Event()
    folder.write("a.yaml", a_route("reviews"))

    def replace() -> None:
        for number in range(1, 1001):
            folder.write("a.yaml", a_route("reviews", timeout=f"{number}ms"))

    async with Tasks() as tasks:
        tasks.start("files", folder.source.run(read_once.set))
        await folder.until(read_once.is_set)
        await asyncio.to_thread(replace)
        await folder.until(lambda: timeout_of(folder) == {"1s"} and folder.codes() == [])
    assert all([o.key.name for o in delta.objects] == ["reviews"] for delta in folder.emitted)


async def test_whatever_takes_the_place_of_a_good_file_its_objects_go_on_and_the_reason_is_told(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    spoilt: dict[str, Callable[[Path], object]] = {
        "a folder, not a file": Path.mkdir,
        "a pipe, not a file": os.mkfifo,
        "a device, not a file": lambda path: path.symlink_to("/dev/zero"),
        "a link to nowhere": lambda path: path.symlink_to("nowhere"),
        "larger than 8 MiB": lambda path: path.write_bytes(b"#" * (MOST_BYTES + 1)),
        "not UTF-8 text (byte 3)": lambda path: path.write_bytes(b"a: \xff"),
        "the file is empty": Path.touch,
    }
    for number in range(len(spoilt)):
        folder.write(f"{number}.yaml", a_route(f"r-{number}"))
    good = await folder.look()
    for number, spoil in enumerate(spoilt.values()):
        (tmp_path / f"{number}.yaml").unlink()
        spoil(tmp_path / f"{number}.yaml")
    spoiled = await folder.look()
    assert spoiled.objects == good.objects
    for reason, problem in zip(spoilt, spoiled.problems, strict=True):
        assert reason in problem.message
        assert "(the last good version of VirtualService default/r-" in problem.message

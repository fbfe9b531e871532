"""Processes are kept, told about, and all ended; real ones, small ones."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from pilothouse.demo.leftovers import MARKER, marked_processes
from pilothouse.demo.plan import Kind, ProcessPlan
from pilothouse.demo.processes import Processes, describe_end, inherited
from tests.load import until

SLEEP = "import time; time.sleep(60)"
DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"


@dataclass
class Kept:
    """Processes under test, what they told, and the mark that they carry."""

    folder: Path
    mark: str
    events: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.processes = Processes(self.mark, self.events.append)

    def start(self, name: str, code: str, kind: Kind = Kind.APP) -> None:
        # timeit runs one statement once: the standard library's shortest way to a module that does as it is told.
        arguments = ("timeit", "-n1", "-r1", code)
        self.processes.start([ProcessPlan(name, kind, arguments, (("TOLD", name),), self.log(name))])

    def log(self, name: str) -> str:
        return str(self.folder / f"{name}.log")

    def pid(self, name: str) -> int:
        return self.processes.states[name].pid

    async def running(self, name: str) -> int:
        """The process id, once the process is what it was started as."""
        await until(lambda: is_python(self.pid(name)), what=f"{name} running")
        return self.pid(name)


def is_python(pid: int) -> bool:
    try:
        return b"timeit" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[3:5]
    except OSError:
        return False


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.fixture
async def kept(tmp_path: Path) -> AsyncIterator[Kept]:
    kept = Kept(tmp_path, str(tmp_path))
    yield kept
    await kept.processes.stop()
    assert not marked_processes(kept.mark)


async def test_a_process_runs_with_its_environment_and_its_log(kept: Kept) -> None:
    kept.start("a", f"import os; print(os.environ['TOLD'], flush=True); {SLEEP}")
    await until(lambda: Path(kept.log("a")).exists() and "a" in Path(kept.log("a")).read_text())
    assert kept.processes.tail("a") == "a"


async def test_one_that_is_killed_is_told_about_and_started_again(kept: Kept) -> None:
    kept.start("a", SLEEP)
    before = await kept.running("a")
    os.kill(before, signal.SIGKILL)
    await until(lambda: kept.pid("a") not in (0, before))
    assert kept.events == [f"a was killed by SIGKILL, and is started again (its log: {kept.log('a')})"]
    assert kept.processes.states["a"].starts == 2


async def test_one_that_ends_at_once_is_tried_again_and_its_last_words_are_kept(kept: Kept) -> None:
    kept.start("a", "raise SystemExit('no such thing')")
    await until(lambda: kept.processes.states["a"].quick_ends >= 2)
    assert "ended with exit code 1" in kept.processes.states["a"].last_end
    assert "no such thing" in kept.processes.tail("a")


async def test_stop_ends_kinds_in_order(kept: Kept) -> None:
    kinds = (Kind.CONTROL_PLANE, Kind.APP, Kind.SIDECAR, Kind.GATEWAY)
    log = kept.folder / "ended"
    for kind in kinds:
        code = (
            "import signal, time\n"
            f"signal.signal(signal.SIGTERM, lambda *_: (open({str(log)!r}, 'a').write('{kind}\\n'), exit(0)))\n"
            "print('listens', flush=True)\ntime.sleep(60)"
        )
        kept.start(kind, code, kind)
    await until(lambda: all("listens" in kept.processes.tail(kind) for kind in kinds))
    await kept.processes.stop()
    ended = log.read_text().splitlines()
    assert ended == ["gateway", "sidecar", "app", "control plane"]


async def test_one_that_does_not_listen_is_killed(kept: Kept) -> None:
    kept.start("deaf", DEAF)
    await until(lambda: "deaf" in kept.processes.tail("deaf"))
    pid = kept.pid("deaf")
    kept.processes.kill()
    await kept.processes.stop()
    assert not alive(pid)
    assert kept.events == []


async def test_what_a_process_left_in_another_session_is_ended_too(kept: Kept) -> None:
    child = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {SLEEP!r}], start_new_session=True)"
    kept.start("parent", f"{child}; print('born', flush=True); {SLEEP}")
    await until(lambda: "born" in kept.processes.tail("parent"))
    assert len(marked_processes(kept.mark)) == 2
    await kept.processes.stop()
    assert not marked_processes(kept.mark)


async def test_an_owner_that_is_killed_takes_its_processes_with_it(tmp_path: Path) -> None:
    script = f"""
import asyncio
from pilothouse.demo.plan import Kind, ProcessPlan
from pilothouse.demo.processes import Processes
async def main():
    processes = Processes({str(tmp_path)!r}, print)
    processes.start([ProcessPlan("a", Kind.APP, ("timeit", "-n1", "-r1", {SLEEP!r}), (), {str(tmp_path / "log")!r})])
    await asyncio.sleep(60)
asyncio.run(main())
"""
    owner = await asyncio.create_subprocess_exec(sys.executable, "-c", script)
    await until(lambda: any(is_python(pid) for pid in marked_processes(str(tmp_path))), 20)
    owner.kill()
    await owner.wait()
    await until(lambda: not marked_processes(str(tmp_path)))


def test_proxies_of_the_user_are_not_handed_on() -> None:
    given = {"PATH": "/bin", "HTTP_PROXY": "http://a", "https_proxy": "http://b", "ALL_PROXY": "c", "NO_PROXY": "d"}
    assert inherited(given) == {"PATH": "/bin"}


def test_ends_are_described_in_words() -> None:
    assert describe_end(0) == "ended with exit code 0"
    assert describe_end(-9) == "was killed by SIGKILL"
    assert describe_end(-250) == "was killed by signal 250"


def test_our_own_process_is_never_a_leftover() -> None:
    marks = [entry for entry in os.environ if entry == MARKER]
    assert not marks
    assert os.getpid() not in marked_processes("anything")

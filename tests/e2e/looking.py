"""Ways to look at a mesh of real processes: its pages, its processes, what it told."""

import asyncio
import http.client
import itertools
import os
import random
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from pilothouse.agent.settings import Listen
from pilothouse.demo.plan import MeshPlan
from pilothouse.demo.ports import why_not_bindable
from pilothouse.demo.up import RunningMesh

START_SECONDS = 90.0


def is_free(port: int) -> bool:
    plan = MeshPlan.of(port, "/nowhere", "/nowhere")
    return all(why_not_bindable(where) is None for _, where in plan.uses())


def free_base_port() -> int:
    """A gateway port whose whole mesh is free now, and below the ports that the kernel hands out by itself."""
    start = random.randrange(9_000, 11_500)
    candidates = itertools.chain(range(start, 11_600, 23), range(9_000, start, 23))
    return next(port for port in candidates if is_free(port))


@dataclass(frozen=True)
class Page:
    """One answer of the gateway."""

    status: int
    text: str

    @property
    def version(self) -> str:
        """Which version of reviews is on the page; empty if none is."""
        return self.text.partition('data-version="')[2].partition('"')[0]

    @property
    def stars(self) -> str:
        """The colour of the stars; empty if there are none."""
        return self.text.partition('class="stars ')[2].partition('"')[0]


def fetch_page(gateway: Listen, path: str = "/productpage") -> Page:
    """GET through the gateway. Status 0 if nobody answers."""
    connection = http.client.HTTPConnection(gateway.address, gateway.port, timeout=15)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return Page(answer.status, answer.read().decode())
    except (OSError, http.client.HTTPException):
        return Page(0, "")
    finally:
        connection.close()


async def see_page(gateway: Listen) -> Page:
    return await asyncio.to_thread(fetch_page, gateway)


async def eventually(holds: Callable[[], Awaitable[bool]], deadline: float = 30.0, what: str = "it") -> None:
    """Wait for a condition that is asked for asynchronously."""
    try:
        async with asyncio.timeout(deadline):
            while True:
                if await holds():
                    return
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(f"{what} did not come true within {deadline} s") from None


def alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def processes_about(folder: Path) -> dict[int, str]:
    """Living processes whose command line or environment names ``folder``, with their command lines."""
    found = {}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            command, environment = (path / "cmdline").read_bytes(), (path / "environ").read_bytes()
        except OSError:
            continue
        named = str(folder).encode()
        # XDG_RUNTIME_DIR alone is what the test itself sets.
        marked = any(named in entry for entry in environment.split(b"\0") if entry.startswith(b"PILOTHOUSE_UP="))
        pid = int(path.name)
        if pid != os.getpid() and alive(pid) and (named in command or marked):
            found[pid] = command.replace(b"\0", b" ").decode(errors="replace")
    return found


def members_of(groups: set[int]) -> set[int]:
    """Living processes in these process groups."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[2]) in groups and fields[0] != "Z":
            found.add(int(path.parent.name))
    return found


@dataclass
class Mesh:
    """A running mesh under test, and what it told."""

    running: RunningMesh
    events: list[str]

    def pid(self, name: str) -> int:
        return self.running.processes.states[name].pid

    def kill(self, name: str) -> int:
        """``kill -9`` of one process of the plan; which one it was."""
        pid = self.pid(name)
        assert pid
        os.kill(pid, signal.SIGKILL)
        return pid

    async def page(self) -> Page:
        return await see_page(self.running.plan.gateway)

    async def works(self) -> None:
        """Everything is ready, and the page is whole."""
        await self.running.wait_ready(START_SECONDS)

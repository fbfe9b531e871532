"""Keeps the mesh's processes running, and ends them all: nothing that was started here outlives its owner.

Each process has its own session, so Ctrl-C reaches only the owner, which then ends them in order. One that ends by
itself is started again, and that is told. If the owner is killed, the kernel kills them: they are started through
``agent.launch``, which asks for that before it becomes the real command. A marker in the environment, inherited by
whatever they start, finds what would otherwise be lost.
"""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, Final

from pilothouse.agent import launch
from pilothouse.aio.backoff import Backoff, BackoffPolicy
from pilothouse.aio.clock import Clock, SystemClock
from pilothouse.aio.tasks import Tasks
from pilothouse.demo.leftovers import MARKER, OWNER_VARIABLE, marked_processes
from pilothouse.demo.plan import Kind, ProcessPlan
from pilothouse.kit.errors import PilothouseError

RESTARTS: Final = BackoffPolicy(base=0.2, most=5.0, least=0.1)
LIVED_SECONDS: Final = 10.0
"""A process that lived this long did not fail at its start: its next end is followed by a start at once."""
STOP_ORDER: Final = ((Kind.GATEWAY, 15.0), (Kind.SIDECAR, 15.0), (Kind.APP, 5.0), (Kind.CONTROL_PLANE, 5.0))
"""Who leaves when, with the seconds until it is killed: the door first, then sidecars, which drain, then their apps."""
KILL_SECONDS: Final = 5.0
LEAVE_SECONDS: Final = 3.0
TAIL_BYTES: Final = 4096
TAIL_LINES: Final = 8


@dataclass(frozen=True, slots=True)
class ProcessState:
    """One process as it is now. ``pid`` 0: it does not run. ``quick_ends`` counts ends in a row soon after a start."""

    plan: ProcessPlan
    pid: int = 0
    starts: int = 0
    quick_ends: int = 0
    last_end: str = ""


class Processes:
    """Starts, supervises and ends. ``on_event`` gets one sentence whenever a process ended that should not have."""

    def __init__(self, mark: str, on_event: Callable[[str], None], clock: Clock | None = None) -> None:
        self._mark = mark
        self._on_event = on_event
        self._clock = clock or SystemClock()
        self._tasks = Tasks()
        self._stopping = asyncio.Event()
        self._children: dict[str, asyncio.subprocess.Process] = {}
        self._ended: dict[str, asyncio.Event] = {}
        self.states: dict[str, ProcessState] = {}

    def start(self, plans: Iterable[ProcessPlan]) -> None:
        """Start each of ``plans`` and keep it running until ``stop``."""
        for plan in plans:
            self.states[plan.name] = ProcessState(plan)
            self._ended[plan.name] = asyncio.Event()
            self._tasks.start(plan.name, self._keep(plan))

    def kill(self) -> None:
        """End everything now, without asking anybody."""
        self._stopping.set()
        for name in tuple(self._children):
            self._signal_group(name, signal.SIGKILL)

    async def stop(self) -> None:
        """End everything in order, and return when nothing is left. Raises PilothouseError if something is."""
        self._stopping.set()
        for kind, seconds in STOP_ORDER:
            await self._end([name for name, state in self.states.items() if state.plan.kind is kind], seconds)
        await self._tasks.close()
        await self._end_leftovers()

    def tail(self, name: str) -> str:
        """The last lines that a process logged."""
        try:
            with Path(self.states[name].plan.log).open("rb") as file:
                file.seek(max(file.seek(0, os.SEEK_END) - TAIL_BYTES, 0))
                text = file.read().decode(errors="replace")
        except OSError:
            return ""
        return "\n".join(text.splitlines()[-TAIL_LINES:])

    async def _keep(self, plan: ProcessPlan) -> None:
        """Run ``plan`` again and again. However this is left, its process is gone."""
        backoff = Backoff(RESTARTS)
        try:
            while not self._stopping.is_set():
                began = self._clock.monotonic()
                how = await self._live_once(plan)
                lived = self._clock.monotonic() - began >= LIVED_SECONDS
                if lived:
                    backoff.reset()
                self._note_end(plan.name, how, quick=not lived)
                if not self._stopping.is_set():
                    self._on_event(f"{plan.name} {how}, and is started again (its log: {plan.log})")
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(self._stopping.wait(), backoff.next_wait())
        finally:
            self._ended[plan.name].set()

    async def _live_once(self, plan: ProcessPlan) -> str:
        """One life of a process: how it ended."""
        try:
            child = await spawn(plan, self._mark)
        except OSError as error:
            return f"could not be started: {error}"
        self._children[plan.name] = child
        state = self.states[plan.name]
        self.states[plan.name] = replace(state, pid=child.pid, starts=state.starts + 1)
        try:
            if self._stopping.is_set():
                self._signal_group(plan.name, signal.SIGKILL)
            return describe_end(await child.wait())
        finally:
            self._signal_group(plan.name, signal.SIGKILL)
            await child.wait()
            del self._children[plan.name]

    def _note_end(self, name: str, how: str, *, quick: bool) -> None:
        state = self.states[name]
        self.states[name] = replace(state, pid=0, last_end=how, quick_ends=state.quick_ends + 1 if quick else 0)

    async def _end(self, names: list[str], seconds: float) -> None:
        """SIGTERM, and after ``seconds`` SIGKILL to the whole group."""
        for name in names:
            if name in self._children:
                with contextlib.suppress(ProcessLookupError):
                    self._children[name].send_signal(signal.SIGTERM)
        if await self._gone(names, seconds):
            return
        for name in names:
            self._signal_group(name, signal.SIGKILL)
        await self._gone(names, KILL_SECONDS)

    async def _gone(self, names: list[str], seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                for name in names:
                    await self._ended[name].wait()
        except TimeoutError:
            return False
        return True

    def _signal_group(self, name: str, number: signal.Signals) -> None:
        """To the process and to all of its session that it started. An empty group is no error."""
        child = self._children.get(name)
        if child is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(child.pid, number)

    async def _end_leftovers(self) -> None:
        """End what still carries our mark, such as an Envoy and its holder whose agent was killed.

        First by SIGTERM: a holder then removes what Envoy leaves in /dev/shm.
        """
        kill_at = asyncio.get_running_loop().time() + LEAVE_SECONDS
        try:
            async with asyncio.timeout(LEAVE_SECONDS + KILL_SECONDS):
                while left := marked_processes(self._mark):
                    gentle = asyncio.get_running_loop().time() < kill_at
                    for pid in left:
                        with contextlib.suppress(ProcessLookupError):
                            os.kill(pid, signal.SIGTERM if gentle else signal.SIGKILL)
                    await asyncio.sleep(0.02)
        except TimeoutError as error:
            pids = ", ".join(map(str, marked_processes(self._mark)))
            raise PilothouseError(f"processes could not be ended: {pids}; end them with `kill -9 {pids}`") from error


async def spawn(plan: ProcessPlan, mark: str) -> asyncio.subprocess.Process:
    """Start the process of ``plan``, its output appended to its log. Raises OSError."""
    with open_log(Path(plan.log)) as output:
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", launch.__file__, str(os.getpid())),
            # -P: a module of that name in the current folder is not meant.
            *(sys.executable, "-P", "-m", *plan.arguments),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**inherited(os.environ), **dict(plan.environment), MARKER: mark, OWNER_VARIABLE: str(os.getpid())},
            start_new_session=True,
        )


def open_log(path: Path) -> BinaryIO:
    """The log to append to, its folder made if need be. Raises OSError."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path.open("ab")


def inherited(environment: Mapping[str, str]) -> dict[str, str]:
    """What every process of the mesh gets: the user's environment without proxies, which would lead out of the mesh."""
    return {name: value for name, value in environment.items() if not name.lower().endswith("_proxy")}


def describe_end(returncode: int) -> str:
    """``was killed by SIGKILL`` or ``ended with exit code 1``."""
    if returncode >= 0:
        return f"ended with exit code {returncode}"
    try:
        return f"was killed by {signal.Signals(-returncode).name}"
    except ValueError:
        return f"was killed by signal {-returncode}"

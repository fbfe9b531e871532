"""What ``pilothouse up`` does from the first line to the last: bring the mesh up, show it, play or wait, end it.

The order of things and the exit status; everything else is done by its neighbours. The first Ctrl-C, SIGTERM or a
closed terminal ends the mesh in order, a second Ctrl-C at once.
"""

import asyncio
import signal
import sys
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pilothouse.aio.clock import Clock, SystemClock
from pilothouse.aio.tasks import Tasks
from pilothouse.demo.display import Display, Summary
from pilothouse.demo.plan import DOMAIN, GATEWAY_NAME
from pilothouse.demo.up import MeshOptions, RunningMesh
from pilothouse.kit.errors import PilothouseError, SettingsError

START_SECONDS: Final = 90.0
KILLED_STATUS: Final = 130
ECHO_SECONDS: Final = 0.3
"""A terminal tells its whole group of Ctrl-C, and a wrapper such as ``uv run`` passes it on once more."""
SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True, slots=True)
class SessionOptions:
    """What the command line asks for. ``broken`` names the row of the check that is played without its rule."""

    mesh: MeshOptions
    check: bool = False
    broken: str | None = None


async def run_session(options: SessionOptions) -> int:
    """The exit status: 0, 1 for a failed check, 130 for a mesh that was killed. Raises PilothouseError."""
    refuse_unknown_row(options.broken)
    stop = asyncio.Event()
    display = Display(sys.stdout, on_gone=stop.set)
    mesh = RunningMesh(options.mesh, on_event=display.tell)
    interrupts = Interrupts(stop, mesh.kill)
    interrupts.catch()
    async with mesh:
        status = await until_stopped(stop, live_on(mesh, options, display))
        display.tell("")
        display.tell("Ending the mesh; Ctrl-C again kills it at once.")
    count = len(mesh.processes.states)
    display.tell(f"All {count} processes and their Envoys have ended.")
    for folder in mesh.kept:
        display.tell(f"Kept: {folder}")
    if interrupts.killed:
        return KILLED_STATUS
    if status is None:
        return 1 if options.check else 0  # A check that was cut short did not pass.
    return status


def refuse_unknown_row(name: str | None) -> None:
    """Raise SettingsError if ``name`` is no row of the check, before minutes are spent on it."""
    if name is None:
        return
    from pilothouse.demo.check import ROW_NAMES

    if name not in ROW_NAMES:
        raise SettingsError(f"--break {name}: no such row; the rows are {', '.join(ROW_NAMES)}")


class Interrupts:
    """The first signal sets ``stop``; a second one calls ``kill`` at once."""

    def __init__(self, stop: asyncio.Event, kill: Callable[[], None], clock: Clock | None = None) -> None:
        self._stop = stop
        self._kill = kill
        self._clock = clock or SystemClock()
        self._first = 0.0
        self.killed = False

    def catch(self) -> None:
        """Receive this process's signals from now on."""
        for number in SIGNALS:
            asyncio.get_running_loop().add_signal_handler(number, self.on_signal)

    def on_signal(self) -> None:
        """One signal arrived."""
        now = self._clock.monotonic()
        if not self._first:
            self._first = now
            self._stop.set()
        elif now - self._first >= ECHO_SECONDS:
            self.killed = True
            self._kill()


async def until_stopped(stop: asyncio.Event, work: Coroutine[Any, Any, int]) -> int | None:
    """The result of ``work``, or None if ``stop`` came first; ``work`` is then cancelled. Raises what it raises."""

    async def outcome() -> int | PilothouseError:
        try:
            return await work
        except PilothouseError as error:
            return error  # Not a crash of a task: the caller raises it.

    async with Tasks() as tasks:
        working = tasks.start("session", outcome())
        stopping = tasks.start("stop", stop.wait())
        await asyncio.wait((working, stopping), return_when=asyncio.FIRST_COMPLETED)
        result = working.result() if working.done() else None
    if isinstance(result, PilothouseError):
        raise result
    return result


async def live_on(mesh: RunningMesh, options: SessionOptions, display: Display) -> int:
    """Bring the mesh up, and then play the check, or keep it running for ever."""
    clock = SystemClock()
    began = clock.monotonic()
    with display.starting():
        await mesh.start(display.show)
        await mesh.wait_ready(START_SECONDS)
    seconds = clock.monotonic() - began
    if options.check:
        display.tell(f"The mesh is ready after {seconds:.1f} s; the check is played on it.")
        passed = await check(mesh, options.broken, display)
        mesh.keeps_logs = mesh.keeps_logs or not (passed or options.broken)
        return 0 if passed else 1
    pid = mesh.processes.states["reviews-v2 app"].pid
    summary = Summary(mesh.plan, seconds, written=mesh.wrote_configuration, app_pid=pid, command=own_command())
    display.summarise(summary)
    await asyncio.Event().wait()
    return 0


def own_command() -> str:
    """How this program was called, short enough to type: its path from here if it lies below, else its name."""
    called = Path(sys.argv[0])
    if called.name != "pilothouse":
        return "pilothouse"
    try:
        return str(called.absolute().relative_to(Path.cwd()))
    except ValueError:
        return called.name


async def check(mesh: RunningMesh, broken: str | None, display: Display) -> bool:
    """Play the rows of the talk and print them; whether all passed. Raises SettingsError for an unknown row."""
    # Only a check needs an HTTP client of this weight.
    from pilothouse.demo.check import Ground, Place, play_rows
    from pilothouse.demo.check_table import CheckRow, print_checks

    def place(name: str) -> Place:
        return Place(str(mesh.plan.envoy_admin(name)), mesh.log_folder / name / "access.log")

    ground = Ground(
        domain=DOMAIN,
        gateway_url=f"http://{mesh.plan.gateway}",
        config_folder=mesh.config_folder,
        gateway=place(GATEWAY_NAME),
        productpage=place("productpage-v1"),
        reviews=place("reviews-v2"),
        converged=mesh.wait_converged,
    )
    rows: list[CheckRow] = []

    def report(row: CheckRow) -> None:
        rows.append(row)
        display.tell(f"played {row.name} in {row.seconds:.1f} s")

    passed = await play_rows(ground, broken=broken, report=report)
    display.tell("")
    print_checks(rows, sys.stdout)
    return passed

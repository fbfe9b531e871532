"""The one owner of the Envoy process: starts it, starts it again when it ends, and ends it.

Everything else sees a ``Process`` value in a cell and the admin interface. Nothing outside this module knows the
process itself, so that ownership can move into a holder that outlives the agent without touching its neighbours.
Configuration is not its business beyond the bootstrap text that it is given.
"""

import asyncio
import contextlib
import os
import signal
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import structlog

from pilothouse.agent import launch
from pilothouse.agent.admin import EnvoyAdmin
from pilothouse.agent.drain import drain
from pilothouse.agent.logs import BoundedFile, LastLines, relay
from pilothouse.aio.backoff import Backoff, BackoffPolicy
from pilothouse.aio.cell import Cell
from pilothouse.aio.clock import Clock, SystemClock
from pilothouse.aio.tasks import Tasks

log = structlog.get_logger(__name__)

RESTARTS = BackoffPolicy(base=0.1, most=5.0, least=0.05)
LIVED_SECONDS: Final = 10.0
"""An Envoy that lived this long did not fail at its start: the next crash is tried again at once."""
DRAIN_TIME_SECONDS: Final = 45
"""How long requests in flight go on after xDS replaced their listener (Istio's drainDuration; Envoy's own is 600)."""
LOG_FORMAT: Final = "%Y-%m-%dT%H:%M:%S.%e%z %l %n: %v"


@dataclass(frozen=True, slots=True)
class EnvoyCommand:
    """What is run: the binary, the bootstrap as text, and where its files go.

    ``terminate_seconds`` is how long Envoy may take to end after SIGTERM; idle it takes milliseconds.
    """

    binary: Path
    bootstrap: str
    state_dir: Path
    log_dir: Path
    concurrency: int = 1
    terminate_seconds: float = 5.0

    @property
    def bootstrap_path(self) -> Path:
        """Where Envoy reads its bootstrap."""
        return self.state_dir / "envoy.json"

    def arguments(self) -> tuple[str, ...]:
        """Envoy's arguments."""
        return (
            "--config-path",
            str(self.bootstrap_path),
            # With hot restart, each Envoy leaves a file in /dev/shm for ever, two on one host need distinct base
            # ids, and Envoy ends when its parent's thread does. Nothing here restarts hot yet.
            "--disable-hot-restart",
            "--concurrency",
            str(self.concurrency),
            "--drain-time-s",
            str(DRAIN_TIME_SECONDS),
            # Connections are asked to close at once, not by a chance that grows over the drain time: an agent that
            # leaves has seconds, not the 45.
            "--drain-strategy",
            "immediate",
            # Access logs are otherwise held back for up to 10 s.
            "--file-flush-interval-msec",
            "100",
            "--log-level",
            "warning",
            "--log-format",
            LOG_FORMAT,
        )


@dataclass(frozen=True, slots=True)
class Process:
    """What is known of the Envoy process. ``pid`` 0: none runs. ``since`` is the wall clock at its start.

    ``starts`` counts all starts by this supervisor, ``last_exit`` says how the previous process ended and
    ``last_lines`` what it said before.
    """

    pid: int = 0
    since: float = 0.0
    starts: int = 0
    last_exit: str = ""
    last_lines: tuple[str, ...] = ()

    @property
    def restarts(self) -> int:
        """Starts after the first."""
        return max(self.starts - 1, 0)


def describe_exit(returncode: int) -> str:
    """``killed by SIGKILL`` or ``ended with exit code 1``."""
    if returncode >= 0:
        return f"ended with exit code {returncode}"
    try:
        return f"killed by {signal.Signals(-returncode).name}"
    except ValueError:
        return f"killed by signal {-returncode}"


def write_private(path: Path, text: str) -> None:
    """Write ``text`` so that a reader sees all of it or the old file, readable for this user only. Raises OSError."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    try:
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)


class Envoy:
    """Keeps one Envoy running until ``stop``. ``run`` is its task; cancelling that also ends the process."""

    def __init__(self, command: EnvoyCommand, admin: EnvoyAdmin, clock: Clock | None = None) -> None:
        self._command = command
        self._admin = admin
        self._clock = clock or SystemClock()
        self._backoff = Backoff(RESTARTS)
        self._stopping = asyncio.Event()
        self._ended = asyncio.Event()
        self._ended.set()
        self._child: asyncio.subprocess.Process | None = None
        self.process = Cell(Process())
        self.error_log = BoundedFile(command.log_dir / "envoy.log")
        self.access_log = BoundedFile(command.log_dir / "access.log")

    async def run(self) -> None:
        """Start Envoy, and again whenever it ends, until ``stop``. Leaves no process, however it is left."""
        self._ended.clear()
        try:
            while not self._stopping.is_set():
                began = self._clock.monotonic()
                try:
                    exit_text, lines = await self._live_once()
                except OSError as error:
                    exit_text, lines = f"could not be started: {error}", ()
                if self._clock.monotonic() - began >= LIVED_SECONDS:
                    self._backoff.reset()
                await self._settle(exit_text, lines)
        finally:
            self.error_log.close()
            self.access_log.close()
            self._ended.set()

    async def stop(self, drain_seconds: float) -> None:
        """Drain for at most ``drain_seconds``, end Envoy, and return when the process is gone."""
        self._stopping.set()
        if self._child is not None and drain_seconds > 0:
            await drain(self._admin, drain_seconds)
        for number in (signal.SIGTERM, signal.SIGKILL):
            self._signal(number)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._command.terminate_seconds):
                    await self._ended.wait()
                return
        log.error("envoy could not be ended", pid=self.process.value.pid)

    async def _live_once(self) -> tuple[str, tuple[str, ...]]:
        """One life of Envoy: how it ended, and its last lines. Raises OSError if it could not be started."""
        write_private(self._command.bootstrap_path, self._command.bootstrap)
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            "-I",
            "-S",
            launch.__file__,
            str(os.getpid()),
            str(self._command.binary),
            *self._command.arguments(),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            # Its own session: Ctrl-C in a terminal reaches the agent, which then drains Envoy first.
            start_new_session=True,
        )
        self._child = child
        last = LastLines()
        async with Tasks() as relays:
            try:
                self._started(child.pid)
                logs = self._relay_logs(relays, child, last)
                returncode = await child.wait()
                await asyncio.wait(logs, timeout=1.0)
            finally:
                await end_now(child)
                self._child = None
        return describe_exit(returncode), last.lines

    def _started(self, pid: int) -> None:
        before = self.process.value
        self.process.put(replace(before, pid=pid, since=self._clock.wall(), starts=before.starts + 1))
        log.info("envoy started", pid=pid, starts=before.starts + 1)
        if self._stopping.is_set():
            self._signal(signal.SIGTERM)

    def _relay_logs(
        self, relays: Tasks, child: asyncio.subprocess.Process, last: LastLines
    ) -> list[asyncio.Task[None]]:
        if child.stdout is None or child.stderr is None:
            raise RuntimeError("Envoy was started without pipes")
        return [
            relays.start("envoy access log", relay(child.stdout, self.access_log)),
            relays.start("envoy log", relay(child.stderr, self.error_log, last)),
        ]

    async def _settle(self, exit_text: str, lines: tuple[str, ...]) -> None:
        """Tell of an end, and wait before the next start unless it was asked for."""
        self.process.put(replace(self.process.value, pid=0, last_exit=exit_text, last_lines=lines))
        if self._stopping.is_set():
            log.info("envoy stopped", how=exit_text)
            return
        wait = self._backoff.next_wait()
        log.error("envoy ended by itself", how=exit_text, next_start_in=round(wait, 2), last_lines=lines)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait):
                await self._stopping.wait()

    def _signal(self, number: signal.Signals) -> None:
        if self._child is not None:
            with contextlib.suppress(ProcessLookupError):
                self._child.send_signal(number)


async def end_now(child: asyncio.subprocess.Process) -> None:
    """SIGKILL, if it still runs, and wait until it is gone."""
    if child.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            child.kill()
        await child.wait()

"""What the agent wants of Envoy, asked of the holder that owns the process: run it, renew it, end it.

Everything else sees a ``Process`` value in a cell and the admin interface. A holder that is already there is adopted
with its Envoy, traffic untouched, if its bootstrap is the same; a different one takes over by a hot restart after
Envoy itself has validated it. Configuration is not its business beyond the bootstrap text that it is given.
"""

import asyncio
import contextlib
import hashlib
import os
import signal
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import structlog

from pilothouse.agent.admin import EnvoyAdmin
from pilothouse.agent.drain import drain
from pilothouse.agent.epoch import BOOTSTRAP
from pilothouse.agent.holding import HolderLost, HolderState, Link, reach, start_holder
from pilothouse.agent.validation import why_refused
from pilothouse.aio.backoff import Backoff, BackoffPolicy
from pilothouse.aio.cell import Cell
from pilothouse.aio.clock import Clock, SystemClock
from pilothouse.aio.tasks import Tasks
from pilothouse.kit.errors import PilothouseError

log = structlog.get_logger(__name__)

HOLDER_RESTARTS = BackoffPolicy(base=0.05, most=5.0, least=0.02)
LIVED_SECONDS: Final = 10.0
LOG_FORMAT: Final = "%Y-%m-%dT%H:%M:%S.%e%z %l %n: %v"
TOLD_SECONDS: Final = 1.0
"""Before an Envoy that cannot hand over is drained: the control plane hears that it leaves, and tells callers."""


@dataclass(frozen=True, slots=True)
class EnvoyCommand:
    """What is run: the binary, the bootstrap as text, and where its files go.

    ``terminate_seconds`` is how long Envoy may take to end after SIGTERM; idle it takes milliseconds. ``chosen`` says
    that the binary was named by a person: an adopted Envoy that runs another one is then replaced. ``owner_pid`` is a
    process with which Envoy and its holder end, 0 for none. ``drain_time_seconds`` is how long requests in flight go
    on after their listener was replaced, by xDS or by a hot restart (Istio's drainDuration; Envoy's own is 600), and
    ``parent_seconds``, which must be more, when the old epoch of a hot restart ends.
    """

    binary: Path
    bootstrap: str
    state_dir: Path
    log_dir: Path
    concurrency: int = 1
    terminate_seconds: float = 5.0
    chosen: bool = False
    owner_pid: int = 0
    drain_time_seconds: int = 45
    parent_seconds: int = 60

    @property
    def bootstrap_path(self) -> Path:
        """Where the bootstrap that runs can be read."""
        return self.state_dir / BOOTSTRAP

    @property
    def digest(self) -> str:
        """Equal for equal bootstraps."""
        return hashlib.sha256(self.bootstrap.encode()).hexdigest()

    def arguments(self) -> tuple[str, ...]:
        """Envoy's arguments, but for its bootstrap and its place in a hot restart, which are the holder's."""
        return (
            *("--concurrency", str(self.concurrency)),
            *("--drain-time-s", str(self.drain_time_seconds)),
            *("--parent-shutdown-time-s", str(self.parent_seconds)),
            # Connections are asked to close at once, not by a chance that grows over the drain time: an agent that
            # leaves has seconds, not the 45.
            *("--drain-strategy", "immediate"),
            # Access logs are otherwise held back for up to 10 s.
            *("--file-flush-interval-msec", "100"),
            *("--log-level", "warning"),
            *("--log-format", LOG_FORMAT),
        )

    def wanted(self) -> dict[str, Any]:
        """What the holder is told to run."""
        return {
            "binary": str(self.binary),
            "arguments": self.arguments(),
            "bootstrap": self.bootstrap,
            "digest": self.digest,
        }


@dataclass(frozen=True, slots=True)
class Process:
    """What is known of the Envoy process. ``pid`` 0: none runs. ``since`` is the wall clock at its start.

    ``starts`` counts all starts by this holder and ``restarts`` those after a crash; ``last_exit`` says how the
    previous process ended and ``last_lines`` what it said before. ``older`` are epochs that run beside the newest:
    they serve until it has its configuration. ``reload`` is why the last hot restart failed, ``deaf`` that the Envoy
    which went on lost its admin interface by that, and ``draining`` why Envoy is about to be replaced.
    """

    pid: int = 0
    since: float = 0.0
    starts: int = 0
    restarts: int = 0
    last_exit: str = ""
    last_lines: tuple[str, ...] = ()
    epoch: int = 0
    older: tuple[int, ...] = ()
    reload: str = ""
    deaf: bool = False
    draining: str = ""
    holder: int = 0
    lost_log_bytes: int = 0


class ReloadRefused(PilothouseError):
    """Nothing was replaced, and the message says why."""


class Envoy:
    """Keeps one Envoy running until ``stop``. ``run`` is its task; cancelling that leaves Envoy with its holder."""

    def __init__(self, command: EnvoyCommand, admin: EnvoyAdmin, clock: Clock | None = None) -> None:
        self._command = command
        self._admin = admin
        self._clock = clock or SystemClock()
        self._backoff = Backoff(HOLDER_RESTARTS)
        self._stopping = asyncio.Event()
        self._ended = asyncio.Event()
        self._ended.set()
        self._link: Link | None = None
        self._lost_holders = 0
        self._replacing = asyncio.Lock()
        self.process = Cell(Process())

    async def run(self) -> None:
        """Have Envoy run, whatever happens to it or to its holder, until ``stop``."""
        self._ended.clear()
        try:
            while not self._stopping.is_set():
                began = self._clock.monotonic()
                try:
                    await self._follow_holder()
                    reason = "the holder ended"
                except (OSError, HolderLost) as error:
                    reason = str(error)
                if self._clock.monotonic() - began >= LIVED_SECONDS:
                    self._backoff.reset()
                await self._settle(reason)
        finally:
            self._ended.set()

    async def stop(self, drain_seconds: float) -> None:
        """Drain for at most ``drain_seconds``, end Envoy and its holder, and return when both are gone."""
        self._stopping.set()
        if self._link is not None and self.process.value.pid and drain_seconds > 0:
            await drain(self._admin, drain_seconds)
        await self._ask_to_stop()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._command.terminate_seconds + 2):
                await self._ended.wait()
            return
        log.error("the holder does not end", pid=self.process.value.holder)
        for pid in (self.process.value.holder, self.process.value.pid, *self.process.value.older):
            if pid:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    async def reload(self, binary: Path | None = None) -> int:
        """Replace the running Envoy by the next epoch, of ``binary`` if given; which epoch was begun.

        A binary that cannot take over is drained to and started afresh: epoch 0. Raises ``ReloadRefused``.
        """
        async with self._replacing:
            if self._link is None or not self.process.value.pid:
                raise ReloadRefused("no Envoy runs that could be reloaded")
            command = replace(self._command, binary=binary, chosen=True) if binary else self._command
            try:
                epoch = await self._replace(self._link, command, self.process.value.epoch)
            except HolderLost as error:
                raise ReloadRefused(str(error)) from error
            self._command = command
            return epoch

    async def _replace(self, link: Link, command: EnvoyCommand, epoch: int) -> int:
        refused = await why_refused(command.binary, command.bootstrap, command.state_dir)
        if refused:
            raise ReloadRefused(f"Envoy refuses the bootstrap, and the running one goes on: {refused}")
        answer = await link.ask("reload", **command.wanted())
        if answer.ok:
            self.process.put(replace(self.process.value, reload=""))
            log.info("envoy restarts hot", epoch=epoch + 1, binary=str(command.binary))
            return epoch + 1
        if not answer.incompatible:
            raise ReloadRefused(answer.reason)
        log.warning("envoy cannot take over and is drained and started afresh", reason=answer.reason)
        self.process.put(replace(self.process.value, draining=f"it is replaced: {answer.reason}"))
        await asyncio.sleep(TOLD_SECONDS)
        await drain(self._admin, command.terminate_seconds)
        await link.ask("start", **command.wanted(), seconds=command.terminate_seconds)
        return 0

    async def _follow_holder(self) -> None:
        """Reach or start a holder, see that it runs the right Envoy, and report it until the holder ends."""
        command = self._command
        async with AsyncExitStack() as stack:
            try:
                link = await stack.enter_async_context(reach(command.state_dir))
            except (FileNotFoundError, NotADirectoryError, ConnectionRefusedError):
                await start_holder(command.state_dir, command.log_dir, command.owner_pid)
                link = await stack.enter_async_context(reach(command.state_dir))
            state = await link.first_state()
            self._take(state)
            async with Tasks() as tasks:
                following = tasks.start("envoy's holder", link.follow(self._take))
                await self._install(link, state)
                self._link = link
                if self._stopping.is_set():
                    await self._ask_to_stop()
                try:
                    await following
                finally:
                    self._link = None

    async def _install(self, link: Link, state: HolderState) -> None:
        """Adopt what runs if it is what is wanted; replace or start it otherwise."""
        command = self._command
        same_binary = not command.chosen or state.binary == str(command.binary)
        if not state.pid:
            await link.ask("start", **command.wanted(), seconds=command.terminate_seconds)
        elif state.digest == command.digest and same_binary:
            log.info("envoy adopted", pid=state.pid, epoch=state.epoch, holder=state.holder)
        else:
            try:
                await self._replace(link, command, state.epoch)
            except ReloadRefused as refused:
                log.warning("the running envoy goes on with its old bootstrap", reason=str(refused))
                self.process.put(replace(self.process.value, reload=str(refused)))

    def _take(self, state: HolderState) -> None:
        before = self.process.value
        now = Process(
            pid=state.pid,
            since=state.since,
            starts=state.starts,
            restarts=state.restarts + self._lost_holders,
            last_exit=state.last_exit,
            last_lines=state.last_lines,
            epoch=state.epoch,
            older=state.older,
            reload=state.reload or (before.reload if state.pid == before.pid else ""),
            deaf=state.deaf,
            draining=before.draining if state.pid in (0, before.pid) else "",
            holder=state.holder,
            lost_log_bytes=state.lost_log_bytes,
        )
        if now != before:
            self.process.put(now)
        if state.pid and state.pid != before.pid and before.holder:
            log.info("envoy started", pid=state.pid, epoch=state.epoch, starts=state.starts)
        elif not state.pid and before.pid:
            log.info("envoy ended", how=state.last_exit, last_lines=state.last_lines)

    async def _settle(self, reason: str) -> None:
        """Tell of a lost holder, and wait before the next one unless its end was asked for."""
        before = self.process.value
        if self._stopping.is_set():
            self.process.put(replace(before, pid=0, older=()))
            log.info("envoy stopped", how=before.last_exit)
            return
        if before.pid:
            self._lost_holders = before.restarts + 1
            reason = "ended with its holder"
        self.process.put(replace(before, pid=0, older=(), holder=0, last_exit=reason))
        wait = self._backoff.next_wait()
        log.error("envoy's holder is lost", reason=reason, next_start_in=round(wait, 2))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait):
                await self._stopping.wait()

    async def _ask_to_stop(self) -> None:
        if self._link is not None:
            with contextlib.suppress(HolderLost):
                await self._link.ask("stop", seconds=self._command.terminate_seconds)

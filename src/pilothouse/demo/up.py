"""One mesh that runs on this machine: from a claimed folder to a page with stars, and back to nothing.

``session`` shows it to a person, ``check`` plays on it, tests break it. It starts processes and asks the control plane
how far they are; it takes part in no traffic of the mesh but the one request that proves that all of it works.
"""

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from pilothouse.aio.clock import Clock, SystemClock
from pilothouse.demo.config import is_untouched, write_configuration
from pilothouse.demo.page import page_is_whole
from pilothouse.demo.plan import BASE_PORT, MeshPlan
from pilothouse.demo.ports import require_free_ports
from pilothouse.demo.processes import Processes
from pilothouse.demo.progress import Progress, fold_progress, is_converged
from pilothouse.demo.query import NotAnswering, ask_serving, ask_status
from pilothouse.demo.runtime import CONFIG, RunRecord, RuntimeFolder, claim, runtime_root, write_private
from pilothouse.identity.tokens import load_or_create_token
from pilothouse.kit.errors import PilothouseError
from pilothouse.server.readmodel import Status

POLL_SECONDS: Final = 0.1
MOST_QUICK_ENDS: Final = 4
"""A process that ended this often in a row right after its start will not come up by itself."""


class MeshNotReady(PilothouseError):
    """The mesh did not come up, or did not converge, in time."""


@dataclass(frozen=True, slots=True)
class MeshOptions:
    """Which mesh. ``config_folder`` None: one inside the runtime folder. ``check`` asks for a starting configuration
    that nobody edited. ``root`` is where runtime folders live, None for this user's own. ``direct_xds``: without
    the agents' relays."""

    port: int = BASE_PORT
    config_folder: Path | None = None
    keep_logs: bool = False
    check: bool = False
    root: Path | None = None
    direct_xds: bool = False


def ignore_event(_: str) -> None:
    """For those who do not want to be told."""


def ignore_progress(_: Progress) -> None:
    """For those who do not want to watch."""


class RunningMesh:
    """Use as an async context manager: entering prepares and checks everything, ``start`` starts, leaving stops."""

    plan: MeshPlan
    processes: Processes
    config_folder: Path
    log_folder: Path

    def __init__(
        self,
        options: MeshOptions | None = None,
        on_event: Callable[[str], None] = ignore_event,
        clock: Clock | None = None,
    ) -> None:
        self._options = options or MeshOptions()
        self._on_event = on_event
        self._on_progress: Callable[[Progress], None] = ignore_progress
        self._clock = clock or SystemClock()
        self._folder: RuntimeFolder | None = None
        self._token = ""
        self.keeps_logs = self._options.keep_logs
        """Whether the logs outlive the mesh; also set by whatever makes them worth reading."""
        self.wrote_configuration = False
        """Whether the configuration is ours; otherwise the folder held something before."""

    async def __aenter__(self) -> Self:
        """Claim the folder, check the ports, write what the processes read. Starts nothing.

        Raises PortInUse, SettingsError and PilothouseError, and then leaves nothing behind.
        """
        await asyncio.to_thread(self._prepare)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.keeps_logs = self.keeps_logs or isinstance(error, Exception)
        await self.stop()

    def _prepare(self) -> None:
        options = self._options
        root = options.root or runtime_root()
        # The plan of an unclaimed folder proves that the port can be used at all, before anything is made.
        MeshPlan.of(options.port, str(root), "")
        folder = claim(root, options.port)
        own = "check-config" if options.check else CONFIG
        self.config_folder = (options.config_folder or folder.path / own).absolute()
        self.plan = MeshPlan.of(options.port, str(folder.path), str(self.config_folder), direct_xds=options.direct_xds)
        self.log_folder = Path(self.plan.log_folder)
        self.processes = Processes(f"{folder.path}:{os.getpid()}", self._on_event, self._clock)
        self._folder = folder
        try:
            require_free_ports(self.plan)
            self._write_files(folder)
        except BaseException:
            self._release()
            raise

    def _write_files(self, folder: RuntimeFolder) -> None:
        plan = self.plan
        try:
            self._token = load_or_create_token(Path(plan.token_file))
            write_private(Path(plan.settings_file), plan.settings_text())
            self.log_folder.mkdir(mode=0o700, exist_ok=True)
            self.wrote_configuration = write_configuration(plan)
            folder.announce(
                RunRecord(
                    pid=os.getpid(),
                    port=plan.port,
                    admin_address=str(plan.admin),
                    token_file=plan.token_file,
                    config_folder=plan.config_folder,
                    log_folder=plan.log_folder,
                )
            )
        except OSError as error:
            raise PilothouseError(f"cannot write {error.filename}: {error.strerror}") from error

    async def start(self, on_progress: Callable[[Progress], None] = ignore_progress) -> None:
        """Start every process. Returns at once; ``wait_ready`` waits, and calls ``on_progress`` meanwhile."""
        self._on_progress = on_progress
        on_progress(fold_progress(self.plan, None))
        self.processes.start(self.plan.processes())

    async def status(self) -> Status:
        """What the control plane says now. Raises NotAnswering."""
        return await asyncio.to_thread(ask_status, str(self.plan.admin), self._token)

    async def progress(self) -> Progress:
        """How far every part is now."""
        try:
            status = await self.status()
            serving = await asyncio.to_thread(ask_serving, str(self.plan.admin), self._token)
        except NotAnswering:
            return fold_progress(self.plan, None)
        return fold_progress(self.plan, status, serving)

    async def wait_ready(self, deadline: float = 60.0) -> None:
        """Return once every part is ready and the gateway answers with the whole page.

        Raises MeshNotReady after ``deadline`` seconds, or as soon as a process fails again and again.
        """
        progress = fold_progress(self.plan, None)
        try:
            async with asyncio.timeout(deadline):
                while True:
                    progress = await self.progress()
                    self._on_progress(progress)
                    if progress.is_ready and await asyncio.to_thread(page_is_whole, self.plan.gateway):
                        return
                    self._refuse_to_wait_for_the_broken()
                    await asyncio.sleep(POLL_SECONDS)
        except TimeoutError as error:
            missing = progress.missing or (f"{self.plan.page_url} does not answer with the whole page",)
            text = "\n".join((f"the mesh is not ready after {deadline:g} s:", *missing))
            raise MeshNotReady(f"{text}\nThe logs are in {self.log_folder}") from error

    async def wait_converged(self, deadline: float = 15.0) -> None:
        """Return once every proxy has acknowledged all that the control plane has made by now.

        A file that was written this instant may not have been read by then: who waits for one also looks for its
        effect. Raises MeshNotReady.
        """
        names = frozenset(self.plan.proxy_names)
        try:
            async with asyncio.timeout(deadline):
                while True:
                    if await self._is_converged(names):
                        return
                    await asyncio.sleep(POLL_SECONDS)
        except TimeoutError as error:
            waiting = "; ".join((await self.progress()).missing) or "a proxy is not connected"
            raise MeshNotReady(f"not every proxy took the configuration within {deadline:g} s: {waiting}") from error

    async def _is_converged(self, names: frozenset[str]) -> bool:
        try:
            return is_converged(await self.status(), names)
        except NotAnswering:
            return False

    async def stop(self) -> None:
        """End every process in order, and remove the runtime folder: all of it, or all but logs worth reading.

        Raises PilothouseError if a process could not be ended. May be called again.
        """
        if self._folder is None:
            return
        try:
            await self.processes.stop()
        except PilothouseError:
            self.keeps_logs = True
            raise
        finally:
            await asyncio.to_thread(self._release)

    def kill(self) -> None:
        """End every process at once. ``stop`` is still needed, and has little left to do."""
        if self._folder is not None:
            self.processes.kill()

    @property
    def kept(self) -> tuple[Path, ...]:
        """The folders that outlive ``stop``: logs that somebody may want, and configuration that somebody edited."""
        logs = (self.log_folder,) if self.keeps_logs else ()
        config = () if is_untouched(self.plan) else (self.config_folder,)
        return tuple(folder for folder in (*logs, *config) if folder.exists())

    def _release(self) -> None:
        folder, self._folder = self._folder, None
        if folder is not None:
            options = self._options
            # A check has a folder of its own, and what lies in the usual one is not its to remove.
            drops_config = options.config_folder is None and not options.check and is_untouched(self.plan)
            folder.release(keep_logs=self.keeps_logs, keep_config=not drops_config)

    def _refuse_to_wait_for_the_broken(self) -> None:
        for name, state in self.processes.states.items():
            if state.quick_ends >= MOST_QUICK_ENDS:
                said = self.processes.tail(name)
                raise MeshNotReady(
                    f"{name} {state.last_end}, {state.quick_ends} times in a row. Its last words:\n{said}"
                )

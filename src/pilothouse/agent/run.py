"""The composition of one agent: what starts, in which order it leaves, and when it gives up.

Coming: the state directory, ports, status, then health, Envoy and registration side by side, none waiting for another.
Leaving: out of the registry, a moment for callers to hear of it, drain, end Envoy and its holder, close. A control
plane that is away stops none of this; a missing Envoy, a taken port or a second agent stops all of it before anything
was started. An agent that is killed leaves its Envoy to its holder, and the next one adopts both.
"""

import asyncio
import contextlib
from contextlib import nullcontext
from pathlib import Path
from typing import Final

import aiohttp
import msgspec
import structlog

from pilothouse import __version__
from pilothouse.agent.admin import EnvoyAdmin
from pilothouse.agent.announce import announce
from pilothouse.agent.binary import find_envoy, read_version
from pilothouse.agent.bootstrap import encode_bootstrap
from pilothouse.agent.claim import claimed
from pilothouse.agent.commands import Commands
from pilothouse.agent.control import controlled
from pilothouse.agent.envoy import Envoy, EnvoyCommand
from pilothouse.agent.health import watch_app
from pilothouse.agent.holding import held
from pilothouse.agent.metrics import AgentMetrics, Snapshot
from pilothouse.agent.ports import require_free
from pilothouse.agent.registration import Registration
from pilothouse.agent.relay import Relay
from pilothouse.agent.settings import AgentSettings, own_uses_of, uses_of, validate_settings, workload_of
from pilothouse.agent.status import StatusParts, StatusServer, listen
from pilothouse.agent.watch import EnvoyWatch
from pilothouse.aio.cell import Cell
from pilothouse.aio.notify import STOPPING, notify
from pilothouse.aio.tasks import Tasks
from pilothouse.kit.errors import SettingsError
from pilothouse.model.registration import Health

log = structlog.get_logger(__name__)

SETTLE_SECONDS: Final = 0.2
"""Between the control plane's word that the workload is out and the drain.

The word comes when the callers' Envoys have acknowledged it; requests that they had chosen an endpoint for are on
their way."""
GATEWAY_SETTLE_SECONDS: Final = 0.3
"""A gateway is in no registry: only load balancers that ask for its readiness hear of it."""
ADOPTION_SECONDS: Final = 2.0
"""An agent that adopts an Envoy looks before it registers: "not checked yet" would take a serving workload out."""


class Agent:
    """The parts of one agent, joined by cells."""

    def __init__(self, settings: AgentSettings, binary: Path, session: aiohttp.ClientSession) -> None:
        state_dir = Path(settings.state_dir).absolute()
        self._settings = settings
        self._session = session
        self._app = Cell(Health(healthy=False, reason="the app was not checked yet"))
        self._admin = EnvoyAdmin(session, settings.admin)
        command = EnvoyCommand(
            binary=binary,
            bootstrap=encode_bootstrap(settings, __version__),
            state_dir=state_dir,
            log_dir=Path(settings.log_dir).absolute() if settings.log_dir else state_dir / "logs",
            concurrency=settings.concurrency,
            chosen=bool(settings.envoy_binary),
            owner_pid=settings.owner_pid,
        )
        self._state_dir = state_dir
        self._envoy = Envoy(command, self._admin)
        self._relay = None if settings.direct_xds else Relay(settings)
        self._watch = EnvoyWatch(
            self._envoy.process,
            self._admin,
            expected=settings.envoy_listeners,
            discovery=settings.discovery,
            source=lambda: ("", 0.0) if self._relay is None else self._relay.source,
        )
        self._registration = Registration(settings, self._app, self._watch.state)
        self._leaving = ""

    def snapshot(self) -> Snapshot:
        """What is known now."""
        return Snapshot(
            process=self._envoy.process.value,
            envoy=self._watch.state.value,
            app=self._app.value,
            registration=self._registration.status.value,
            leaving=self._leaving,
            relay=None if self._relay is None else self._relay.state,
        )

    async def run(self, stop: asyncio.Event) -> int:
        """Serve until ``stop``, then leave. 1 if a part of the agent itself crashed.

        Raises ``PortInUse`` and ``AgentRunning``, and has then touched nothing.
        """
        async with claimed(self._state_dir):
            found = await held(self._state_dir)
            adopts = found is not None and bool(found.pid)
            await require_free(own_uses_of(self._settings) if adopts else uses_of(self._settings))
            commands = Commands(self._settings, self._envoy, self._watch, stop)
            async with controlled(self._state_dir, commands.serve):
                try:
                    return await self._serve(stop, adopts=adopts)
                finally:
                    commands.left.set()
                    await asyncio.sleep(0)  # Whoever asked for the departure hears of it.

    async def _serve(self, stop: asyncio.Event, *, adopts: bool) -> int:
        settings = self._settings
        server = StatusServer(StatusParts(settings, self.snapshot, self._admin, self._session, AgentMetrics()))
        served = (("status and metrics", settings.status), ("readiness", settings.readiness))
        runner = await listen(server.application(), served)
        crashed: list[str] = []

        def on_crash(name: str, _: BaseException) -> None:
            crashed.append(name)
            stop.set()

        try:
            relaying = nullcontext() if self._relay is None else self._relay.serving(on_crash)
            async with relaying, Tasks(on_crash) as tasks:
                tasks.start("envoy", self._envoy.run())
                tasks.start("envoy watch", self._watch.run())
                tasks.start("app health", watch_app(settings, self._session, self._app))
                tasks.start("registration", self._register(adopts=adopts))
                tasks.start("systemd", announce(self._watch.state))
                await stop.wait()
                await self._leave("a part of the agent crashed" if crashed else "the agent was asked to stop")
        finally:
            await runner.cleanup()
        return 1 if crashed else 0

    async def _register(self, *, adopts: bool) -> None:
        if adopts:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(ADOPTION_SECONDS):
                    while not self._watch.state.value.live:
                        await self._watch.state.after(self._watch.state.generation)
                    if not self._app.generation:
                        await self._app.after(0)
        await self._registration.run()

    async def _leave(self, reason: str) -> None:
        self._leaving = reason
        notify(STOPPING, f"STATUS=leaving: {reason}")
        log.info("agent leaves", node=self._settings.node_id, reason=reason)
        if await self._registration.leave(reason):
            await asyncio.sleep(SETTLE_SECONDS if workload_of(self._settings) else GATEWAY_SETTLE_SECONDS)
        await self._envoy.stop(self._settings.drain_seconds)
        log.info("agent left", node=self._settings.node_id)


def with_absolute_paths(settings: AgentSettings) -> AgentSettings:
    """Envoy is told the path of the relay's socket, and need not share the agent's working folder."""
    return msgspec.structs.replace(settings, state_dir=str(Path(settings.state_dir).absolute()))


async def run_agent(settings: AgentSettings, stop: asyncio.Event) -> int:
    """Run one agent until ``stop`` is set, leave gracefully, and return the exit status.

    0 as asked, 1 after a fault of its own. Raises ``SettingsError``, ``EnvoyNotFound``, ``PortInUse``,
    ``RelayUnavailable`` and ``AgentRunning`` before anything was started.
    """
    settings = with_absolute_paths(settings)
    mistakes = validate_settings(settings)
    if mistakes:
        raise SettingsError("; ".join(mistakes))
    binary = find_envoy(settings.envoy_binary)
    version = await read_version(binary)
    log.info("agent starts", node=settings.node_id, envoy=version, binary=str(binary), status=str(settings.status))
    # The app's environment may name its sidecar as HTTP_PROXY; the agent asks directly.
    async with aiohttp.ClientSession(trust_env=False) as session:
        return await Agent(settings, binary, session).run(stop)

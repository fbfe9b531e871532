"""What a person asks of the running agent: take a new Envoy or a new bootstrap, or leave. Told step by step.

Stands between the control socket and the parts that do it. Nothing is replaced before Envoy accepted it.
"""

import asyncio
from typing import Final, assert_never

from pilothouse.agent.binary import find_envoy, read_version
from pilothouse.agent.control import Request, Say
from pilothouse.agent.envoy import Envoy
from pilothouse.agent.settings import AgentSettings
from pilothouse.agent.watch import EnvoyWatch
from pilothouse.kit.errors import PilothouseError

TAKEOVER_SECONDS: Final = 10.0
"""How long a reload is watched. With the control plane there, a takeover takes well under a second."""
LEAVE_SECONDS: Final = 20.0


class Commands:
    """Serves the requests of the control socket. ``left`` is set by the agent when it has left."""

    def __init__(self, settings: AgentSettings, envoy: Envoy, watch: EnvoyWatch, stop: asyncio.Event) -> None:
        self._settings = settings
        self._envoy = envoy
        self._watch = watch
        self._stop = stop
        self.left = asyncio.Event()

    async def serve(self, request: Request, say: Say) -> str:
        """Do what is asked; the last line to tell. Raises PilothouseError if it cannot be done."""
        match request.command:
            case "reload":
                return await self._reload(request.binary, say)
            case "stop":
                return await self._leave(say)
            case _:
                assert_never(request.command)

    async def _reload(self, named: str, say: Say) -> str:
        binary = find_envoy(named or self._settings.envoy_binary)
        version = await read_version(binary)
        before = self._watch.state.value
        await say(f"Envoy {version} ({binary}) validates the bootstrap")
        epoch = await self._envoy.reload(binary if named else None)
        if not epoch:
            await say("this Envoy cannot take over from the running one: that was drained and is started afresh")
        else:
            await say(f"epoch {epoch} starts beside epoch {before.epoch}, which serves until it takes over")
        return await self._outcome(epoch)

    async def _outcome(self, epoch: int) -> str:
        """What became of a reload, as far as ``TAKEOVER_SECONDS`` show it. Raises PilothouseError if it failed."""
        state = self._watch.state
        try:
            async with asyncio.timeout(TAKEOVER_SECONDS):
                while not (state.value.ready and state.value.epoch == epoch and not state.value.reason):
                    if failure := self._envoy.process.value.reload:
                        raise PilothouseError(f"the reload failed, and epoch {state.value.epoch} serves on: {failure}")
                    await state.after(state.generation)
        except TimeoutError:
            return f"epoch {state.value.epoch} serves on; {state.value.reason}"
        return f"epoch {epoch} serves"

    async def _leave(self, say: Say) -> str:
        await say("the workload leaves: out of the registry, then drained, then Envoy ends")
        self._stop.set()
        try:
            async with asyncio.timeout(LEAVE_SECONDS + self._settings.drain_seconds):
                await self.left.wait()
        except TimeoutError as error:
            raise PilothouseError("the agent has not left yet") from error
        return "Envoy has ended, and the agent ends"

"""Is Envoy live, is it ready, and if not, why: the truth that readiness, registration and debug tell.

Joins what the supervisor knows of the process with what the admin interface says. Ready means more than Envoy's own
LIVE: an Envoy whose first answer came before its workload was registered is LIVE without the inbound listener.
"""

import asyncio
import contextlib
import dataclasses
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Final

from msgspec.structs import replace

from pilothouse.agent.admin import AdminUnavailable, EnvoyAdmin, Memory, ServerInfo, Stats, read_memory
from pilothouse.agent.envoy import Process
from pilothouse.agent.settings import Listen
from pilothouse.aio.cell import Cell
from pilothouse.aio.clock import Clock, SystemClock
from pilothouse.model.registration import EnvoyState

WAITING_SECONDS: Final = 0.1
"""Between looks while Envoy is not ready: this is what start-up waits for."""
READY_SECONDS: Final = 1.0
SAMPLE_SECONDS: Final = 5.0
"""Between looks at memory, which costs the kernel a walk over Envoy's pages."""
PATIENCE_SECONDS: Final = 5.0
"""How long a ready Envoy may leave the admin interface unanswered: a large update holds its main thread."""
LOOKED_AT: Final = r"\.update_time$|\.update_rejected$|^cluster_manager\.warming_clusters$|\.total_listeners_warming$"


def explain_not_ready(live: tuple[bool, str], missing: AbstractSet[Listen], discovery: Listen) -> str:
    """Why an Envoy that answers is not ready; empty if it is."""
    initialised, word = live
    if not initialised:
        return f"envoy waits for its configuration from the control plane at {discovery} ({word})"
    if missing:
        named = ", ".join(str(one) for one in sorted(missing, key=str))
        return f"envoy has no listener yet on {named}"
    return ""


def newest_update(update_times: Stats) -> float:
    """The wall-clock second of the newest update that Envoy applied; 0 if it applied none."""
    return max((value for name, value in update_times.items() if name.endswith(".update_time")), default=0) / 1000


def count_unsettled(stats: Stats) -> tuple[int, int]:
    """How many clusters and listeners warm, and how many updates were rejected since Envoy's start."""
    warming = sum(value for name, value in stats.items() if name.endswith(("warming_clusters", "listeners_warming")))
    return warming, sum(value for name, value in stats.items() if name.endswith(".update_rejected"))


@dataclass(frozen=True, slots=True)
class Sample:
    """Memory at one moment: Envoy's and the agent's own."""

    pid: int = -1
    when: float = 0.0
    envoy: Memory = field(default_factory=Memory)
    agent_rss_kib: int = 0


class EnvoyWatch:
    """Looks at one Envoy and keeps the newest ``EnvoyState`` in ``state``."""

    def __init__(
        self,
        process: Cell[Process],
        admin: EnvoyAdmin,
        *,
        expected: tuple[Listen, ...],
        discovery: Listen,
        clock: Clock | None = None,
        source: Callable[[], tuple[str, float]] = lambda: ("", 0.0),
    ) -> None:
        self._source = source
        self._unsettled = (0, 0)
        self._process = process
        self._admin = admin
        self._expected = frozenset(expected)
        self._discovery = discovery
        self._clock = clock or SystemClock()
        self._info: tuple[int, ServerInfo] = (0, ServerInfo(""))
        self._sampled: Sample = Sample()
        self._ready_since: tuple[int, float] = (0, 0.0)
        self._answered: tuple[int, float] = (0, 0.0)
        self.state = Cell(EnvoyState(live=False, ready=False, reason="envoy has not been started yet"))

    async def run(self) -> None:
        """Look until cancelled; a change of the process is seen at once."""
        while True:
            generation = self._process.generation
            state = await self._look()
            if state != self.state.value:
                self.state.put(state)
            pause = READY_SECONDS if state.ready else WAITING_SECONDS
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._process.after(generation)

    async def _look(self) -> EnvoyState:
        process = self._process.value
        if process.draining:
            return self._state(process, live=True, reason=process.draining)
        if not process.pid:
            why = process.last_exit or "has not been started yet"
            return self._state(process, reason=f"envoy does not run: it {why}")
        try:
            info = await self._server_info(process)
            if self._is_understudy(process) and info.epoch != process.epoch:
                return self._still_served(process, f"epoch {process.epoch} starts")
            live = await self._admin.ready()
            listening = await self._admin.listeners() if live[0] and self._expected else self._expected
            reason = explain_not_ready(live, self._expected - listening, self._discovery)
            since = 0.0 if reason else await self._serving_since(process.pid)
        except AdminUnavailable as error:
            return self._unanswered(process, str(error))
        self._answered = (process.pid, self._clock.monotonic())
        if reason and self._is_understudy(process):
            return self._still_served(process, f"epoch {process.epoch} waits to take over: {reason}")
        state = self._state(process, live=True, reason=reason, since=since, version=info.version)
        return state if reason else replace(state, reason=process.reload)

    def _is_understudy(self, process: Process) -> bool:
        """Whether an older epoch serves, because the newest has not been ready yet."""
        return bool(process.older) and self._ready_since[0] != process.pid

    def _still_served(self, process: Process, reason: str) -> EnvoyState:
        """The state of an Envoy that serves without an admin interface: a newer epoch has taken that over."""
        serving = process
        if process.older:
            serving = dataclasses.replace(process, pid=process.older[-1], epoch=process.epoch - 1)
        last = self.state.value
        state = self._state(serving, live=True, reason="", since=last.serving_since, version=last.version)
        return replace(state, reason=reason)

    def _unanswered(self, process: Process, error: str) -> EnvoyState:
        """A young Envoy does not answer yet; a ready one may be busy and stays ready for ``PATIENCE_SECONDS``."""
        if self._is_understudy(process):
            return self._still_served(process, f"epoch {process.epoch} starts")
        if process.deaf:
            return self._still_served(process, f"a reload failed ({process.reload}); reload again")
        pid, when = self._answered
        if pid != process.pid:
            return self._state(process, reason="envoy is starting")
        if self.state.value.ready and self._clock.monotonic() - when < PATIENCE_SECONDS:
            return self.state.value
        return self._state(process, reason=error)

    async def _server_info(self, process: Process) -> ServerInfo:
        """State, version and epoch, asked until the process itself has answered."""
        known, info = self._info
        if known != process.pid or info.epoch != process.epoch:
            info = await self._admin.server_info()
            self._info = (process.pid, info)
        return info

    async def _serving_since(self, pid: int) -> float:
        """Since when this process serves what it serves; without updates, since it was first seen ready."""
        if self._ready_since[0] != pid:
            self._ready_since = (pid, self._clock.wall())
        stats = await self._admin.stats(LOOKED_AT)
        self._unsettled = count_unsettled(stats)
        return newest_update(stats) or self._ready_since[1]

    def _sample(self, pid: int) -> Sample:
        """The memory of Envoy (``pid`` 0: none to measure) and of the agent, at most ``SAMPLE_SECONDS`` old."""
        now = self._clock.monotonic()
        if self._sampled.pid != pid or now - self._sampled.when >= SAMPLE_SECONDS:
            envoy = read_memory(pid) if pid else Memory()
            self._sampled = Sample(pid, now, envoy, read_memory("self").rss_kib)
        return self._sampled

    def _state(
        self, process: Process, *, reason: str, live: bool = False, since: float = 0.0, version: str = ""
    ) -> EnvoyState:
        sample = self._sample(process.pid if live else 0)
        source, stored_at = self._source()
        warming, rejected = self._unsettled if live else (0, 0)
        return EnvoyState(
            live=live,
            ready=live and not reason,
            reason=reason,
            serving_since=since,
            version=version,
            admin_address=str(self._admin.where),
            epoch=process.epoch,
            restarts=process.restarts,
            rss_kib=sample.envoy.rss_kib,
            pss_kib=sample.envoy.pss_kib,
            private_kib=sample.envoy.private_kib,
            agent_rss_kib=sample.agent_rss_kib,
            source=source,
            stored_at=stored_at,
            warming=warming,
            rejected=rejected,
        )

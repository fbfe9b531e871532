"""Keeps the workload registered: one authenticated stream to the control plane, opened again whenever it is lost.

Sends the registration, then every change of health and of Envoy's state at once, and something at least every third
of the lease. A new stream starts with everything, so what is registered never depends on what an old one said.
"""

import asyncio
import contextlib
import os
from dataclasses import dataclass, replace
from typing import Any, Final, assert_never

import msgspec
import structlog

from pilothouse.agent.health import traffic_health
from pilothouse.agent.settings import AgentSettings, workload_of
from pilothouse.agent.stream import Standing, Stream, StreamLost, open_stream
from pilothouse.aio.backoff import Backoff, BackoffPolicy
from pilothouse.aio.cell import Cell
from pilothouse.aio.tasks import Tasks
from pilothouse.model.registration import (
    Accepted,
    Deregister,
    Deregistered,
    EnvoyState,
    Health,
    Refused,
    Register,
    ToAgent,
)

log = structlog.get_logger(__name__)

RECONNECTS: Final = BackoffPolicy(base=0.1, most=1.0, least=0.05)


@dataclass(frozen=True, slots=True)
class Patience:
    """How long things may take, in seconds; tests are less patient.

    ``answer``: the control plane's answer to a registration. ``refused`` and ``wrong_token``: until the next
    attempt, because only a person can mend either, and then no restart should be needed. ``leave``: the control
    plane's word that the workload is out and that its callers know; without it, the workload is a suspect there.
    """

    answer: float = 10.0
    refused: float = 5.0
    wrong_token: float = 30.0
    leave: float = 6.0


@dataclass(frozen=True, slots=True)
class RegistrationStatus:
    """How the registration stands. ``accepted`` counts the streams on which it was accepted."""

    standing: Standing = Standing.CONNECTING
    reason: str = ""
    lease_seconds: float = 0.0
    accepted: int = 0


def steady(state: EnvoyState) -> EnvoyState:
    """``state`` without its memory figures, which alone are no news."""
    return msgspec.structs.replace(state, rss_kib=0, pss_kib=0, private_kib=0, agent_rss_kib=0)


class Registration:
    """One agent's registration. ``run`` is its task; ``leave`` takes the workload out, and ``run`` ends."""

    def __init__(
        self,
        settings: AgentSettings,
        health: Cell[Health],
        envoy: Cell[EnvoyState],
        patience: Patience | None = None,
    ) -> None:
        self._settings = settings
        self._health = health
        self._envoy = envoy
        self._patience = patience or Patience()
        self._leaving: str | None = None
        self._news = asyncio.Event()
        self._left = asyncio.Event()
        self._lost: StreamLost | None = None
        self._backoff = Backoff(RECONNECTS)
        self.status = Cell(RegistrationStatus())

    async def run(self) -> None:
        """Stay registered until ``leave``."""
        async with Tasks() as watchers:
            watchers.start("registration: health", self._announce(self._health))
            watchers.start("registration: envoy", self._announce(self._envoy))
            while self._leaving is None:
                try:
                    async with open_stream(str(self._settings.discovery), self._settings.token) as stream:
                        await self._converse(stream)
                except StreamLost as lost:
                    await self._pause(lost)
        self.status.put(replace(self.status.value, standing=Standing.LEFT, reason=self._leaving or ""))
        self._left.set()

    async def leave(self, reason: str) -> bool:
        """Deregister, and wait for the control plane's word as long as patience goes. Whether it came."""
        registered = self.status.value.standing is Standing.REGISTERED
        self._leaving = reason
        self._news.set()
        if not registered:
            return False
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._patience.leave):
                await self._left.wait()
        return self._left.is_set()

    async def _announce(self, cell: Cell[Any]) -> None:
        while True:
            await cell.after(cell.generation)
            self._news.set()

    async def _converse(self, stream: Stream) -> None:
        """Register and report. Returns after a deregistration; raises ``StreamLost`` otherwise."""
        health, envoy = self._health_now(), self._envoy.value
        workload = workload_of(self._settings)
        await stream.send(
            Register(node_id=self._settings.node_id, pid=os.getpid(), workload=workload, ready=health.healthy)
        )
        self._accept(await stream.receive(self._patience.answer))
        if not health.healthy:
            await stream.send(health)  # Register has no room for the reason.
        await stream.send(envoy)
        self._lost = None
        async with Tasks() as tasks:
            answers = tasks.start("registration: answers", self._take_answers(stream))
            await self._report(stream, health, envoy)
            await asyncio.wait((answers,), timeout=self._patience.leave)

    async def _report(self, stream: Stream, health: Health, envoy: EnvoyState) -> None:
        """Tell every change, and renew, until the agent leaves or the stream is lost."""
        while True:
            if self._lost is not None:
                raise self._lost
            if self._leaving is not None:
                await stream.send(Deregister(self._leaving))
                return
            if (now := self._health_now()) != health:
                health = now
                await stream.send(health)
            renewal = not await self._news_within(self.status.value.lease_seconds / 3)
            if renewal or steady(self._envoy.value) != steady(envoy):
                envoy = self._envoy.value
                await stream.send(envoy)

    async def _news_within(self, seconds: float) -> bool:
        """Whether something happened before ``seconds`` had passed."""
        try:
            async with asyncio.timeout(seconds):
                await self._news.wait()
        except TimeoutError:
            return False
        self._news.clear()
        return True

    async def _take_answers(self, stream: Stream) -> None:
        """Take what the control plane says, until it confirms the departure or the stream is lost."""
        try:
            while not isinstance(answer := await stream.receive(), Deregistered):
                self._accept(answer)
        except StreamLost as lost:
            self._lost = lost
        else:
            self._lost = None if self._leaving is not None else StreamLost("the control plane took the workload out")
        self._news.set()

    def _accept(self, answer: ToAgent) -> None:
        match answer:
            case Accepted():
                before = self.status.value
                accepted = before.accepted
                if before.standing is not Standing.REGISTERED:
                    accepted += 1
                    log.info("registered", node=self._settings.node_id, lease_seconds=answer.lease_seconds)
                self._backoff.reset()
                self.status.put(RegistrationStatus(Standing.REGISTERED, "", answer.lease_seconds, accepted))
            case Refused():
                raise StreamLost(answer.reason, Standing.REFUSED if answer.final else Standing.CONNECTING)
            case Deregistered():
                raise StreamLost("the control plane took the workload out")
            case _:
                assert_never(answer)

    async def _pause(self, lost: StreamLost) -> None:
        """Say why there is no registration, and wait before the next attempt; leaving ends the wait."""
        before = self.status.value
        now = RegistrationStatus(lost.standing, str(lost), 0.0, before.accepted)
        wait = self._wait_after(lost)
        if (before.standing, before.reason) != (now.standing, now.reason):
            tell = log.warning if lost.standing is Standing.CONNECTING else log.error
            tell("not registered", standing=lost.standing.value, reason=str(lost), next_attempt_in=round(wait, 2))
        self.status.put(now)
        until = asyncio.get_running_loop().time() + wait
        while self._leaving is None and (left := until - asyncio.get_running_loop().time()) > 0:
            await self._news_within(left)

    def _wait_after(self, lost: StreamLost) -> float:
        match lost.standing:
            case Standing.REFUSED:
                return self._patience.refused
            case Standing.UNAUTHENTICATED:
                return self._patience.wrong_token
            case _:
                return self._backoff.next_wait()

    def _health_now(self) -> Health:
        return traffic_health(self._health.value, self._envoy.value)

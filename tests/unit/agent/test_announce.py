"""When systemd hears that the agent's service is ready."""

import asyncio

from pilothouse.agent.announce import announce
from pilothouse.aio.cell import Cell
from pilothouse.aio.tasks import Tasks
from pilothouse.model.registration import EnvoyState

WAITING = EnvoyState(live=True, ready=False, reason="no answer from the control plane")
READY = EnvoyState(live=True, ready=True)


class Systemd:
    """Hears."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, ...]] = []

    def tell(self, *lines: str) -> bool:
        self.heard.append(lines)
        return True

    async def until(self, count: int) -> None:
        async with asyncio.timeout(20):
            while len(self.heard) < count:
                await asyncio.sleep(0.005)


async def test_the_service_is_ready_once_envoy_is() -> None:
    state, systemd = Cell(WAITING), Systemd()
    async with Tasks() as tasks:
        tasks.start("announce", announce(state, tell=systemd.tell, patience=60))
        for _ in range(10):
            await asyncio.sleep(0)
        assert systemd.heard == []
        state.put(READY)
        await systemd.until(1)
    assert systemd.heard == [("READY=1", "STATUS=Envoy is ready")]


async def test_a_service_that_has_to_wait_for_the_control_plane_is_up_and_says_why() -> None:
    state, systemd = Cell(WAITING), Systemd()
    async with Tasks() as tasks:
        tasks.start("announce", announce(state, tell=systemd.tell, patience=0.01))
        await systemd.until(1)
        state.put(WAITING)
        state.put(READY)
        await systemd.until(2)
    assert systemd.heard == [
        ("READY=1", "STATUS=Envoy is live, not ready: no answer from the control plane"),
        ("STATUS=Envoy is ready",),
    ]

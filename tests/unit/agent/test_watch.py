"""The truth about Envoy, from a scripted admin interface and a clock that stands still."""

from typing import cast

import pytest

from pilothouse.agent.admin import AdminUnavailable, EnvoyAdmin, ServerInfo, Stats
from pilothouse.agent.envoy import Process
from pilothouse.agent.settings import Listen
from pilothouse.agent.watch import PATIENCE_SECONDS, EnvoyWatch, explain_not_ready, newest_update
from pilothouse.aio.cell import Cell
from pilothouse.aio.clock import ManualClock
from pilothouse.aio.tasks import Tasks
from tests.load import until

INBOUND = Listen("127.0.0.2", 15006)
PILOT = Listen("127.0.0.1", 15010)


class FakeAdmin:
    """An Envoy that is whatever the test says."""

    def __init__(self) -> None:
        self.where = Listen("127.0.0.1", 15000)
        self.answers = True
        self.live = (True, "LIVE")
        self.listening = {INBOUND}
        self.updates: Stats = {}

    async def ready(self) -> tuple[bool, str]:
        if not self.answers:
            raise AdminUnavailable("no answer")
        return self.live

    async def listeners(self) -> frozenset[Listen]:
        return frozenset(self.listening)

    async def server_info(self) -> ServerInfo:
        return ServerInfo("LIVE", "1.40.0")

    async def stats(self, _: str) -> Stats:
        return self.updates


class Watched:
    """A watch over a fake Envoy. The process id is no process, so no memory is found."""

    def __init__(self, source: tuple[str, float] = ("", 0.0)) -> None:
        self.admin = FakeAdmin()
        self.clock = ManualClock()
        self.process = Cell(Process())
        self.watch = EnvoyWatch(
            self.process,
            cast(EnvoyAdmin, self.admin),
            expected=(INBOUND,),
            discovery=PILOT,
            clock=self.clock,
            source=lambda: source,
        )

    def starts(self, pid: int) -> None:
        self.process.put(Process(pid=pid, starts=self.process.value.starts + 1))

    async def reason_is(self, text: str) -> None:
        await until(lambda: text in self.watch.state.value.reason, what=f"the reason {text!r}")

    async def ready(self) -> None:
        await until(lambda: self.watch.state.value.ready, what="readiness")


def test_reasons_name_what_is_waited_for() -> None:
    assert "127.0.0.1:15010 (PRE_INITIALIZING)" in explain_not_ready((False, "PRE_INITIALIZING"), set(), PILOT)
    assert explain_not_ready((True, "LIVE"), {INBOUND}, PILOT) == "envoy has no listener yet on 127.0.0.2:15006"
    assert explain_not_ready((True, "LIVE"), set(), PILOT) == ""


def test_the_newest_update_counts() -> None:
    assert newest_update({"listener_manager.lds.update_time": 2000, "cluster_manager.cds.update_time": 1500}) == 2.0
    assert newest_update({}) == 0


async def test_from_nothing_to_ready_and_back() -> None:
    one = Watched()
    one.admin.answers = False
    async with Tasks() as tasks:
        tasks.start("watch", one.watch.run())
        await one.reason_is("has not been started yet")
        one.starts(2**22 + 1)
        await one.reason_is("envoy is starting")
        one.admin.live = (False, "PRE_INITIALIZING")
        one.admin.answers = True
        await one.reason_is("waits for its configuration")
        one.admin.live, one.admin.listening = (True, "LIVE"), set()
        await one.reason_is("no listener yet")
        assert one.watch.state.value.live
        one.admin.listening = {INBOUND}
        await one.ready()
        assert one.watch.state.value.serving_since == one.clock.now
        one.process.put(Process(pid=0, starts=1, last_exit="killed by SIGKILL"))
        await one.reason_is("killed by SIGKILL")
        assert not one.watch.state.value.live


async def test_serving_since_follows_updates() -> None:
    one = Watched()
    one.starts(2**22 + 1)
    one.admin.updates = {"listener_manager.lds.update_time": 7_000}
    async with Tasks() as tasks:
        tasks.start("watch", one.watch.run())
        await one.ready()
        assert one.watch.state.value.serving_since == 7.0
        one.admin.updates = {"listener_manager.lds.update_time": 9_000}
        await until(lambda: one.watch.state.value.serving_since == 9.0)


@pytest.mark.parametrize("passed", [PATIENCE_SECONDS / 2, PATIENCE_SECONDS])
async def test_a_busy_envoy_stays_ready_for_a_while(passed: float) -> None:
    one = Watched()
    one.starts(2**22 + 1)
    async with Tasks() as tasks:
        tasks.start("watch", one.watch.run())
        await one.ready()
        one.admin.answers = False
        one.clock.advance(passed)
        if passed < PATIENCE_SECONDS:
            before = one.process.generation
            one.process.put(one.process.value)
            await until(lambda: one.process.generation > before)
            assert one.watch.state.value.ready
        else:
            await one.reason_is("no answer")


async def test_a_new_process_gets_no_credit_from_the_old_one() -> None:
    one = Watched()
    one.starts(2**22 + 1)
    async with Tasks() as tasks:
        tasks.start("watch", one.watch.run())
        await one.ready()
        one.admin.answers = False
        one.starts(2**22 + 2)
        await one.reason_is("envoy is starting")


async def test_what_warms_what_was_rejected_and_where_the_configuration_came_from_are_told() -> None:
    one = Watched(source=("stored", 12.0))
    one.starts(2**22 + 1)
    one.admin.updates = {
        "cluster_manager.warming_clusters": 2,
        "listener_manager.total_listeners_warming": 1,
        "cluster_manager.cds.update_rejected": 3,
        "listener_manager.lds.update_rejected": 1,
        "listener_manager.lds.update_time": 7_000,
    }
    async with Tasks() as tasks:
        tasks.start("watch", one.watch.run())
        await one.ready()
        state = one.watch.state.value
        assert (state.warming, state.rejected, state.serving_since) == (3, 4, 7.0)
        assert (state.source, state.stored_at) == ("stored", 12.0)

"""What counts as activity, and when a drain is over, against an admin interface that follows a script."""

import asyncio
from typing import cast

import pytest

from pilothouse.agent import drain as module
from pilothouse.agent.admin import AdminUnavailable, EnvoyAdmin, Stats
from pilothouse.agent.drain import Activity, drain, fold_activity

IDLE_CONNECTION: Stats = {"http.in.downstream_cx_active": 1, "http.in.downstream_rq_total": 5}
ONE_REQUEST: Stats = {**IDLE_CONNECTION, "http.in.downstream_rq_active": 1}
NOBODY: Stats = {"http.in.downstream_cx_active": 0, "http.in.downstream_rq_total": 5}


class ScriptedAdmin:
    """Answers with each of ``answers`` in turn, and with the last for ever."""

    def __init__(self, *answers: Stats | AdminUnavailable) -> None:
        self.answers = list(answers)
        self.drained = 0

    async def drain(self) -> None:
        self.drained += 1

    async def stats(self, _: str) -> Stats:
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, AdminUnavailable):
            raise answer
        return answer


def test_the_admin_interface_and_past_requests_are_no_activity() -> None:
    stats = {
        "http.admin.downstream_rq_active": 1,
        "http.admin.downstream_cx_active": 1,
        "http.in.downstream_rq_active": 2,
        "http.in.downstream_cx_active": 3,
        "http.out.downstream_rq_active": 4,
        "http.in.downstream_rq_total": 50,
        "tcp.db.downstream_cx_active": 5,
        "tcp.db.downstream_cx_total": 9,
    }
    assert fold_activity(stats) == Activity(requests=6, connections=3, streams=5, seen=50)
    assert fold_activity({}).empty
    assert not fold_activity(IDLE_CONNECTION).busy


async def drained(admin: ScriptedAdmin, seconds: float) -> bool:
    return await asyncio.wait_for(drain(cast(EnvoyAdmin, admin), seconds), 30)


async def test_ends_as_soon_as_nobody_is_connected() -> None:
    admin = ScriptedAdmin(ONE_REQUEST, IDLE_CONNECTION, NOBODY)
    assert await drained(admin, 1000.0)
    assert admin.drained == 1


async def test_idle_connections_are_given_a_quiet_time_only() -> None:
    assert await drained(ScriptedAdmin(ONE_REQUEST, IDLE_CONNECTION), 1000.0)


@pytest.mark.parametrize("stats", [ONE_REQUEST, {"tcp.db.downstream_cx_active": 1}], ids=["request", "stream"])
async def test_what_never_ends_is_cut_at_the_deadline(stats: Stats) -> None:
    assert not await drained(ScriptedAdmin(stats), 0.2)


async def test_an_envoy_that_died_meanwhile_is_no_error() -> None:
    assert not await drained(ScriptedAdmin(ONE_REQUEST, AdminUnavailable("gone")), 1000.0)


def test_quiet_is_longer_than_a_look() -> None:
    assert module.QUIET_SECONDS > module.POLL_SECONDS

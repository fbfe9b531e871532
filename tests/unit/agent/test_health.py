"""The app's health: thresholds as arithmetic, checks against real sockets."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from pilothouse.agent.health import Verdict, ask, fold_check, target_of, traffic_health, watch_app
from pilothouse.agent.settings import CheckKind, HealthCheck, Listen
from pilothouse.aio.cell import Cell
from pilothouse.aio.tasks import Tasks
from pilothouse.model.registration import EnvoyState, Health
from tests.load import until
from tests.unit.agent.support import a_settings, free_ports

TWO_AND_THREE = HealthCheck(CheckKind.HTTP, unhealthy_threshold=2, healthy_threshold=3)


def after(results: str, check: HealthCheck = TWO_AND_THREE) -> str:
    """The verdicts after each of ``results`` (+ passed, - failed), in the same letters."""
    verdict, verdicts = Verdict(), ""
    for result in results:
        verdict = fold_check(verdict, "" if result == "+" else "it failed", check)
        verdicts += "+" if verdict.healthy else "-"
    return verdicts


@pytest.mark.parametrize(
    ("results", "verdicts"),
    [
        ("+", "+"),
        ("-", "-"),
        ("+-+-+", "+++++"),
        ("+--", "++-"),
        ("-++", "---"),
        ("-+++", "---+"),
        ("-++-+++", "------+"),
    ],
)
def test_only_results_in_a_row_change_the_verdict(results: str, verdicts: str) -> None:
    assert after(results) == verdicts


@given(st.text("+-", min_size=1, max_size=30), st.integers(1, 4), st.integers(1, 4))
def test_a_verdict_changes_only_after_as_many_in_a_row_as_asked_for(results: str, down: int, up: int) -> None:
    verdicts = after(results, HealthCheck(unhealthy_threshold=down, healthy_threshold=up))
    assert verdicts[0] == results[0]
    for i in range(1, len(results)):
        if verdicts[i] != verdicts[i - 1]:
            needed = up if verdicts[i] == "+" else down
            assert results[i + 1 - needed : i + 1] == verdicts[i] * needed


def test_the_reason_is_that_of_the_newest_failure() -> None:
    verdict = fold_check(fold_check(Verdict(), "first", HealthCheck()), "second", HealthCheck())
    assert (verdict.healthy, verdict.reason) == (False, "second")
    assert fold_check(verdict, "", HealthCheck()).reason == ""


def test_the_target_is_the_first_mapping_unless_it_is_given(tmp_path: Path) -> None:
    settings = a_settings(tmp_path)
    assert target_of(settings) == Listen("127.0.0.1", settings.services[0].app_port)
    given_one = a_settings(tmp_path, health=HealthCheck(address="127.0.0.9", port=7))
    assert target_of(given_one) == Listen("127.0.0.9", 7)


def test_callers_are_sent_only_where_app_and_envoy_are_ready() -> None:
    ready = EnvoyState(live=True, ready=True)
    warming = EnvoyState(live=True, ready=False, reason="it warms")
    ill = Health(healthy=False, reason="the app is gone")
    assert traffic_health(Health(healthy=True), ready) == Health(healthy=True)
    assert traffic_health(ill, ready) == traffic_health(ill, warming) == ill
    assert traffic_health(Health(healthy=True), warming).reason == "envoy is not ready: it warms"


@pytest.fixture
async def app() -> AsyncIterator[Listen]:
    """Answers with the status in its path."""

    async def answer(request: web.Request) -> web.Response:
        status = int(request.match_info["status"])
        return web.Response(status=status, headers={"Location": "/500"} if status == 302 else {})

    async def silent(_: web.Request) -> web.Response:
        await asyncio.Event().wait()
        return web.Response()

    application = web.Application()
    application.add_routes([web.get("/silent", silent), web.get("/{status}", answer)])
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    (port,) = free_ports(1)
    await web.TCPSite(runner, "127.0.0.1", port).start()
    yield Listen("127.0.0.1", port)
    await runner.cleanup()


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(trust_env=False) as session:
        yield session


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/200", ""),
        ("/302", ""),
        ("/404", "the app answered 404 to GET /404"),
        ("/500", "the app answered 500 to GET /500"),
        ("/silent", "did not answer within 0.1 s"),
    ],
)
async def test_http_check(app: Listen, session: aiohttp.ClientSession, path: str, said: str) -> None:
    check = HealthCheck(CheckKind.HTTP, path=path, timeout_seconds=0.1 if path == "/silent" else 5.0)
    answer = await ask(check, app, session)
    assert said in answer
    assert bool(said) == bool(answer)


async def test_tcp_check(app: Listen, session: aiohttp.ClientSession) -> None:
    check = HealthCheck(CheckKind.TCP)
    assert await ask(check, app, session) == ""
    assert "is not reachable" in await ask(check, Listen("127.0.0.1", free_ports(1)[0]), session)


async def test_without_a_check_the_app_is_healthy(tmp_path: Path, session: aiohttp.ClientSession) -> None:
    health = Cell(Health(healthy=False))
    await watch_app(a_settings(tmp_path), session, health)
    assert health.value == Health(healthy=True)


async def test_an_app_that_starts_late_is_seen_before_a_whole_interval(
    tmp_path: Path, session: aiohttp.ClientSession
) -> None:
    settings: Any = a_settings(tmp_path, health=HealthCheck(CheckKind.TCP, interval_seconds=3600.0))
    health = Cell(Health(healthy=False))
    async with Tasks() as tasks:
        tasks.start("app health", watch_app(settings, session, health))
        await until(lambda: "is not reachable" in health.value.reason)
        runner = web.AppRunner(web.Application())
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", settings.services[0].app_port).start()
        await until(lambda: health.value.healthy)
        await runner.cleanup()

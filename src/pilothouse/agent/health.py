"""Is the app healthy? One question asked at an interval, and thresholds so that one lost answer changes nothing.

``fold_check`` decides and is pure; ``watch_app`` asks. What it concludes decides whether callers are sent here.
"""

import asyncio
from dataclasses import dataclass
from typing import Final, assert_never

import aiohttp
import structlog

from pilothouse.agent.settings import AgentSettings, CheckKind, HealthCheck, Listen
from pilothouse.aio.cell import Cell
from pilothouse.model.registration import EnvoyState, Health

log = structlog.get_logger(__name__)

STARTING_SECONDS: Final = 0.1
"""Between checks until the first one passes: an app that starts should not wait for a whole interval."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is concluded so far. ``against`` counts the results in a row that contradict ``healthy``.

    ``reason`` is why the newest failed check failed.
    """

    healthy: bool = False
    against: int = 0
    reason: str = "the app was not checked yet"
    decided: bool = False


def fold_check(verdict: Verdict, failure: str, check: HealthCheck) -> Verdict:
    """The verdict after one more result; ``failure`` is empty if the check passed.

    The very first result decides alone; afterwards only as many in a row as the thresholds ask for.
    """
    passed = not failure
    reason = failure or verdict.reason
    if passed == verdict.healthy:
        return Verdict(verdict.healthy, 0, "" if passed else reason, decided=True)
    against = verdict.against + 1
    needed = check.healthy_threshold if passed else check.unhealthy_threshold
    if not verdict.decided or against >= needed:
        return Verdict(passed, 0, "" if passed else reason, decided=True)
    return Verdict(verdict.healthy, against, reason, decided=True)


def target_of(settings: AgentSettings) -> Listen:
    """Where the app is asked: the check's own address and port, otherwise the first mapping's."""
    check = settings.health
    first = settings.services[0] if settings.services else None
    address = check.address or (first.app_address if first else "127.0.0.1")
    return Listen(address, check.port or (first.app_port if first else 0))


async def watch_app(settings: AgentSettings, session: aiohttp.ClientSession, health: Cell[Health]) -> None:
    """Check until cancelled, and put every change into ``health``."""
    check, target, verdict = settings.health, target_of(settings), Verdict()
    starting = True
    while True:
        verdict = fold_check(verdict, await ask(check, target, session), check)
        concluded = Health(healthy=verdict.healthy, reason="" if verdict.healthy else verdict.reason)
        if concluded != health.value:
            log.info("app health", healthy=concluded.healthy, reason=concluded.reason)
            health.put(concluded)
        if check.kind is CheckKind.NONE:
            return
        starting = starting and not verdict.healthy
        await asyncio.sleep(min(STARTING_SECONDS, check.interval_seconds) if starting else check.interval_seconds)


async def ask(check: HealthCheck, target: Listen, session: aiohttp.ClientSession) -> str:
    """One check: why it failed, or nothing. Redirects count as an answer and are not followed."""
    try:
        async with asyncio.timeout(check.timeout_seconds):
            match check.kind:
                case CheckKind.NONE:
                    return ""
                case CheckKind.TCP:
                    _, writer = await asyncio.open_connection(target.address, target.port)
                    writer.close()
                    return ""
                case CheckKind.HTTP:
                    async with session.get(f"http://{target}{check.path}", allow_redirects=False) as response:
                        good = 200 <= response.status < 400
                        return "" if good else f"the app answered {response.status} to GET {check.path}"
                case _:
                    assert_never(check.kind)
    except TimeoutError:
        return f"the app at {target} did not answer within {check.timeout_seconds:g} s"
    except (OSError, aiohttp.ClientError) as error:
        return f"the app at {target} is not reachable: {error}"


def traffic_health(app: Health, envoy: EnvoyState) -> Health:
    """Whether callers may be sent here: the app is healthy and its Envoy would carry the requests to it."""
    if not app.healthy:
        return app
    if not envoy.ready:
        return Health(healthy=False, reason=f"envoy is not ready: {envoy.reason}")
    return Health(healthy=True)

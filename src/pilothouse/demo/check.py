"""Does the demo's mesh do what the talk shows? Plays each row on a running mesh, and leaves the mesh as it was.

``pilothouse up --check`` calls ``run_checks``. A row's rule is written into the configuration folder like any user's,
is played once the Envoys concerned have it, and is withdrawn again whatever happened. ``check_rows`` says what is
asked and what must be seen; this module only puts rules, waits, and turns failures into failed rows.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import aiohttp

from pilothouse.demo.check_envoy import EnvoyWitness, until
from pilothouse.demo.check_rows import PATIENCE, ROWS, Patience, Row, Stage, Verdict
from pilothouse.demo.check_table import CheckRow
from pilothouse.demo.talk import TalkRule
from pilothouse.kit.errors import PilothouseError, SettingsError

ROW_NAMES: Final = tuple(row.name for row in ROWS)


class RuleNotTaken(PilothouseError):
    """A rule did not reach the Envoys concerned, or did not leave them, in time."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where one Envoy is found: its admin interface as ``HOST:PORT``, and the access log that its agent keeps."""

    admin: str
    access_log: Path


@dataclass(frozen=True, slots=True)
class Ground:
    """What a check needs to know of a running mesh. ``reviews`` is the Envoy beside v2.

    ``converged`` returns once every proxy has what the control plane last made, and raises PilothouseError if that
    takes too long.
    """

    domain: str
    gateway_url: str
    config_folder: Path
    gateway: Place
    productpage: Place
    reviews: Place
    converged: Callable[[], Awaitable[None]]
    patience: Patience = PATIENCE


class RuleInPlay:
    """One rule file: written, and taken back, each time until the Envoys concerned say so themselves."""

    def __init__(self, rule: TalkRule, ground: Ground, concerned: tuple[EnvoyWitness, ...]) -> None:
        self._rule = rule
        self._path = ground.config_folder / rule.file
        self._converged = ground.converged
        self._concerned = concerned
        self._patience = ground.patience.taken
        self._written = False

    async def put(self) -> None:
        """Write the file in one step, and wait until it works. Raises RuleNotTaken and OSError."""
        if await asyncio.to_thread(self._path.exists):
            raise RuleNotTaken(f"{self._path} is there already and was left alone; move it away to play this row")
        self._written = True
        await asyncio.to_thread(_write, self._path, self._rule.text)
        await self._settled(lambda effects: effects.issuperset(self._rule.effects), "did not reach")

    async def withdraw(self) -> None:
        """Delete the file and wait until it has no effect; nothing to do if it was not put. Raises as ``put``."""
        if not self._written:
            return
        await asyncio.to_thread(self._path.unlink, missing_ok=True)
        await self._settled(lambda effects: effects.isdisjoint(self._rule.effects), "did not leave")
        self._written = False

    async def _settled(self, wanted: Callable[[frozenset[str]], bool], complaint: str) -> None:
        async def everywhere() -> bool | None:
            return all([wanted(await witness.effects()) for witness in self._concerned]) or None

        if not await until(everywhere, self._patience):
            raise RuleNotTaken(f"{self._rule.file} {complaint} the Envoys concerned within {self._patience:g} s")
        await self._converged()


async def play_rows(ground: Ground, *, broken: str | None, report: Callable[[CheckRow], None]) -> bool:
    """Play all rows on ``ground``, the row called ``broken`` without its rule; True if every row passed.

    ``report`` is called after each row. Raises SettingsError if no row is called ``broken``.
    """
    if broken is not None and broken not in ROW_NAMES:
        raise SettingsError(f"no row is called {broken!r}; the rows are {', '.join(ROW_NAMES)}")
    passed = True
    async with aiohttp.ClientSession(trust_env=False, cookie_jar=aiohttp.DummyCookieJar()) as session:
        for row in ROWS:
            result = await play_row(row, ground, session, without_rule=row.name == broken)
            report(result)
            passed = passed and result.passed
    return passed


async def play_row(row: Row, ground: Ground, session: aiohttp.ClientSession, *, without_rule: bool) -> CheckRow:
    """One row from its rule to the base state again. What goes wrong on the way is a failed row, not an exception."""
    clock = asyncio.get_running_loop().time
    started = clock()
    places = {"gateway": ground.gateway, "productpage": ground.productpage, "reviews": ground.reviews}
    witnesses = {name: EnvoyWitness(session, place.admin, place.access_log) for name, place in places.items()}
    rule = RuleInPlay(row.rule(ground.domain), ground, tuple(witnesses[name] for name in row.concerned))
    stage = Stage(
        ground.domain, ground.gateway_url, session, withdraw=rule.withdraw, patience=ground.patience, **witnesses
    )
    try:
        try:
            if not without_rule:
                await rule.put()
            verdict = await row.play(stage)
        finally:
            await rule.withdraw()
    except (PilothouseError, OSError) as error:
        verdict = Verdict(seen=str(error), evidence="", passed=False)
    return CheckRow(
        name=row.name,
        asked=row.asked,
        expected=row.expected,
        seen=verdict.seen,
        evidence=verdict.evidence,
        passed=verdict.passed,
        seconds=clock() - started,
    )


def _write(path: Path, text: str) -> None:
    """Readers see the old file or the whole new one, never a part."""
    unfinished = path.with_name(f".{path.name}.tmp")
    unfinished.write_text(text)
    unfinished.replace(path)

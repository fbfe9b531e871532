"""Who may leave a service by mere silence: the rate rule that keeps a partition from emptying a mesh.

Pure: times and counts in, a decision out. The embedded registry asks it about the workloads whose suspicion ran out.
Deregistrations, failed health checks and takeovers are no silence and never come here.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from pilothouse.kit.origin import RegistryOrigin
from pilothouse.kit.problem import Problem
from pilothouse.kit.registry_codes import SILENCE_HELD
from pilothouse.model.service import ServiceKey


@dataclass(frozen=True, slots=True)
class SilenceRule:
    """At most ``share`` (0 to 1) of a service's members, and always at least one, in any ``window`` of seconds."""

    share: float = 0.15
    window: float = 60.0


@dataclass(frozen=True, slots=True)
class Removal:
    """One member that left by silence ``at`` a monotonic second, when its service had ``members``, itself included."""

    at: float
    members: int


History: TypeAlias = tuple[Removal, ...]
"""The removals of one service by silence, oldest first."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A workload that would leave. ``services`` are those that would lose an endpoint with it: none if it gets no
    traffic, and then no rule holds it."""

    workload_id: str
    services: frozenset[ServiceKey]


@dataclass(frozen=True, slots=True)
class Verdict:
    """Who leaves, in the order of asking, and the histories of the services that this touched."""

    leaving: tuple[str, ...]
    histories: Mapping[ServiceKey, History]


def recent(now: float, history: History, rule: SilenceRule) -> History:
    """The part of ``history`` that still counts: a removal is forgotten when the window has passed since."""
    return tuple(removal for removal in history if now - removal.at < rule.window)


def allowance(now: float, members: int, history: History, rule: SilenceRule) -> int:
    """How many of ``members`` may leave by silence now.

    The share is taken of the largest size that the service is known to have had within the window: otherwise each
    removal would shrink the share, and each member that joins meanwhile would raise it twice.
    """
    counting = recent(now, history, rule)
    largest = max((members, *(removal.members for removal in counting)))
    return max(0, max(1, int(rule.share * largest + 1e-9)) - len(counting))


def decide(
    now: float,
    candidates: Iterable[Candidate],
    members: Mapping[ServiceKey, int],
    histories: Mapping[ServiceKey, History],
    rule: SilenceRule,
) -> Verdict:
    """Who of ``candidates`` (most urgent first) may leave. One that serves several services needs room in each.

    ``members`` counts each service's workloads with endpoints, the candidates among them.
    """
    left: dict[ServiceKey, int] = dict(members)
    after: dict[ServiceKey, History] = {}
    leaving: list[str] = []
    for candidate in candidates:
        known = {key: after.get(key, histories.get(key, ())) for key in candidate.services}
        if any(allowance(now, left[key], history, rule) < 1 for key, history in known.items()):
            continue
        leaving.append(candidate.workload_id)
        for key, history in known.items():
            after[key] = (*recent(now, history, rule), Removal(now, left[key]))
            left[key] -= 1
    return Verdict(tuple(leaving), after)


def held_problem(registry: str, key: ServiceKey, count: int, rule: SilenceRule) -> Problem:
    """``count`` suspects of a service stay although their time is up."""
    return Problem(
        code=SILENCE_HELD,
        path="",
        message=f"{count} suspect endpoints stay: at most {100 * rule.share:.0f} % of a service (at least one) leave "
        "per minute.",
        origin=RegistryOrigin(registry, key.host),
    )

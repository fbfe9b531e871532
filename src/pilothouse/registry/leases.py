"""One workload's place in the embedded registry, and what is believed of it when its agent is not heard.

A lease is trusted or suspect. A suspect keeps its endpoints until its time is up and the rate rule lets it go.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from pilothouse.model.proxy import Workload


@dataclass(frozen=True, slots=True)
class Registration:
    """The handle of one accepted registration. ``workload_id`` is empty for a gateway."""

    serial: int
    node_id: str
    workload_id: str = ""


class Loss(StrEnum):
    """Why an agent is not believed to be there, in the words of ``status``."""

    STREAM_BROKE = "the stream of its agent broke"
    SILENT = "its agent is silent"
    RESTARTED = "its agent has not returned since the control plane started"


@dataclass(frozen=True, slots=True)
class Suspicion:
    """``since`` and ``until`` are monotonic seconds: when it arose, and when the workload may leave for it."""

    since: float
    until: float
    loss: Loss


@dataclass(slots=True)
class Lease:
    """``deadline`` is the monotonic second until which the agent must be heard; ``order`` the age in the registry."""

    registration: Registration
    workload: Workload
    pid: int
    serving: bool
    order: int
    deadline: float
    suspicion: Suspicion | None = None


@dataclass(frozen=True, slots=True)
class Suspect:
    """A suspect workload as people are told of it. ``since`` and ``until`` are monotonic seconds.

    ``held`` tells that its time is up, and that it stays because too many of its service would leave at once.
    """

    workload: Workload
    since: float
    until: float
    reason: str
    serving: bool
    held: bool = False


def suspects_among(leases: Iterable[Lease], now: float) -> tuple[Suspect, ...]:
    """Those of ``leases`` that are suspect ``now``, longest first."""
    found = [
        Suspect(lease.workload, doubt.since, doubt.until, doubt.loss.value, lease.serving, doubt.until <= now)
        for lease in leases
        if (doubt := lease.suspicion) is not None
    ]
    return tuple(sorted(found, key=lambda suspect: (suspect.since, suspect.workload.id)))

"""What agents last said about their Envoys, by node id: the other half of what ``status`` shows.

Fed by ``server.registration``. Agents that left on purpose are forgotten; those that were lost are remembered for a
while, because that is when somebody asks.
"""

from dataclasses import dataclass, replace
from typing import Final

from pilothouse.model.registration import EnvoyState

MOST_LOST: Final = 1000


@dataclass(frozen=True, slots=True)
class AgentReport:
    """The newest word of one agent. ``envoy`` is None until it said something; ``heard_at`` is wall-clock seconds."""

    node_id: str
    pid: int
    workload_id: str
    serial: int
    connected: bool = True
    heard_at: float = 0.0
    envoy: EnvoyState | None = None


class AgentBoard:
    """Reports by node id. The newest registration of a node counts; an older stream's words change nothing."""

    def __init__(self) -> None:
        self._reports: dict[str, AgentReport] = {}

    def __len__(self) -> int:
        return sum(report.connected for report in self._reports.values())

    def all(self) -> tuple[AgentReport, ...]:
        """Every agent that is known, connected or lost."""
        return tuple(self._reports.values())

    def find(self, node_id: str) -> AgentReport | None:
        """The agent that stands beside this node."""
        return self._reports.get(node_id)

    def connect(self, report: AgentReport) -> None:
        """A new registration. What an earlier one of the node said about Envoy is kept until there is news."""
        before = self._reports.pop(report.node_id, None)
        self._reports[report.node_id] = replace(report, envoy=before.envoy if before else None)

    def heard(self, node_id: str, serial: int, at: float, envoy: EnvoyState | None = None) -> None:
        """The agent said something, perhaps about its Envoy."""
        report = self._reports.get(node_id)
        if report is not None and report.serial == serial:
            self._reports[node_id] = replace(report, heard_at=at, envoy=envoy or report.envoy)

    def lost(self, node_id: str, serial: int) -> None:
        """The agent's stream broke."""
        report = self._reports.get(node_id)
        if report is not None and report.serial == serial:
            self._reports[node_id] = replace(report, connected=False)
            missing = [known.node_id for known in self._reports.values() if not known.connected]
            for forgotten in missing[: max(0, len(missing) - MOST_LOST)]:
                del self._reports[forgotten]

    def left(self, node_id: str, serial: int) -> None:
        """The agent said good-bye."""
        report = self._reports.get(node_id)
        if report is not None and report.serial == serial:
            del self._reports[node_id]

"""The agent's own metrics, and how several texts in Prometheus' format become one.

Each agent has its own collection, filled at the moment it is asked for from the values that the agent keeps anyway.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest

from pilothouse.agent.envoy import Process
from pilothouse.agent.registration import RegistrationStatus
from pilothouse.agent.stream import Standing
from pilothouse.agent.tally import RelayState, Source
from pilothouse.model.registration import EnvoyState, Health

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
ACCEPT: Final = "text/plain;version=0.0.4"
"""Asked of the app: the older format, because OpenMetrics texts cannot be concatenated."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything that the agent knows at one moment. ``leaving`` is why it leaves, empty while it does not.

    ``relay`` is None where Envoy is connected to the control plane directly.
    """

    process: Process
    envoy: EnvoyState
    app: Health
    registration: RegistrationStatus
    leaving: str = ""
    relay: RelayState | None = None


class AgentMetrics:
    """``pilothouse_agent_*``."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._gauges = {
            name: Gauge(f"pilothouse_agent_{name}", text, registry=self._registry)
            for name, text in (
                ("envoy_live", "1 while Envoy runs and answers."),
                ("envoy_ready", "1 while Envoy has its configuration and its listeners."),
                ("envoy_starts", "Starts of Envoy by its holder."),
                ("envoy_resident_bytes", "Envoy's resident memory."),
                ("envoy_proportional_bytes", "Envoy's memory with shared pages divided among their users."),
                ("resident_bytes", "The agent's own resident memory."),
                ("app_healthy", "1 while the app passes its health check."),
                ("registered", "1 while the control plane has accepted the registration."),
                ("registrations", "Registrations that were accepted."),
                ("lost_log_bytes", "Bytes of Envoy's logs that could not be written."),
                ("configuration_stored", "1 while Envoy serves a configuration that came from the agent's store."),
                ("store_failed_writes", "Times that the last good configuration could not be written to disk."),
                ("xds_streams_lost", "xDS streams that the control plane ended or that broke."),
            )
        }
        self._missing = Counter(
            "pilothouse_agent_metrics_part_missing",
            "Parts that were left out of the merged metrics because they gave no answer.",
            ["part"],
            registry=self._registry,
        )

    def count_missing(self, part: str) -> None:
        """One of the merged texts could not be had."""
        self._missing.labels(part).inc()

    def render(self, now: Snapshot) -> bytes:
        """The agent's own metrics as text."""
        values: dict[str, float] = {
            "envoy_live": now.envoy.live,
            "envoy_ready": now.envoy.ready,
            "envoy_starts": now.process.starts,
            "envoy_resident_bytes": now.envoy.rss_kib * 1024,
            "envoy_proportional_bytes": now.envoy.pss_kib * 1024,
            "resident_bytes": now.envoy.agent_rss_kib * 1024,
            "app_healthy": now.app.healthy,
            "registered": now.registration.standing is Standing.REGISTERED,
            "registrations": now.registration.accepted,
            "lost_log_bytes": now.process.lost_log_bytes,
        }
        if now.relay is not None:
            values["configuration_stored"] = now.relay.source is Source.STORED
            values["store_failed_writes"] = now.relay.store.failed_writes
            values["xds_streams_lost"] = now.relay.lost
        for name, value in values.items():
            self._gauges[name].set(value)
        return generate_latest(self._registry)


def join_texts(texts: Iterable[bytes]) -> bytes:
    """One text from several, without the end marks of OpenMetrics. A family that two parts export appears twice,
    as in Istio's agent.
    """
    kept = (text.rstrip().removesuffix(b"# EOF").rstrip() for text in texts)
    return b"".join(text + b"\n" for text in kept if text)

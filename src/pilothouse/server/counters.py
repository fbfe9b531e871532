"""What the control plane counts: responses, bytes, refusals, wake-ups, and two distributions of time.

Exact counts are what tests and the benchmark compare; ``server.metrics`` shows them to Prometheus. Values only.
"""

from collections import Counter
from typing import Final

from prometheus_client import CollectorRegistry, Histogram

SECONDS: Final = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 3.0, 5.0, 10.0, 30.0)
"""Bounds of the time distributions: fine below a second, where we live; istiod's from there."""


class Counters:
    """One control plane's counts since its start. Counters keyed by type use the short names (CDS, EDS, …)."""

    def __init__(self) -> None:
        self.histograms = CollectorRegistry()
        self.debounce = self._histogram("pilot_debounce_time", "Seconds from the first change of a batch to its merge.")
        self.convergence = self._histogram(
            "pilot_proxy_convergence_time",
            "Seconds from a change to the last byte that a proxy was sent because of it.",
        )
        self.responses: Counter[str] = Counter()
        self.sent_bytes: Counter[str] = Counter()
        self.sent_resources: Counter[str] = Counter()
        self.refusals: Counter[str] = Counter()
        self.write_timeouts = 0
        self.internal_errors = 0
        self.wake_ups = 0
        self.streams_opened = 0

    def _histogram(self, name: str, documentation: str) -> Histogram:
        return Histogram(name, documentation, buckets=SECONDS, registry=self.histograms)

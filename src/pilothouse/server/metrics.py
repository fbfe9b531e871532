"""The counts as Prometheus text, under istiod's names where istiod has one.

Read at the moment of a scrape from the parts that hold state. Names are exact (no ``_total`` is appended), because
existing dashboards ask for them.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from prometheus_client import generate_latest

from pilothouse import __version__
from pilothouse.server.views import LiveState

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Family:
    """One metric: its samples by the values of its one label, or a single sample under the empty value."""

    name: str
    kind: str
    help: str
    samples: Mapping[str, float]
    label: str = ""

    def lines(self) -> Iterator[str]:
        """The family in Prometheus' text format."""
        yield f"# HELP {self.name} {self.help}"
        yield f"# TYPE {self.name} {self.kind}"
        for value, number in sorted(self.samples.items()):
            labels = f'{{{self.label}="{_escape(value)}"}}' if self.label else ""
            yield f"{self.name}{labels} {number:.10g}"


@dataclass(frozen=True, slots=True)
class _Families:
    found: list[Family] = field(default_factory=list)

    def counter(self, name: str, text: str, samples: Mapping[str, float] | float, label: str = "") -> None:
        self.found.append(Family(name, "counter", text, _samples(samples), label))

    def gauge(self, name: str, text: str, samples: Mapping[str, float] | float, label: str = "") -> None:
        self.found.append(Family(name, "gauge", text, _samples(samples), label))


def render_metrics(live: LiveState, compiled: Mapping[str, int]) -> bytes:
    """The whole page. ``compiled`` counts compilations by type."""
    lines = [line for family in (*_flow(live, compiled), *_state(live)) for line in family.lines()]
    return "\n".join(lines).encode() + b"\n" + generate_latest(live.counters.histograms)


def _flow(live: LiveState, compiled: Mapping[str, int]) -> list[Family]:
    """What happened since the start."""
    counters, families = live.counters, _Families()
    families.counter("pilot_xds_pushes", "Responses sent, by type.", _lower(counters.responses), "type")
    families.counter("pilothouse_xds_sent_bytes", "Bytes of responses, by type.", _lower(counters.sent_bytes), "type")
    families.counter(
        "pilothouse_xds_sent_resources", "Resources in responses, by type.", _lower(counters.sent_resources), "type"
    )
    families.counter("pilothouse_compiled", "Compilations, by type.", _lower(compiled), "type")
    families.counter("pilothouse_xds_wake_ups", "Times that a stream's writer had something to do.", counters.wake_ups)
    families.counter("pilot_total_xds_rejects", "Responses that proxies refused.", counters.refusals.total())
    for kind in ("cds", "eds", "lds", "rds"):
        families.counter(
            f"pilot_xds_{kind}_reject", f"Refused {kind.upper()} responses.", counters.refusals[kind.upper()]
        )
    families.counter(
        "pilot_xds_write_timeout", "Proxies disconnected because they did not read.", counters.write_timeouts
    )
    families.counter("pilot_total_xds_internal_errors", "Failures that must not happen.", counters.internal_errors)
    return families.found


def _state(live: LiveState) -> list[Family]:
    """What is there now."""
    world, families = live.pipeline.world, _Families()
    versions = Counter(stream.proxy.envoy_version for stream in live.ads.streams)
    severities = Counter(problem.severity.value for problem in live.pipeline.problems)
    services = sum(len(registered.services) for registered in world.registries.values())
    kinds = Counter(config.key.kind for delta in world.configs.values() for config in delta.objects)
    families.gauge("pilot_xds", "Proxies connected, by Envoy version.", versions or {"": 0}, "version")
    families.gauge("pilot_services", "Services known to registries.", services)
    families.gauge("pilot_virt_services", "VirtualServices served.", kinds["VirtualService"])
    families.gauge("pilot_info", "This control plane.", {__version__: 1}, "version")
    families.gauge("istiod_uptime_seconds", "Seconds since the start.", live.clock.wall() - live.started_at)
    families.gauge("pilothouse_ready", "Whether proxies are answered.", int(live.pipeline.ready))
    families.gauge("pilothouse_workloads", "Workloads registered by agents.", len(world.workloads))
    families.gauge(
        "pilothouse_suspects", "Workloads whose agents are lost, and which are still there.", len(live.suspects())
    )
    families.gauge("pilothouse_agents", "Agents connected.", len(live.board))
    families.gauge("pilothouse_objects", "Configuration objects served, by kind.", kinds, "kind")
    families.gauge("pilothouse_problems", "Problems found, by severity.", severities, "severity")
    return families.found


def _samples(samples: Mapping[str, float] | float) -> Mapping[str, float]:
    return samples if isinstance(samples, Mapping) else {"": float(samples)}


def _lower(counts: Mapping[str, int]) -> dict[str, float]:
    return {kind.lower(): float(count) for kind, count in counts.items()}


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")

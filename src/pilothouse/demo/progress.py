"""How far is a mesh that comes up? Folds what the control plane says into one state per part.

Pure. ``up`` asks, ``display`` shows. A part is ready when it does its work: a sidecar that serves the newest
configuration, an app that callers are sent to.
"""

from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from pilothouse.demo.plan import GATEWAY_NAME, MeshPlan
from pilothouse.server.readmodel import ProxyStatus, Status

SETTLED: Final = frozenset({"SYNCED", "NOT SENT"})
"""States of a type that leave nothing to wait for. NOT SENT: the proxy did not ask for the type."""


class State(StrEnum):
    """How far one part is."""

    STARTING = "starting"
    REGISTERED = "registered"
    READY = "ready"


@dataclass(frozen=True, slots=True)
class Part:
    """One part of the mesh; its name is empty where it is all that its line shows. ``reason`` says what it waits for,
    if that is known."""

    name: str
    state: State
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the display: a workload with its app and its proxy, or a part that stands alone."""

    name: str
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Progress:
    """The whole mesh, in the order in which it is shown."""

    lines: tuple[Line, ...]

    @property
    def parts(self) -> tuple[tuple[str, Part], ...]:
        """Every part with the name of its line."""
        return tuple((line.name, part) for line in self.lines for part in line.parts)

    @property
    def total(self) -> int:
        """Steps in all: each part registers and becomes ready."""
        return 2 * len(self.parts)

    @property
    def done(self) -> int:
        """Steps that were made."""
        return sum({State.STARTING: 0, State.REGISTERED: 1, State.READY: 2}[part.state] for _, part in self.parts)

    @property
    def is_ready(self) -> bool:
        """Whether every part is."""
        return self.done == self.total

    @property
    def missing(self) -> tuple[str, ...]:
        """What is not ready, with the reason where one is known."""
        unready = [(name, part) for name, part in self.parts if part.state is not State.READY]
        return tuple(
            f"{' '.join((name, part.name)).strip()}: {part.state}" + (f" ({part.reason})" if part.reason else "")
            for name, part in unready
        )


NOTHING: Final[frozenset[str]] = frozenset()


def fold_progress(plan: MeshPlan, status: Status | None, serving: AbstractSet[str] = NOTHING) -> Progress:
    """How far the mesh of ``plan`` is. ``status`` None: the control plane does not answer yet.

    ``serving`` names the workloads that get traffic, as ``NAMESPACE/NAME``.
    """
    proxies = {proxy.name: proxy for proxy in status.proxies} if status is not None else {}
    lines = [Line("control plane", (control_plane(status),))]
    for workload in plan.workloads:
        app = app_part(proxies.get(workload.name), serving)
        lines.append(Line(workload.name, (app, proxy_part("sidecar", proxies.get(workload.name)))))
    lines.append(Line(GATEWAY_NAME, (proxy_part("envoy", proxies.get(GATEWAY_NAME)),)))
    return Progress(tuple(lines))


def is_converged(status: Status, names: AbstractSet[str]) -> bool:
    """Whether the proxies called ``names`` are connected and have acknowledged all that the control plane made."""
    settled = {proxy.name for proxy in status.proxies if proxy.connected_since is not None and not waits_for(proxy)}
    return names <= settled


def waits_for(proxy: ProxyStatus) -> str:
    """The first type that is not settled, with its reason; empty if all are."""
    for kind in proxy.types:
        if kind.state not in SETTLED:
            return f"{kind.type} {kind.state}" + (f": {kind.reason}" if kind.reason else "")
    return ""


def control_plane(status: Status | None) -> Part:
    """The control plane's part."""
    if status is None:
        return Part("", State.STARTING)
    if status.ready:
        return Part("", State.READY)
    return Part("", State.REGISTERED, f"waits for {', '.join(status.waits_for)}" if status.waits_for else "")


def proxy_part(name: str, proxy: ProxyStatus | None) -> Part:
    """The part of an agent with its Envoy."""
    if proxy is None or proxy.agent is None or not proxy.agent.connected:
        return Part(name, State.STARTING)
    envoy = proxy.agent.envoy
    if envoy is None or not envoy.ready:
        return Part(name, State.REGISTERED, envoy.reason if envoy is not None else "")
    if proxy.connected_since is None or (waiting := waits_for(proxy)):
        return Part(name, State.REGISTERED, waiting if proxy.connected_since is not None else "envoy is not connected")
    return Part(name, State.READY)


def app_part(proxy: ProxyStatus | None, serving: AbstractSet[str]) -> Part:
    """The part of an app: known through its agent, ready when it gets traffic."""
    if proxy is None or proxy.agent is None:
        return Part("app", State.STARTING)
    return Part("app", State.READY if proxy.agent.workload_id in serving else State.REGISTERED)

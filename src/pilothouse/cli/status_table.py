"""The status of a control plane as rows and sentences. Pure: a document in, texts out, the same for every terminal.

The words of the states are ``xds.protocol.SyncState``'s. Times are told as ages, counted from the document's own
clock, which may differ from this machine's.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Final

from pilothouse.model.registration import EnvoyState
from pilothouse.server.readmodel import (
    AgentState,
    ProblemStatus,
    ProxyStatus,
    RefusalStatus,
    Status,
    SuspectState,
    TypeState,
)

TYPES: Final = ("CDS", "EDS", "LDS", "RDS", "VHDS")
SYNCED, NOT_SENT = "SYNCED", "NOT SENT"
NARROW: Final[tuple[str, ...]] = ("PROXY", "NAMESPACE", *TYPES, "ENVOY", "SERVING SINCE")
WIDE: Final[tuple[str, ...]] = (
    *("VERSION", "EPOCH", "CONNECTED", "RESTARTS"),
    *("RSS", "PSS", "PRIVATE", "AGENT RSS", "ADMIN", "TCP"),
)
MOST_NAMES: Final = 5
MOST_SUSPECTS: Final = 10
NOTHING: Final = "-"


@dataclass(frozen=True, slots=True)
class Table:
    """Column heads and rows of equal length."""

    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def tabulate(status: Status, *, wide: bool = False, zone: tzinfo | None = None) -> Table:
    """A row per proxy. ``zone`` is where clocks are read, None for this machine's."""
    rows = tuple(narrow_row(proxy, status.now, zone) for proxy in status.proxies)
    if not wide:
        return Table(NARROW, rows)
    more = (wide_cells(proxy, status.now) for proxy in status.proxies)
    return Table(NARROW + WIDE, tuple(row + cells for row, cells in zip(rows, more, strict=True)))


def narrow_row(proxy: ProxyStatus, now: float, zone: tzinfo | None) -> tuple[str, ...]:
    """Name, namespace, the five types, Envoy, and since when it serves what it serves."""
    types = {one.type: one for one in proxy.types}
    cells = (type_cell(types.get(name), now) for name in TYPES)
    return (proxy.name, proxy.namespace, *cells, envoy_word(proxy.agent), since_cell(proxy.agent, now, zone))


def type_cell(state: TypeState | None, now: float) -> str:
    """``SYNCED 12s``. A type that was not asked for has no age."""
    if state is None:
        return NOTHING
    return state.state if state.state == NOT_SENT else f"{state.state} {age(now - state.since)}"


def envoy_word(agent: AgentState | None) -> str:
    """What Envoy is, in a word or two; the reason stands below the table."""
    if agent is None:
        return "no agent"
    if not agent.connected:
        return "agent lost"
    if agent.envoy is None:
        return "unknown"
    if agent.envoy.ready:
        return "ready"
    return "live, not ready" if agent.envoy.live else "not live"


def since_cell(agent: AgentState | None, now: float, zone: tzinfo | None) -> str:
    """``14:03:22 (5m)``."""
    since = agent.envoy.serving_since if agent and agent.envoy else 0.0
    if not since:
        return NOTHING
    clock = datetime.fromtimestamp(since, UTC).astimezone(zone)
    text = f"{clock:%H:%M:%S}" if now - since < 43_200 else f"{clock:%Y-%m-%d %H:%M}"
    return f"{text} ({age(now - since)})"


def wide_cells(proxy: ProxyStatus, now: float) -> tuple[str, ...]:
    """Versions, connections, restarts, memory, and listeners for TCP services."""
    envoy = proxy.agent.envoy if proxy.agent and proxy.agent.envoy else EnvoyState(live=False, ready=False)
    connected = NOTHING if proxy.connected_since is None else age(now - proxy.connected_since)
    if proxy.streams > 1:
        connected += f" ({proxy.streams} streams)"
    memory = (mebibytes(kib) for kib in (envoy.rss_kib, envoy.pss_kib, envoy.private_kib, envoy.agent_rss_kib))
    version = envoy.version or proxy.version or NOTHING
    tcp = ", ".join(proxy.tcp) or NOTHING
    epoch = str(envoy.epoch) if envoy.live else NOTHING
    return (version, epoch, connected, str(envoy.restarts), *memory, envoy.admin_address or NOTHING, tcp)


def headline(status: Status, address: str) -> str:
    """One sentence about the control plane itself."""
    ready = "ready" if status.ready else f"not ready: it waits for {', '.join(status.waits_for) or 'its sources'}"
    uptime = age(status.now - status.started_at)
    holds = f"{status.services} services, {status.endpoints} endpoints, {status.workloads} workloads"
    return (
        f"Control plane {address}, version {status.version}, running for {uptime}, {ready}; "
        f"{holds} ({len(status.suspects)} suspect), {status.objects} configuration objects"
    )


def explain(status: Status) -> Iterator[str]:
    """A line for everything that is not as it should be; indented lines belong to the one above."""
    if not status.ready:
        yield f"The control plane answers no proxy yet: it waits for {', '.join(status.waits_for) or 'its sources'}"
    for proxy in status.proxies:
        for state in proxy.types:
            yield from explain_type(proxy, state, status.now)
        yield from explain_envoy(proxy, status.now)


def explain_type(proxy: ProxyStatus, state: TypeState, now: float) -> Iterator[str]:
    """Why a type is not synced: the reason, what is outstanding, what was refused and where that came from."""
    if state.state == SYNCED or (state.state == NOT_SENT and not state.reason):
        return
    reason = f": {state.reason}" if state.reason and not state.refusals else ""
    yield f"{proxy.name}.{proxy.namespace} {state.type} {state.state} for {age(now - state.since)}{reason}"
    if state.outstanding:
        yield f"    outstanding: {names(state.outstanding)}"
    for refusal in state.refusals:
        yield from explain_refusal(refusal)


def explain_refusal(refusal: RefusalStatus) -> Iterator[str]:
    """Envoy's own text, and the places that made the resource."""
    yield f"    refused {refusal.name}: {refusal.reason}"
    for origin in refusal.origins:
        yield f"        made by {origin}"


def explain_envoy(proxy: ProxyStatus, now: float) -> Iterator[str]:
    """Why Envoy is not ready, or why nobody knows."""
    who, agent = f"{proxy.name}.{proxy.namespace}", proxy.agent
    if proxy.connected_since is None:
        yield f"{who} is not connected: its Envoy has no stream to this control plane"
    if agent is None:
        return
    if not agent.connected:
        yield f"{who} agent lost: the agent (process {agent.pid}) was last heard {age(now - agent.heard_at)} ago"
        return
    if agent.envoy is not None and agent.envoy.source == "stored":
        yield f"{who} serves a stored configuration, {age(now - agent.envoy.stored_at)} old"
    if agent.envoy is not None and agent.envoy.ready and agent.envoy.reason:
        yield f"{who} Envoy serves on: {agent.envoy.reason}"
    elif agent.envoy is not None and not agent.envoy.ready:
        yield f"{who} Envoy {envoy_word(agent)}: {agent.envoy.reason or 'no reason was given'}"


def suspects(status: Status) -> Iterator[str]:
    """Whose agents are lost: how many of all workloads, then a line each, as far as one wants to read them."""
    if not status.suspects:
        return
    yield f"Suspect: {len(status.suspects)} of {status.workloads} workloads; they keep their traffic for now"
    yield from (f"  {suspect_line(suspect, status.now)}" for suspect in status.suspects[:MOST_SUSPECTS])
    if len(status.suspects) > MOST_SUSPECTS:
        yield f"  and {len(status.suspects) - MOST_SUSPECTS} more"


def suspect_line(suspect: SuspectState, now: float) -> str:
    """``reviews-v1.default (reviews.service.mesh) for 12s: its agent is silent; it leaves in 18s``."""
    what = f"{suspect.workload}.{suspect.namespace} ({names(suspect.services)})"
    goes = f"it leaves in {age(suspect.until - now)} unless its agent returns"
    if suspect.held:
        goes = "it stays, because too many of its service would leave at once"
    gone = "" if suspect.serving else "; it got no traffic before"
    return f"{what} for {age(now - suspect.since)}: {suspect.reason}{gone}; {goes}"


def problem_line(problem: ProblemStatus) -> str:
    """``file:line:column: severity [code] subject: message at path. remedy``."""
    subject = f" {problem.subject}:" if problem.subject else ""
    where = f" ({problem.path})" if problem.path else ""
    return f"{problem.origin}: {problem.severity} [{problem.code}]{subject} {problem.message}{where}. {problem.remedy}"


def names(some: tuple[str, ...]) -> str:
    """The first few names, and how many more there are."""
    more = f" and {len(some) - MOST_NAMES} more" if len(some) > MOST_NAMES else ""
    return ", ".join(some[:MOST_NAMES]) + more


def age(seconds: float) -> str:
    """``3s``, ``5m``, ``2h``, ``4d``: whole units, never negative, because clocks differ."""
    whole = max(int(seconds), 0)
    for unit, length in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if whole >= length:
            return f"{whole // length}{unit}"
    return f"{whole}s"


def mebibytes(kib: int) -> str:
    """``66.4 MiB``; nothing for 0, which means unknown."""
    return f"{kib / 1024:.1f} MiB" if kib else NOTHING

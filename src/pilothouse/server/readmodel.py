"""What the control plane tells people: proxies with the state of each type, problems, services. Read, never written.

The shapes of ``/api/status``, which ``pilothouse status`` and the console print. Times are wall-clock seconds since
1970. Made from the streams, the agents' reports and the pipeline at the moment of asking; nothing here is kept.
"""

import msgspec

from pilothouse.kit.problem import Problem
from pilothouse.model.registration import EnvoyState
from pilothouse.registry.leases import Suspect
from pilothouse.xds.protocol import Refusal, TypeStatus
from pilothouse.xds.resource import SHORT_NAMES


class RefusalStatus(msgspec.Struct, frozen=True):
    """One resource that a proxy refused. ``origins`` are the places that made it, most specific first."""

    name: str
    version: str
    reason: str
    origins: tuple[str, ...] = ()


class TypeState(msgspec.Struct, frozen=True):
    """Where one type of one proxy stands.

    ``type`` is the short name (CDS); ``state`` is one of ``xds.protocol.SyncState``; ``outstanding`` names what was
    sent and not acknowledged; ``resources`` is how many the proxy should hold.
    """

    type: str
    state: str
    reason: str
    since: float
    outstanding: tuple[str, ...] = ()
    refusals: tuple[RefusalStatus, ...] = ()
    resources: int = 0


class AgentState(msgspec.Struct, frozen=True):
    """The agent beside a proxy. ``envoy`` is None until the agent said something about it."""

    pid: int
    connected: bool
    heard_at: float
    workload_id: str = ""
    envoy: EnvoyState | None = None


class ProxyStatus(msgspec.Struct, frozen=True):
    """One proxy. ``connected_since`` is None for one that only its agent reports: its Envoy has no stream.

    ``streams`` counts open streams: two while an Envoy restarts hot; the newest is shown. ``agent`` is None for a
    proxy without an agent of ours. ``tcp`` are the listeners that the agent asked for, ``HOST:PORT=IP:PORT``, with why
    where there is none.
    """

    id: str
    name: str
    namespace: str
    role: str
    address: str
    version: str
    variant: str
    connected_since: float | None
    streams: int
    types: tuple[TypeState, ...] = ()
    agent: AgentState | None = None
    tcp: tuple[str, ...] = ()


class SuspectState(msgspec.Struct, frozen=True):
    """A workload whose agent is lost, and which is still there. ``services`` are host names.

    ``serving`` tells whether it gets traffic; ``held`` that its time is up, and that it stays because too many of its
    service would leave at once; ``until`` is the wall-clock second at which it may leave.
    """

    workload: str
    namespace: str
    services: tuple[str, ...]
    since: float
    until: float
    reason: str
    serving: bool
    held: bool


class ProblemStatus(msgspec.Struct, frozen=True):
    """One Problem. ``origin`` is ``file:line:column`` or the registry's place; ``subject`` the object, if known."""

    severity: str
    code: str
    origin: str
    subject: str
    path: str
    message: str
    remedy: str


class Status(msgspec.Struct, frozen=True):
    """Everything that ``/api/status`` says. ``waits_for`` names the sources without which no proxy is answered."""

    version: str
    ready: bool
    started_at: float
    now: float
    waits_for: tuple[str, ...] = ()
    proxies: tuple[ProxyStatus, ...] = ()
    problems: tuple[ProblemStatus, ...] = ()
    services: int = 0
    endpoints: int = 0
    workloads: int = 0
    objects: int = 0
    suspects: tuple[SuspectState, ...] = ()


class HeldStatus(msgspec.Struct, frozen=True):
    """A deletion that a source holds. ``change`` is the name under which it is accepted; ``of`` objects are served.

    ``objects`` are written ``Kind namespace/name``; ``since`` is in seconds since 1970.
    """

    source: str
    change: str
    objects: tuple[str, ...]
    of: int
    since: float


class AcceptRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of ``POST /api/accept``: which source, and which of its held changes."""

    source: str
    change: str


def show_problem(problem: Problem) -> ProblemStatus:
    """A Problem with its catalogue's words filled in."""
    return ProblemStatus(
        severity=problem.severity.value,
        code=problem.code.code,
        origin=str(problem.origin),
        subject=problem.origin.subject,
        path=problem.path,
        message=problem.message,
        remedy=problem.remedy or problem.code.remedy,
    )


def show_suspect(suspect: Suspect, wall_offset: float) -> SuspectState:
    """A suspect with its times on the wall clock. ``wall_offset`` is as for ``show_type``."""
    workload = suspect.workload
    return SuspectState(
        workload=workload.id,
        namespace=workload.namespace,
        services=tuple(sorted({port.host for port in workload.ports})),
        since=suspect.since + wall_offset,
        until=suspect.until + wall_offset,
        reason=suspect.reason,
        serving=suspect.serving,
        held=suspect.held,
    )


def show_type(status: TypeStatus, wall_offset: float, connected_at: float) -> TypeState:
    """A type's state. ``wall_offset`` turns the machine's monotonic seconds into wall-clock ones.

    A type that nothing has happened to is as it is since the stream opened.
    """
    return TypeState(
        type=SHORT_NAMES.get(status.type_url, status.type_url),
        state=status.state.value,
        reason=status.reason,
        since=max(status.since + wall_offset, connected_at),
        outstanding=status.outstanding,
        refusals=tuple(_show_refusal(refusal) for refusal in status.refusals),
        resources=status.resources,
    )


def _show_refusal(refusal: Refusal) -> RefusalStatus:
    return RefusalStatus(refusal.name, refusal.version, refusal.reason, tuple(str(o) for o in refusal.origins))

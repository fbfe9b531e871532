"""The embedded registry: agents register what they run, renew it, report its health and take it out.

Fed by the agents' streams (``server.registration``), it holds leases in memory and emits minimal deltas: services with
the endpoints that may get traffic, and workloads. What an agent says takes effect at once. What an agent fails to say
makes its workload suspect, and a suspect keeps its traffic until its time is up and the rate rule (``silence``) lets
it go. Only monotonic time counts, and only time in which this process ran. It opens no file and no connection.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Final

import structlog

from pilothouse.aio.clock import Clock
from pilothouse.kit.problem import Problem
from pilothouse.model.proxy import Workload
from pilothouse.model.registration import Health, Refused, Register
from pilothouse.model.service import ServiceDelta, ServiceKey
from pilothouse.model.world import Delta, WorkloadDelta
from pilothouse.registry.admission import Admission, admit_register
from pilothouse.registry.directory import SOURCE, Entry, Instance, keys_of, list_service, problems_of
from pilothouse.registry.leases import Lease, Loss, Registration, Suspect, Suspicion, suspects_among
from pilothouse.registry.silence import Candidate, History, Removal, SilenceRule, decide, held_problem, recent
from pilothouse.registry.stored import KnownRegistration, KnownRemoval, KnownState

log = structlog.get_logger(__name__)

MOST_WORKLOADS: Final = 20_000
"""A bound against a client that registers without end; far above what one control plane is meant for."""
MOST_AT_ONCE: Final = 20
"""Arrivals between two looks that are told one by one; the rest of a crowd is told together, at the next look."""
PAUSE_SECONDS: Final = 1.0
"""Longer between two looks than this (four ticks), and this process stood still."""


@dataclass(frozen=True, slots=True)
class EmbeddedRules:
    """What is believed for how long.

    An agent that is not heard for ``lease_seconds`` is silent. A suspect may leave after ``suspect_seconds``, as
    ``silence`` allows. Proxies are answered ``settle_seconds`` after a first start, and at most ``restart_seconds``
    after one that found registrations on disk.
    """

    admission: Admission = field(default_factory=Admission)
    silence: SilenceRule = field(default_factory=SilenceRule)
    lease_seconds: float = 3.0
    suspect_seconds: float = 30.0
    settle_seconds: float = 1.0
    restart_seconds: float = 1.5


class EmbeddedRegistry:
    """Not thread-safe: it belongs to the event loop. Whatever takes traffic away is emitted before the method
    returns; so are arrivals, unless they are a crowd (``MOST_AT_ONCE``).

    ``earlier`` is what the run before knew: it is taken as registered, suspect until its agents return, and emitted
    by the constructor. Serials of registrations only grow, so a stale handle never hits a newer lease.
    """

    def __init__(
        self,
        sink: Callable[[Delta], None],
        clock: Clock,
        rules: EmbeddedRules = EmbeddedRules(),
        earlier: KnownState | None = None,
    ) -> None:
        self._sink = sink
        self._clock = clock
        self._rules = rules
        self._leases: dict[str, Lease] = {}
        self._members: dict[ServiceKey, dict[str, None]] = {}
        self._sockets: dict[tuple[str, int], str] = {}
        self._entries: dict[ServiceKey, Entry] = {}
        self._silenced: dict[ServiceKey, History] = {}
        self._pending: dict[str, Workload] = {}
        self._pending_keys: set[ServiceKey] = set()
        self._arrivals = 0
        self._held: dict[ServiceKey, int] = {}
        self._serial = 0
        self._looked_at = clock.monotonic()
        self.generation = 0
        """Grows when ``state`` does not say any more what it said before."""
        self._recall(earlier or KnownState())
        self._missing = set(self._leases)
        self._restarted = bool(self._missing)
        wait = rules.restart_seconds if self._restarted else rules.settle_seconds
        self._settles_at = clock.monotonic() + wait
        self._settled = False

    @property
    def lease_seconds(self) -> float:
        """How long an agent may be silent before its workload is suspect."""
        return self._rules.lease_seconds

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Where instances of one service contradict each other, and where too many agents are silent at once."""
        rule = self._rules.silence
        held = (held_problem(SOURCE, key, count, rule) for key, count in sorted(self._held.items()))
        return (*problems_of(self._entries.values()), *held)

    @property
    def suspects(self) -> tuple[Suspect, ...]:
        """The workloads whose agents are lost, and which are still there; longest first."""
        return suspects_among(self._leases.values(), self._clock.monotonic())

    def state(self) -> KnownState:
        """What the next run shall know if this one ends now."""
        now = self._clock.monotonic()
        leases = sorted(self._leases.values(), key=lambda lease: lease.order)
        return KnownState(
            tuple(KnownRegistration(lease.workload, lease.serving) for lease in leases),
            tuple(
                KnownRemoval(key, removal.members)
                for key, history in sorted(self._silenced.items())
                for removal in recent(now, history, self._rules.silence)
            ),
        )

    @property
    def settled(self) -> bool:
        """Whether the wait for registrations after a start is over. Once true it stays true."""
        if not self._settled:
            everybody_returned = self._restarted and not self._missing
            self._settled = everybody_returned or self._clock.monotonic() >= self._settles_at
        return self._settled

    def register(self, message: Register) -> Registration | Refused:
        """Take a workload in, or say why not.

        An id, and an address with a port, belong to one living agent at a time: a second agent is refused until the
        first one is suspect. The same agent process may replace its own stream at any time.
        """
        admitted = admit_register(message, self._rules.admission)
        if isinstance(admitted, str):
            return Refused(admitted)
        self._serial += 1
        if admitted is None:
            return Registration(self._serial, message.node_id)
        rivals = self._rivals(admitted)
        refusal = self._refusal(message, admitted, rivals)
        if refusal is not None:
            return refusal
        for rival in rivals:
            if rival.workload.id != admitted.id:
                self._remove((rival,), "another workload took its address")
        registration = Registration(self._serial, message.node_id, admitted.id)
        self._place(registration, message, admitted)
        return registration

    def health(self, registration: Registration, message: Health) -> bool:
        """The app is fit for traffic, or not any more. False if the registration does not stand."""
        lease = self._lease(registration)
        if lease is None:
            return not registration.workload_id
        self._extend(lease)
        if lease.serving != message.healthy:
            lease.serving = message.healthy
            self.generation += 1
            log.info("workload health", workload=lease.workload.id, healthy=message.healthy, reason=message.reason)
            self._tell(keys_of(lease.workload), at_once=not message.healthy)
        return True

    def renew(self, registration: Registration) -> bool:
        """The agent was heard. False if the registration does not stand (any more): the agent must register again."""
        lease = self._lease(registration)
        if lease is not None:
            self._extend(lease)
        return lease is not None or not registration.workload_id

    def deregister(self, registration: Registration) -> None:
        """The workload leaves at once. A stale handle changes nothing."""
        lease = self._lease(registration)
        if lease is not None:
            self._remove((lease,), "deregistered")

    def lost(self, registration: Registration) -> None:
        """The stream broke: the workload stays as a suspect, and another agent may take its place at once."""
        lease = self._lease(registration)
        if lease is not None:
            self._doubt(lease, Loss.STREAM_BROKE)

    def expire(self) -> None:
        """Doubt who is silent, and let go whose time is up. To be called every quarter of a second.

        If nobody called for a while, this process stood still, and what agents said meanwhile waits unread: all
        clocks start anew.
        """
        self._arrivals = 0
        self._flush()
        now = self._clock.monotonic()
        pause, self._looked_at = now - self._looked_at, now
        if pause > min(PAUSE_SECONDS, self._rules.lease_seconds / 2):
            self._start_anew(now, pause)
        for lease in self._leases.values():
            if lease.suspicion is None and lease.deadline <= now:
                self._doubt(lease, Loss.SILENT)
        self._let_go(now)

    def _recall(self, earlier: KnownState) -> None:
        """Take in what the run before knew, as far as it may be registered today."""
        now = self._clock.monotonic()
        doubt = Suspicion(now, now + self._rules.suspect_seconds, Loss.RESTARTED)
        for known in earlier.registrations:
            admitted = self._rules.admission.admit(known.workload)
            if isinstance(admitted, str) or self._rivals(admitted):
                why = admitted if isinstance(admitted, str) else "another one has its id or its address"
                log.warning("an earlier registration is not taken back", workload=known.workload.id, why=why)
                continue
            self._serial += 1
            registration = Registration(0, "", admitted.id)
            self._leases[admitted.id] = Lease(registration, admitted, 0, known.serving, self._serial, now, doubt)
            self._list(admitted)
        for removal in earlier.removals:
            before = self._silenced.get(removal.service, ())
            self._silenced[removal.service] = (*before, Removal(now, removal.members))
        if self._leases:
            self._sink(WorkloadDelta(upserts=tuple(lease.workload for lease in self._leases.values())))
            self._emit(tuple(self._members))

    def _start_anew(self, now: float, pause: float) -> None:
        log.warning("this process stood still: all leases begin anew", seconds=round(pause, 1))
        for lease in self._leases.values():
            lease.deadline = now + self._rules.lease_seconds
            if lease.suspicion is not None:
                lease.suspicion = replace(lease.suspicion, until=now + self._rules.suspect_seconds)

    def _doubt(self, lease: Lease, loss: Loss) -> None:
        """Begin to suspect; whoever is suspect already has had part of the time."""
        now = self._clock.monotonic()
        before = lease.suspicion
        since, until = (before.since, before.until) if before else (now, now + self._rules.suspect_seconds)
        lease.suspicion = Suspicion(since, until, loss)
        log.warning("workload suspect", workload=lease.workload.id, why=loss.value)

    def _let_go(self, now: float) -> None:
        """Take out the suspects whose time is up, those that wait longest first, as many as the rate rule allows."""
        due = sorted(
            (doubt.since, lease.workload.id)
            for lease in self._leases.values()
            if (doubt := lease.suspicion) is not None and doubt.until <= now
        )
        self._held = {}
        if not due:
            return
        candidates = [Candidate(i, self._serves(self._leases[i])) for _, i in due]
        touched = {key for candidate in candidates for key in candidate.services}
        members = {key: len({e.workload_id for e in self._entries[key].endpoints}) for key in touched}
        verdict = decide(now, candidates, members, self._silenced, self._rules.silence)
        known = {**self._silenced, **verdict.histories}
        self._silenced = {key: kept for key, past in known.items() if (kept := recent(now, past, self._rules.silence))}
        leaving = set(verdict.leaving)
        for candidate in candidates:
            for key in candidate.services if candidate.workload_id not in leaving else ():
                self._held[key] = self._held.get(key, 0) + 1
        self._remove([self._leases[i] for i in verdict.leaving], "its agent was lost")

    def _serves(self, lease: Lease) -> frozenset[ServiceKey]:
        """The services in which the workload has endpoints."""
        name = lease.workload.id
        if not lease.serving:
            return frozenset()
        keys = keys_of(lease.workload)
        return frozenset(key for key in keys if any(e.workload_id == name for e in self._entries[key].endpoints))

    def _lease(self, registration: Registration) -> Lease | None:
        lease = self._leases.get(registration.workload_id)
        return lease if lease is not None and lease.registration == registration else None

    def _extend(self, lease: Lease) -> None:
        lease.deadline = self._clock.monotonic() + self._rules.lease_seconds
        if lease.suspicion is not None:
            log.info("workload trusted again", workload=lease.workload.id)
            lease.suspicion = None

    def _rivals(self, workload: Workload) -> list[Lease]:
        """The leases with this id, or on one of these addresses and ports."""
        ids = {self._sockets.get((workload.address, port.inbound_port), "") for port in workload.ports}
        return [self._leases[i] for i in sorted(ids | {workload.id}) if i in self._leases]

    def _refusal(self, message: Register, workload: Workload, rivals: list[Lease]) -> Refused | None:
        for rival in rivals:
            same_agent = rival.pid == message.pid and rival.registration.node_id == message.node_id
            if rival.suspicion is None and not same_agent:
                what = f"id {workload.id}" if rival.workload.id == workload.id else f"address {workload.address}"
                return Refused(f"workload {what} is registered by the agent with pid {rival.pid}", final=False)
        if workload.id not in self._leases and len(self._leases) >= MOST_WORKLOADS:
            return Refused(f"{MOST_WORKLOADS} workloads are registered: the registry is full", final=False)
        return None

    def _place(self, registration: Registration, message: Register, workload: Workload) -> None:
        before = self._leases.get(workload.id)
        order = before.order if before else registration.serial
        lease = Lease(registration, workload, message.pid, message.ready, order, 0.0)
        self._extend(lease)
        self._leases[workload.id] = lease
        self._missing.discard(workload.id)
        if before is not None and before.workload == workload and before.serving == message.ready:
            return
        self.generation += 1
        if before is None:
            log.info("workload registered", workload=workload.id, address=workload.address, ready=message.ready)
        if before is None or before.workload != workload:
            if before is not None:
                self._unlist(before.workload)
            self._list(workload)
            self._pending[workload.id] = workload
        self._tell(keys_of(workload) | (keys_of(before.workload) if before else frozenset()), at_once=not message.ready)

    def _list(self, workload: Workload) -> None:
        for key in keys_of(workload):
            self._members.setdefault(key, {})[workload.id] = None
        for port in workload.ports:
            self._sockets[workload.address, port.inbound_port] = workload.id

    def _unlist(self, workload: Workload) -> None:
        for key in keys_of(workload):
            self._members[key].pop(workload.id, None)
        for port in workload.ports:
            self._sockets.pop((workload.address, port.inbound_port), None)

    def _remove(self, leases: Iterable[Lease], why: str) -> None:
        gone = tuple(leases)
        if not gone:
            return
        self._flush()
        touched: set[ServiceKey] = set()
        for lease in gone:
            log.info("workload left", workload=lease.workload.id, why=why)
            del self._leases[lease.workload.id]
            self._missing.discard(lease.workload.id)
            self._unlist(lease.workload)
            touched |= keys_of(lease.workload)
        self.generation += 1
        self._emit(touched)
        self._sink(WorkloadDelta(removed=tuple(sorted(lease.workload.id for lease in gone))))

    def _tell(self, touched: frozenset[ServiceKey], *, at_once: bool) -> None:
        """Emit what is new about these services, now or with the rest of a crowd."""
        self._pending_keys |= touched
        self._arrivals += 1
        if at_once or self._arrivals <= MOST_AT_ONCE:
            self._flush()

    def _flush(self) -> None:
        """Emit what waits for the rest of a crowd."""
        workloads, self._pending = tuple(self._pending.values()), {}
        keys, self._pending_keys = self._pending_keys, set()
        if workloads:
            self._sink(WorkloadDelta(upserts=workloads))
        self._emit(keys)

    def _emit(self, touched: Iterable[ServiceKey]) -> None:
        """Tell the sink what is new about these services, if anything is."""
        services, endpoints, removed = [], [], []
        for key in sorted(touched):
            before, after = self._entries.get(key), self._list_service(key)
            if after is None:
                self._members.pop(key, None)
                if self._entries.pop(key, None) is not None:
                    removed.append(key)
                continue
            self._entries[key] = after
            if before is None or before.service != after.service:
                services.append(after.service)
            if before is None or before.endpoints != after.endpoints:
                endpoints.append((key, after.endpoints))
            if after.problems and (before is None or before.problems != after.problems):
                log.warning("registrations contradict each other", service=key.host, problems=len(after.problems))
        if services or endpoints or removed:
            self._sink(ServiceDelta(SOURCE, tuple(services), tuple(endpoints), tuple(removed)))

    def _list_service(self, key: ServiceKey) -> Entry | None:
        leases = sorted((self._leases[i] for i in self._members.get(key, {})), key=lambda lease: lease.order)
        return list_service(key, [Instance(lease.workload, lease.serving) for lease in leases])

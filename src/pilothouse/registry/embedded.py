"""The embedded registry: agents register what they run, renew it, report its health and take it out.

Fed by the agents' streams (``server.registration``), it holds leases in memory and emits minimal deltas: services with
the endpoints that may get traffic, and workloads. What it emits never depends on a clock that stood still: a control
plane that was stopped for a while takes nobody out for it. It opens no connection and judges no configuration.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
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

log = structlog.get_logger(__name__)

MOST_WORKLOADS: Final = 20_000
"""A bound against a client that registers without end; far above what one control plane is meant for."""


@dataclass(frozen=True, slots=True)
class EmbeddedRules:
    """How long a registration stands, and how long a control plane that starts waits for the first ones."""

    admission: Admission = field(default_factory=Admission)
    lease_seconds: float = 3.0
    settle_seconds: float = 1.0
    restart_seconds: float = 2.5


@dataclass(frozen=True, slots=True)
class Registration:
    """The handle of one accepted registration. ``workload_id`` is empty for a gateway."""

    serial: int
    node_id: str
    workload_id: str = ""


@dataclass(slots=True)
class _Lease:
    """One workload's place in the registry. ``streaming`` tells whether the stream that holds it still lives."""

    registration: Registration
    workload: Workload
    pid: int
    serving: bool
    deadline: float
    order: int
    streaming: bool = True


class EmbeddedRegistry:
    """Not thread-safe: it belongs to the event loop. Every method that changes something emits before it returns.

    ``earlier`` names the workloads that were registered before the last stop. Serials of registrations only grow, so
    a stale handle never hits a newer lease.
    """

    def __init__(
        self,
        sink: Callable[[Delta], None],
        clock: Clock,
        rules: EmbeddedRules = EmbeddedRules(),
        earlier: Iterable[str] = (),
    ) -> None:
        self._sink = sink
        self._clock = clock
        self._rules = rules
        self._leases: dict[str, _Lease] = {}
        self._members: dict[ServiceKey, dict[str, None]] = {}
        self._sockets: dict[tuple[str, int], str] = {}
        self._entries: dict[ServiceKey, Entry] = {}
        self._serial = 0
        self._missing = set(earlier)
        self._restarted = bool(self._missing)
        wait = rules.restart_seconds if self._restarted else rules.settle_seconds
        self._settles_at = clock.monotonic() + wait
        self._settled = False
        self._looked_at = clock.monotonic()
        self.generation = 0
        """Grows when the set of registered workloads changes."""

    @property
    def lease_seconds(self) -> float:
        """How long a registration stands after its agent was last heard."""
        return self._rules.lease_seconds

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Where instances of one service contradict each other."""
        return problems_of(self._entries.values())

    @property
    def workload_ids(self) -> frozenset[str]:
        """Everybody who is registered."""
        return frozenset(self._leases)

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
        first one's stream has ended. The same agent process may replace its own stream at any time.
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
            log.info("workload health", workload=lease.workload.id, healthy=message.healthy, reason=message.reason)
            self._emit(keys_of(lease.workload))
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
        """The stream broke: the workload stays until its lease runs out, and another agent may take its place."""
        lease = self._lease(registration)
        if lease is not None:
            lease.streaming = False

    def expire(self) -> None:
        """Take out whose lease ran out. To be called several times per lease.

        If nobody called for half a lease, this process stood still, and renewals may wait unread: leases are then
        longer by that time.
        """
        now = self._clock.monotonic()
        pause, self._looked_at = now - self._looked_at, now
        if pause > self._rules.lease_seconds / 2:
            for lease in self._leases.values():
                lease.deadline += pause
        self._remove([lease for lease in self._leases.values() if lease.deadline <= now], "lease expired")

    def _lease(self, registration: Registration) -> _Lease | None:
        lease = self._leases.get(registration.workload_id)
        return lease if lease is not None and lease.registration == registration else None

    def _extend(self, lease: _Lease) -> None:
        lease.deadline = self._clock.monotonic() + self._rules.lease_seconds

    def _rivals(self, workload: Workload) -> list[_Lease]:
        """The leases with this id, or on one of these addresses and ports."""
        ids = {self._sockets.get((workload.address, port.inbound_port), "") for port in workload.ports}
        return [self._leases[i] for i in sorted(ids | {workload.id}) if i in self._leases]

    def _refusal(self, message: Register, workload: Workload, rivals: list[_Lease]) -> Refused | None:
        for rival in rivals:
            same_agent = rival.pid == message.pid and rival.registration.node_id == message.node_id
            if rival.streaming and not same_agent:
                what = f"id {workload.id}" if rival.workload.id == workload.id else f"address {workload.address}"
                return Refused(f"workload {what} is registered by the agent with pid {rival.pid}", final=False)
        if workload.id not in self._leases and len(self._leases) >= MOST_WORKLOADS:
            return Refused(f"{MOST_WORKLOADS} workloads are registered: the registry is full", final=False)
        return None

    def _place(self, registration: Registration, message: Register, workload: Workload) -> None:
        before = self._leases.get(workload.id)
        order = before.order if before else registration.serial
        lease = _Lease(registration, workload, message.pid, message.ready, 0.0, order)
        self._extend(lease)
        self._leases[workload.id] = lease
        self._missing.discard(workload.id)
        if before is None:
            self.generation += 1
            log.info("workload registered", workload=workload.id, address=workload.address, ready=message.ready)
        known = before is not None and before.workload == workload
        if before is not None and not known:
            self._unlist(before.workload)
        self._list(workload)
        if not known:
            self._sink(WorkloadDelta(upserts=(workload,)))
        self._emit(keys_of(workload) | (keys_of(before.workload) if before else frozenset()))

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

    def _remove(self, leases: Iterable[_Lease], why: str) -> None:
        gone = tuple(leases)
        if not gone:
            return
        touched: set[ServiceKey] = set()
        for lease in gone:
            log.info("workload left", workload=lease.workload.id, why=why)
            del self._leases[lease.workload.id]
            self._unlist(lease.workload)
            touched |= keys_of(lease.workload)
        self.generation += 1
        self._emit(touched)
        self._sink(WorkloadDelta(removed=tuple(sorted(lease.workload.id for lease in gone))))

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

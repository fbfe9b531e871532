"""In which order does a stream learn of a new snapshot? Make before break, in rounds. The same for both variants.

A round serves one frozen snapshot: (A) clusters that are new or changed, their endpoints right behind them;
(B) once those are acknowledged, listeners, routes and virtual hosts; (C) once those are acknowledged, the removal of
clusters and their endpoints. Every step is a comparison with the ledger and may run again at any time, so no phase
is stored: after each event the steps run in order, up to the first that waits. Endpoints never wait for a round.
Newer snapshots replace each other in one pending place. Requests and responses are the variants' business.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Generic, TypeVar

from pilothouse.xds.channel import Channel, Plan
from pilothouse.xds.ledger import Batch
from pilothouse.xds.protocol import SyncState, TypeStatus
from pilothouse.xds.resource import (
    ALL_TYPES,
    CLUSTER,
    ENDPOINT,
    EXTENSION_CONFIG,
    LISTENER,
    ROUTE,
    SECRET,
    VIRTUAL_HOST,
    Resource,
    Snapshot,
)
from pilothouse.xds.settings import StreamSettings
from pilothouse.xds.status import describe, state_of
from pilothouse.xds.subscription import Subscription, VirtualHostSubscription

R = TypeVar("R")

_AT_ONCE: Final = (ENDPOINT, SECRET)
"""Never held back: a warming cluster waits for them, and its acknowledgement waits for the cluster."""
_ROUTING: Final = (EXTENSION_CONFIG, LISTENER, ROUTE, VIRTUAL_HOST)
_ALWAYS_LISTED: Final = (CLUSTER, ENDPOINT, LISTENER, ROUTE, VIRTUAL_HOST)


class RoundStream(ABC, Generic[R]):
    """What both stream machines share: the order, the deadline, the status.

    Every public method runs to completion, takes the time as ``now`` (seconds, any monotonic origin) and returns
    the responses to write, in order. ``sent_resources`` and ``sent_responses`` count what was returned.
    """

    def __init__(self, settings: StreamSettings | None = None) -> None:
        """A stream without a snapshot. Without ``settings`` it shares nothing with other streams."""
        self.sent_resources = 0
        self.sent_responses = 0
        self._settings = settings if settings is not None else StreamSettings()
        self._target: Snapshot | None = None
        self._newest: Snapshot | None = None
        self._outbox: list[R] = []
        self._channels: Mapping[str, Channel] = _channels()
        self._nonce = 0

    @property
    def offered(self) -> Snapshot | None:
        """The newest snapshot that was offered."""
        return self._newest

    @property
    def deadline(self) -> float | None:
        """When ``expire`` must be called, in the seconds of ``now``; None while no answer is awaited."""
        oldest = [sent for c in self._channels.values() if (sent := c.ledger.oldest_awaited()) is not None]
        return min(oldest) + self._settings.ack_deadline if oldest else None

    def offer(self, snapshot: Snapshot, now: float) -> list[R]:
        """Serve this snapshot from now on: at once, or after the round that is under way."""
        if snapshot is self._newest:
            return []
        self._newest = snapshot
        return self._advance(now)

    def expire(self, now: float) -> list[R]:
        """Stop waiting for every answer whose deadline has passed: its type is STUCK, and the round goes on."""
        late = [c.ledger.mark_overdue(now, self._settings.ack_deadline) for c in self._channels.values()]
        return self._advance(now) if any(late) else []

    def status(self) -> tuple[TypeStatus, ...]:
        """One status per type: CDS, EDS, LDS, RDS, VHDS, then the reserved types that the client asked for."""
        endpoints = self._channels[ENDPOINT]
        return tuple(
            describe(channel, endpoints, self._settings.ack_deadline)
            for type_url, channel in self._channels.items()
            if type_url in _ALWAYS_LISTED or channel.subscription.asked
        )

    def acknowledged(self, snapshot: Snapshot) -> bool:
        """Whether the client has acknowledged everything of ``snapshot`` that it asked for, removals included.

        False for a snapshot that is not the newest, for a client that asked for nothing yet, and while something
        stands refused.
        """
        if snapshot is not self._newest or snapshot is not self._target:
            return False
        asked = [channel for channel in self._channels.values() if channel.subscription.asked]
        return bool(asked) and all(state_of(channel, snapshot) is SyncState.SYNCED for channel in asked)

    @property
    def unsettled(self) -> frozenset[str]:
        """Load assignments that the client may still wait for: those of clusters whose response is unanswered."""
        batches = self._channels[CLUSTER].ledger.in_flight.values()
        follows = (pair for batch in batches for resource in batch.resources for pair in resource.follows)
        return frozenset(name for type_url, name in follows if type_url == ENDPOINT)

    def distrust(self, names: Iterable[str]) -> None:
        """Send these load assignments even if the client says that it holds them.

        What an earlier stream of this client left ``unsettled``: if it broke between a changed cluster and its
        endpoints, the cluster warms, and the version that the client reports says nothing of that.
        """
        self._channels[ENDPOINT].forced.update(names)

    @abstractmethod
    def _send(self, channel: Channel, plan: Plan, now: float) -> Batch | None:
        """Put one response of this variant into the outbox: the plan's resources, removals and missing names."""

    def _advance(self, now: float) -> list[R]:
        """Run the steps of the round, and of the next one if a newer snapshot waits, up to the first that waits."""
        if self._target is None:
            self._target = self._newest
        while (target := self._target) is not None:
            self._answer_clusters(target, now)
            self._answer_at_once(target, now)
            if self._clusters_are_warming():
                break
            self._answer_routing(target, now)
            if self._routing_is_unanswered() or self._clusters_are_unanswered():
                break
            self._remove(target, now)
            if target is self._newest:
                break
            self._target = self._newest
        return self._close_event(now)

    def _answer_clusters(self, target: Snapshot, now: float) -> None:
        channel = self._channels[CLUSTER]
        plan = channel.plan(target, self._settings.changes)
        if plan is not None:
            self._dispatch(channel, Plan(plan.resources, [], plan.missing), now)

    def _answer_at_once(self, target: Snapshot, now: float) -> None:
        newest = self._newest if self._newest is not None else target
        earlier = target if target is not newest else None
        for type_url in _AT_ONCE:
            channel = self._channels[type_url]
            plan = channel.plan(newest, self._settings.changes, earlier)
            if plan is not None:
                self._dispatch(channel, Plan(plan.resources, [], plan.missing), now)

    def _answer_routing(self, target: Snapshot, now: float) -> None:
        for type_url in _ROUTING:
            channel = self._channels[type_url]
            plan = self._plan_routing(channel, target)
            if plan is not None:
                self._dispatch(channel, plan, now)

    def _plan_routing(self, channel: Channel, target: Snapshot) -> Plan | None:
        return channel.plan(target, self._settings.changes)

    def _remove(self, target: Snapshot, now: float) -> None:
        """Step C. A refused listener, route or host leaves its last good version serving, so its clusters stay."""
        if any(self._serves_last_good(self._channels[type_url]) for type_url in _ROUTING):
            return
        for type_url in (CLUSTER, *_AT_ONCE):
            channel = self._channels[type_url]
            gone = [
                name
                for name in sorted(channel.left_over)
                if target.find(type_url, name) is None and name in channel.ledger.held
            ]
            if gone:
                self._dispatch(channel, Plan(removed=gone), now)

    def _dispatch(self, channel: Channel, plan: Plan, now: float) -> Batch | None:
        """Send a plan if it says anything or an answer is due, and note what must follow it."""
        if not (plan.resources or plan.removed or plan.missing or channel.answer_due):
            return None
        channel.answer_due = False
        channel.settle(plan.removed)
        batch = self._send(channel, plan, now)
        if batch is not None:
            self._push_behind(batch)
        return batch

    def _push_behind(self, batch: Batch) -> None:
        """Note what the proxy will wait for without asking: see ``Resource.follows``.

        Before the client's first request of that type the names stay noted: after a reconnect that request, which
        says that the client holds them already, comes behind the clusters'.
        """
        for resource in batch.resources:
            for type_url, name in resource.follows:
                follower = self._channels[type_url]
                if not name.endswith("/"):
                    follower.forced.add(name)
                elif batch.before.get(resource.name) is None:
                    follower.restart_below(name)

    def _subscriptions_changed(self, channel: Channel, dropped: Iterable[str]) -> None:
        """Virtual hosts come and go with the subscription of their route."""
        if channel.type_url != ROUTE:
            return
        hosts = self._channels[VIRTUAL_HOST]
        hosts.compared = None
        for route in dropped:
            hosts.restart_below(f"{route}/")

    def _next_nonce(self) -> str:
        self._nonce += 1
        return f"n{self._nonce}"

    def _emit(self, response: R, resources: Sequence[Resource]) -> None:
        self._outbox.append(response)
        self.sent_responses += 1
        self.sent_resources += len(resources)

    def _close_event(self, now: float) -> list[R]:
        for channel in self._channels.values():
            state = state_of(channel, self._newest)
            if state is not channel.state:
                channel.state, channel.since = state, now
        responses, self._outbox = self._outbox, []
        return responses

    def _clusters_are_warming(self) -> bool:
        return any(batch.resources for batch in self._channels[CLUSTER].ledger.awaited())

    def _clusters_are_unanswered(self) -> bool:
        """Also an empty response counts here.

        After a reconnect the requests of all types are sent together and arrive one after the other; the first answer
        comes behind them all. Only then is it known which routes the client still holds.
        """
        return any(True for _ in self._channels[CLUSTER].ledger.awaited())

    def _routing_is_unanswered(self) -> bool:
        channels = (self._channels[type_url] for type_url in _ROUTING)
        return any(batch.items for channel in channels for batch in channel.ledger.awaited())

    @staticmethod
    def _serves_last_good(channel: Channel) -> bool:
        ledger = channel.ledger
        return any(name in ledger.held for name in ledger.refusals)


def _channels() -> Mapping[str, Channel]:
    routes = Subscription()
    special: Mapping[str, Subscription] = {ROUTE: routes, VIRTUAL_HOST: VirtualHostSubscription(routes)}
    return {type_url: Channel(type_url, special.get(type_url, Subscription())) for type_url in ALL_TYPES}

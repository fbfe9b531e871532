"""The delta stream: requests in, responses out, no I/O. Serves ``DeltaAggregatedResources`` and the like.

The order is ``rounds``'; here are the words of the delta variant: subscriptions by difference, versions from an
earlier stream, removals by name, an answer per nonce, and the search for the culprit of a refused response.
"""

from collections.abc import Collection, Iterable, Sequence
from typing import Final

from pilothouse.xds.channel import Channel, Plan
from pilothouse.xds.ledger import Batch, Item, Trial, name_of
from pilothouse.xds.protocol import DeltaRequest, DeltaResponse
from pilothouse.xds.reasons import names_in
from pilothouse.xds.resource import CLUSTER, LISTENER, ROUTE, VIRTUAL_HOST, Resource, Snapshot
from pilothouse.xds.rounds import RoundStream
from pilothouse.xds.settings import StreamSettings
from pilothouse.xds.subscription import WILDCARD, route_of, wildcard_when_empty

NO_HOST: Final = "none"
"""``ROUTE/none``, named as removed, tells Envoy that a route without virtual hosts is complete."""
_INTERDEPENDENT: Final = frozenset({LISTENER, VIRTUAL_HOST})
"""Types whose items exclude each other (a domain, an address): one may be refused only until another has moved."""


class DeltaStream(RoundStream[DeltaResponse]):
    """The state of one delta stream."""

    def __init__(self, *, settings: StreamSettings | None = None) -> None:
        """A stream on which nothing was asked yet."""
        super().__init__(settings)
        self._told_empty: set[str] = set()
        self._new_routes: set[str] = set()

    def receive(self, request: DeltaRequest, now: float) -> list[DeltaResponse]:
        """Take a request: an answer to a nonce, a change of subscription, or both. Unknown types are ignored."""
        channel = self._channels.get(request.type_url)
        if channel is None:
            return []
        batch = channel.ledger.in_flight.get(request.nonce)
        if batch is not None:
            self._resolve(channel, batch, request.error, now)
        if channel.subscription.asked:
            self._subscribe(channel, request.subscribe)
            self._unsubscribe(channel, request.unsubscribe)
        elif request.subscribe or not request.nonce:
            self._open(channel, request)
        return self._advance(now)

    def _open(self, channel: Channel, request: DeltaRequest) -> None:
        """The first request of a type, perhaps with what an earlier stream left."""
        everything = (WILDCARD,) if not request.subscribe and wildcard_when_empty(channel.type_url) else ()
        names = channel.subscription.add((*everything, *request.subscribe))
        covers = channel.subscription.covers
        if channel.type_url == VIRTUAL_HOST:
            # A route that this stream brought anew is empty, whatever the client remembers of its hosts.
            known = request.initial_versions.items()
            channel.recall({n: v for n, v in known if route_of(n) not in self._new_routes})
            self._new_routes.clear()
        else:
            channel.recall({n: v for n, v in request.initial_versions.items() if covers(n)})
        channel.ask(name for name in names if name not in request.initial_versions)
        channel.answer_due = True
        self._subscriptions_changed(channel, ())

    def _subscribe(self, channel: Channel, names: Collection[str]) -> None:
        if not names:
            return
        channel.ask(channel.subscription.add(names))
        if WILDCARD in names:
            channel.compared = None
            channel.answer_due = True
        self._subscriptions_changed(channel, ())

    def _unsubscribe(self, channel: Channel, names: Collection[str]) -> None:
        if not names:
            return
        channel.subscription.drop(names)
        channel.release()
        # A name that the wildcard still covers must be answered: the client cannot know whether it still applies.
        covered = [name for name in names if name != WILDCARD and channel.subscription.covers(name)]
        channel.ask(covered)
        self._subscriptions_changed(channel, [name for name in names if name not in covered])

    def _plan_routing(self, channel: Channel, target: Snapshot) -> Plan | None:
        plan = super()._plan_routing(channel, target)
        if plan is not None and plan.complete and channel.type_url == VIRTUAL_HOST:
            plan.missing += self._empty_routes(channel, target)
        return plan

    def _empty_routes(self, hosts: Channel, target: Snapshot) -> list[str]:
        """A marker for each subscribed route that awaits virtual hosts and has none."""
        if not hosts.subscription.wildcard:
            return []
        covers = self._channels[ROUTE].subscription.covers
        awaiting = [
            route.name
            for route in target.resources(ROUTE)
            if covers(route.name) and (VIRTUAL_HOST, f"{route.name}/") in route.follows
        ]
        populated = {route_of(host.name) for host in target.resources(VIRTUAL_HOST)}
        empty = [name for name in awaiting if name not in populated and name not in self._told_empty]
        self._told_empty.update(empty)
        return [f"{name}/{NO_HOST}" for name in empty]

    def _send(self, channel: Channel, plan: Plan, now: float) -> Batch:
        removed = (*plan.removed, *plan.missing)
        batch = channel.ledger.record(self._next_nonce(), plan.resources, removed, now)
        if channel.type_url == ROUTE:
            self._note_new_routes(name for name, held in batch.before.items() if held is None)
        self._emit(DeltaResponse(channel.type_url, batch.nonce, batch.resources, batch.removed), batch.resources)
        return batch

    def _note_new_routes(self, names: Iterable[str]) -> None:
        for name in names:
            self._told_empty.discard(name)
            if not self._channels[VIRTUAL_HOST].subscription.asked:
                self._new_routes.add(name)

    def _resolve(self, channel: Channel, batch: Batch, error: str | None, now: float) -> None:
        items = batch.items
        trial = batch.trial
        if error is None or not items:
            channel.ledger.accept(batch)
            if trial is not None:
                trial.accepted += 1
        elif named := self._blamed(channel, batch, error):
            self._refuse_named(channel, batch, named, error, now)
            if trial is not None:
                trial.refused.extend(named)
        elif len(items) > 1:
            channel.ledger.revert(batch)
            self._try_each(channel, batch, [item for item in items if batch.concerns(item)], now)
        else:
            channel.ledger.revert(batch)
            if batch.concerns(items[0]):
                channel.ledger.refuse(batch, items[0], error)
            if trial is not None:
                trial.refused.append(items[0])
        if trial is not None:
            self._conclude(channel, batch, trial, now)

    @staticmethod
    def _blamed(channel: Channel, batch: Batch, error: str) -> list[Resource]:
        """The resources that the proxy refused by name, having taken the others. It does so for these types only."""
        if channel.type_url not in (CLUSTER, LISTENER):
            return []
        blamed = names_in(error, batch.names)
        return [resource for resource in batch.resources if resource.name in blamed]

    def _refuse_named(self, channel: Channel, batch: Batch, blamed: Sequence[Resource], error: str, now: float) -> None:
        """Put the blamed down as refused, and for clusters take them back.

        A cluster may fail so late that it stays behind, warming for ever, and sent again it would be "unchanged" and
        be acknowledged. The last good version replaces it; where there was none, it is removed. A later
        response that carries the name does the same, and must not be undone.
        """
        channel.ledger.revert_names(batch, (resource.name for resource in blamed))
        for resource in filter(batch.concerns, blamed):
            channel.ledger.refuse(batch, resource, error)
            if channel.type_url != CLUSTER or channel.ledger.successor(batch, resource.name) is not None:
                continue
            previous = batch.before.get(resource.name)
            if previous is not None and not previous.body:
                continue
            plan = Plan(removed=[resource.name]) if previous is None else Plan(resources=[previous])
            restoring = self._dispatch(channel, plan, now)
            if restoring is not None:
                restoring.restores = True

    def _try_each(self, channel: Channel, refused: Batch, items: Sequence[Item], now: float) -> None:
        """Send each item alone, unless a later response overtook it: the good get in, the culprit stands alone."""
        ledger = channel.ledger
        covers = channel.subscription.covers
        names = [(item, name_of(item)) for item in items]
        current = [item for item, name in names if covers(name) and ledger.successor(refused, name) is None]
        trial = Trial(waiting=len(current))
        for item in current:
            plan = Plan(removed=[item]) if isinstance(item, str) else Plan(resources=[item])
            batch = self._dispatch(channel, plan, now)
            if batch is not None:
                batch.trial = trial

    def _conclude(self, channel: Channel, last: Batch, trial: Trial, now: float) -> None:
        """When all items are answered: what was refused may fit now that others have moved, as long as some did."""
        trial.waiting -= 1
        if trial.waiting or not trial.accepted or channel.type_url not in _INTERDEPENDENT:
            return
        held = channel.ledger
        again = [item for item in trial.refused if not isinstance(item, str) and held.refused(item.name, item.version)]
        if again:
            self._try_each(channel, last, again, now)

"""The state-of-the-world stream: requests in, responses out, no I/O. Serves ``StreamAggregatedResources``.

The order is ``rounds``'; here are the words of this variant: every request repeats all names, clusters and listeners
travel as the full set, and what is not in it is thereby removed. Make before break is therefore "old and new", then
"new". A refusal names a response, so all that changed in it is suspected. There is no virtual host discovery.
"""

from collections.abc import Sequence
from typing import Final

from pilothouse.kit.digest import digest
from pilothouse.xds.channel import Channel, Plan
from pilothouse.xds.ledger import Batch
from pilothouse.xds.protocol import SotwRequest, SotwResponse
from pilothouse.xds.resource import CLUSTER, LISTENER, VIRTUAL_HOST, Resource
from pilothouse.xds.rounds import RoundStream
from pilothouse.xds.settings import StreamSettings
from pilothouse.xds.subscription import WILDCARD, wildcard_when_empty

_FULL_STATE: Final = frozenset({CLUSTER, LISTENER})
"""Types whose response is the whole set. Of the others a response may carry any part."""


class SotwStream(RoundStream[SotwResponse]):
    """The state of one state-of-the-world stream."""

    def __init__(self, *, settings: StreamSettings | None = None) -> None:
        """A stream on which nothing was asked yet."""
        super().__init__(settings)
        self._suspects: dict[str, set[str]] = {}

    def receive(self, request: SotwRequest, now: float) -> list[SotwResponse]:
        """Take a request: an answer to a nonce, the list of names, or both. Unknown types are ignored.

        The names of a request that answers an older response than the last are not read: the client has not seen
        the last one yet, and will repeat itself.
        """
        channel = self._channels.get(request.type_url)
        if channel is None or request.type_url == VIRTUAL_HOST:
            return []
        if request.nonce in channel.ledger.in_flight:
            self._resolve(channel, request.nonce, request.error)
        if not channel.subscription.asked or request.nonce in ("", channel.last_nonce):
            self._name(channel, request.names)
        return self._advance(now)

    def _name(self, channel: Channel, names: Sequence[str]) -> None:
        """Make the subscription what the request says. New names are answered, dropped ones are forgotten."""
        subscription = channel.subscription
        first, was_wildcard = not subscription.asked, subscription.wildcard
        wanted = set(names)
        if not wanted and wildcard_when_empty(channel.type_url):
            wanted = {WILDCARD}
        added = wanted - subscription.names - {WILDCARD}
        dropped = subscription.names - wanted
        if was_wildcard and WILDCARD not in wanted:
            dropped = dropped | {WILDCARD}
        subscription.add(wanted)
        if dropped:
            subscription.drop(dropped)
            channel.release()
            self._suspects.pop(channel.type_url, None)
        channel.ask(added)
        if first or subscription.wildcard != was_wildcard:
            channel.compared = None
        channel.answer_due = channel.answer_due or first

    def _send(self, channel: Channel, plan: Plan, now: float) -> Batch | None:
        self._reconsider(channel, plan)
        if channel.type_url in _FULL_STATE:
            batch = channel.ledger.record(self._next_nonce(), plan.resources, plan.removed, now)
            held = channel.ledger.held
            contents = tuple(held[name] for name in sorted(held))
        else:
            for name in plan.removed:
                channel.ledger.forget(name)
            contents = (*plan.resources, *self._stand_ins(channel, plan.missing))
            if not contents:
                return None
            batch = channel.ledger.record(self._next_nonce(), contents, (), now)
        channel.last_nonce = batch.nonce
        self._emit(SotwResponse(channel.type_url, batch.nonce, version_of(contents), contents), contents)
        return batch

    def _stand_ins(self, channel: Channel, names: Sequence[str]) -> list[Resource]:
        absent = self._settings.absent
        if absent is None:
            return []
        return [made for name in names if (made := absent(channel.type_url, name)) is not None]

    def _reconsider(self, channel: Channel, plan: Plan) -> None:
        """Something is sent anyway: try the suspects again with it, because most of them are good.

        A suspected removal of a cluster waits for a response that removes clusters, since only then is it safe.
        """
        may_remove = bool(plan.removed) or channel.type_url == LISTENER
        planned = {resource.name for resource in plan.resources} | set(plan.removed)
        left: set[str] = set()
        for name in sorted(self._suspects.pop(channel.type_url, set()) - planned):
            wanted = self._wanted(channel, name)
            held = channel.ledger.held.get(name)
            if wanted is not None and (held is None or held.version != wanted.version):
                plan.resources.append(wanted)
            elif wanted is None and held is not None and may_remove:
                plan.removed.append(name)
            elif wanted is None and held is not None:
                left.add(name)
        if left:
            self._suspects[channel.type_url] = left

    def _wanted(self, channel: Channel, name: str) -> Resource | None:
        for snapshot in (self._newest, self._target):
            if snapshot is not None and (snapshot is self._target or channel.type_url not in _FULL_STATE):
                found = snapshot.find(channel.type_url, name)
                if found is not None:
                    return found
        return None

    def _resolve(self, channel: Channel, nonce: str, error: str | None) -> None:
        """An answer settles its own response, and those before it, which the client has passed over."""
        for earlier in list(channel.ledger.in_flight.values()):
            if earlier.nonce != nonce:
                channel.ledger.accept(earlier)
                continue
            if error is None:
                channel.ledger.accept(earlier)
            else:
                self._refuse(channel, earlier, error)
            return

    def _refuse(self, channel: Channel, batch: Batch, error: str) -> None:
        items = batch.items
        channel.ledger.revert(batch)
        for item in filter(batch.concerns, items):
            channel.ledger.refuse(batch, item, error)
        if len(items) > 1:
            self._suspects.setdefault(channel.type_url, set()).update(batch.names)


def version_of(resources: Sequence[Resource]) -> str:
    """The version of a response: a digest over the names and versions of what it contains, in its order."""
    return digest("\n".join(f"{resource.name} {resource.version}" for resource in resources).encode())

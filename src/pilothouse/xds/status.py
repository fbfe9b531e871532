"""Where does a type of a stream stand? One word, and the names that are waited for.

Reads a channel, changes nothing. The stream machines call ``state_of`` after every event and keep when it changed.
"""

from collections.abc import Iterable

from pilothouse.xds.channel import Channel
from pilothouse.xds.ledger import Batch
from pilothouse.xds.protocol import SyncState, TypeStatus
from pilothouse.xds.resource import CLUSTER, ENDPOINT, Snapshot


def state_of(channel: Channel, newest: Snapshot | None) -> SyncState:
    """The state of one type. The worst word wins: a proxy that does not answer, then one that refuses."""
    ledger = channel.ledger
    if newest is None or not channel.subscription.asked:
        return SyncState.NOT_SENT
    if any(batch.overdue for batch in ledger.in_flight.values()):
        return SyncState.STUCK
    if ledger.refusals:
        return SyncState.REFUSED
    if channel.type_url == CLUSTER and any(batch.resources for batch in ledger.in_flight.values()):
        return SyncState.WARMING
    if ledger.in_flight or channel.is_waiting(newest):
        return SyncState.STALE
    return SyncState.SYNCED


def describe(channel: Channel, endpoints: Channel, patience: float) -> TypeStatus:
    """The status of one type as people read it."""
    ledger = channel.ledger
    batches = list(ledger.in_flight.values())
    if channel.state is SyncState.STUCK:
        batches = [batch for batch in batches if batch.overdue]
    return TypeStatus(
        type_url=channel.type_url,
        state=channel.state,
        since=channel.since,
        reason=_reason(channel, batches, endpoints, patience),
        outstanding=tuple(sorted({name for batch in batches for name in batch.names} | channel.left_over)),
        refusals=tuple(ledger.refusals[name] for name in sorted(ledger.refusals)),
        resources=len(ledger.held),
    )


def _reason(channel: Channel, batches: list[Batch], endpoints: Channel, patience: float) -> str:
    match channel.state:
        case SyncState.STUCK:
            text = f"no answer within {patience:g} s"
            return f"{text}; {warming}" if (warming := _warming(channel, batches, endpoints)) else text
        case SyncState.REFUSED:
            return next(iter(channel.ledger.refusals.values())).reason
        case SyncState.WARMING:
            return _warming(channel, batches, endpoints) or "clusters are warming"
        case SyncState.STALE:
            return "sent, not answered yet" if batches else "waits for its turn"
        case _:
            return ""


def _warming(channel: Channel, batches: list[Batch], endpoints: Channel) -> str:
    if channel.type_url != CLUSTER:
        return ""
    names = sorted({name for batch in batches for name in _load_assignments(batch)})
    covers, held = endpoints.subscription.covers, endpoints.ledger.held
    unasked = [name for name in names if not covers(name)]
    unsent = [name for name in names if covers(name) and name not in held]
    parts = []
    if unasked:
        parts.append(f"the proxy has not asked for the endpoints of {', '.join(unasked)}")
    if unsent:
        parts.append(f"there are no endpoints to send for {', '.join(unsent)}")
    return "; ".join(parts)


def _load_assignments(batch: Batch) -> Iterable[str]:
    return (name for resource in batch.resources for type_url, name in resource.follows if type_url == ENDPOINT)

"""What does the client hold, what is on its way, and what did it refuse, of one type?

``held`` is written when something is sent, because the next comparison must not send it twice. Each batch keeps
what it replaced, so a refusal restores exactly that: the client still holds the version before. Answers arrive per
nonce; an unknown nonce is nobody's answer.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from pilothouse.xds.protocol import Refusal
from pilothouse.xds.reasons import readable_reason
from pilothouse.xds.resource import Resource

Item: TypeAlias = Resource | str
"""One part of a response: a resource, or the name of a removal."""


@dataclass(slots=True)
class Trial:
    """A refused response on its second way, one item per response. ``waiting`` counts the answers to come."""

    waiting: int
    accepted: int = 0
    refused: list[Item] = field(default_factory=list)


@dataclass(slots=True)
class Batch:
    """One response that has not been answered.

    ``before`` is what the client held of the names in it, but for names forgotten since; ``order`` counts the
    responses of the type.
    ``restores``: it takes back what was refused, so its acceptance does not settle the refusal.
    """

    nonce: str
    order: int
    resources: tuple[Resource, ...]
    removed: tuple[str, ...]
    before: dict[str, Resource | None]
    sent_at: float
    overdue: bool = False
    trial: Trial | None = None
    restores: bool = False

    @property
    def items(self) -> tuple[Item, ...]:
        """Removals first: a name's successor may claim what the removal frees."""
        return (*self.removed, *self.resources)

    def concerns(self, item: Item) -> bool:
        """Whether the answer still says something about the item: the name was not forgotten since."""
        return name_of(item) in self.before

    @property
    def names(self) -> Iterator[str]:
        """The names in it, resources first."""
        yield from (resource.name for resource in self.resources)
        yield from self.removed


class Ledger:
    """The book of one type on one stream."""

    __slots__ = ("held", "in_flight", "recorded", "refusals")

    def __init__(self) -> None:
        """A client that holds nothing."""
        self.held: dict[str, Resource] = {}
        self.in_flight: dict[str, Batch] = {}
        self.refusals: dict[str, Refusal] = {}
        self.recorded = 0

    def record(self, nonce: str, resources: Sequence[Resource], removed: Sequence[str], now: float) -> Batch:
        """Note a response as sent. From now on the client counts as holding it."""
        before: dict[str, Resource | None] = {}
        for resource in resources:
            before[resource.name] = self.held.get(resource.name)
            self.held[resource.name] = resource
        for name in removed:
            before[name] = self.held.pop(name, None)
        self.recorded += 1
        batch = Batch(nonce, self.recorded, tuple(resources), tuple(removed), before, now)
        self.in_flight[nonce] = batch
        return batch

    def accept(self, batch: Batch) -> None:
        """The client took this batch: what was refused of these names before is settled."""
        del self.in_flight[batch.nonce]
        if self.refusals and not batch.restores:
            for name in batch.names:
                self.refusals.pop(name, None)

    def revert(self, batch: Batch) -> None:
        """The client took nothing of this batch: it holds what it held before."""
        del self.in_flight[batch.nonce]
        self._restore(batch, batch.before)

    def revert_names(self, batch: Batch, names: Iterable[str]) -> None:
        """The client took this batch but for ``names``, of which it holds what it held before."""
        self.accept(batch)
        self._restore(batch, [name for name in names if name in batch.before])

    def _restore(self, batch: Batch, names: Iterable[str]) -> None:
        """Count these names as held in the version before. A later batch that carries one replaces that version."""
        for name in names:
            previous, successor = batch.before[name], self.successor(batch, name)
            if successor is not None:
                successor.before[name] = previous
            elif previous is None:
                self.held.pop(name, None)
            else:
                self.held[name] = previous

    def refuse(self, batch: Batch, item: Item, reason: str) -> None:
        """Put one item of a reverted batch down as refused. It is not sent again in that version."""
        if isinstance(item, str):
            previous = batch.before.get(item)
            origins = previous.origins if previous is not None else ()
            self.refusals[item] = Refusal(item, "", readable_reason(reason), origins)
        else:
            self.refusals[item.name] = Refusal(item.name, item.version, readable_reason(reason), item.origins)

    def refused(self, name: str, version: str) -> bool:
        """Whether the client refused this very version (the empty version is the removal)."""
        refusal = self.refusals.get(name)
        return refusal is not None and refusal.version == version

    def successor(self, batch: Batch, name: str) -> Batch | None:
        """The first unanswered batch behind ``batch`` that carries the name too."""
        later = (other for other in self.in_flight.values() if other.order > batch.order)
        return next((other for other in later if name in other.before), None)

    def forget(self, name: str) -> None:
        """The client dropped the name by itself: it holds nothing, and no refusal may bring it back."""
        self.held.pop(name, None)
        self.refusals.pop(name, None)
        for batch in self.in_flight.values():
            batch.before.pop(name, None)

    def forget_where(self, dropped: Callable[[str], bool]) -> None:
        """``forget`` every name for which ``dropped`` holds, also names that are on their way."""
        names = {*self.held, *self.refusals}
        names.update(*(batch.before for batch in self.in_flight.values()))
        for name in filter(dropped, names):
            self.forget(name)

    def mark_overdue(self, now: float, patience: float) -> bool:
        """Mark every batch whose deadline has passed. Returns whether one was marked now."""
        marked = False
        for batch in self.in_flight.values():
            if not batch.overdue and batch.sent_at + patience <= now:
                batch.overdue = marked = True
        return marked

    def oldest_awaited(self) -> float | None:
        """When the oldest batch was sent that is neither answered nor overdue."""
        return min((batch.sent_at for batch in self.in_flight.values() if not batch.overdue), default=None)

    def awaited(self) -> Iterator[Batch]:
        """The batches whose answer is still worth waiting for."""
        return (batch for batch in self.in_flight.values() if not batch.overdue)


def name_of(item: Item) -> str:
    """The name that an item adds or removes."""
    return item if isinstance(item, str) else item.name

"""What does the client lack, of one type? The subscription and the ledger of a type, and how far it was compared.

``plan`` compares a snapshot with the ledger. It looks only at the names of layers that are other objects than last
time, and at the few that were left over; nothing changed is a comparison of identities.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from pilothouse.xds.changes import LayerChanges, Layers, same_layers
from pilothouse.xds.ledger import Ledger
from pilothouse.xds.protocol import SyncState
from pilothouse.xds.resource import Resource, Snapshot
from pilothouse.xds.subscription import Subscription


@dataclass(slots=True)
class Plan:
    """What one comparison found.

    ``resources`` are new or changed. ``removed`` are held by the client and gone. ``missing`` were asked for and do
    not exist: they are answered at once, because nothing breaks and the client waits.
    ``complete`` says that every name was compared.
    """

    resources: list[Resource] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    complete: bool = False


class Channel:
    """One type of one stream.

    ``forced`` are names to send even if the client holds them; ``left_over`` are removals whose time has not come;
    ``answer_due`` asks for a response even if it is empty. ``state`` and ``since`` are kept for the status.
    """

    __slots__ = (
        "answer_due",
        "compared",
        "forced",
        "last_nonce",
        "ledger",
        "left_over",
        "since",
        "state",
        "subscription",
        "type_url",
    )

    def __init__(self, type_url: str, subscription: Subscription) -> None:
        """A type that the client has not asked for yet."""
        self.type_url = type_url
        self.subscription = subscription
        self.ledger = Ledger()
        self.compared: Layers | None = None
        self.forced: set[str] = set()
        self.left_over: set[str] = set()
        self.answer_due = False
        self.last_nonce = ""
        self.state = SyncState.NOT_SENT
        self.since = 0.0

    def plan(self, snapshot: Snapshot, changes: LayerChanges, earlier: Snapshot | None = None) -> Plan | None:
        """What has to be sent so that the client holds what ``snapshot`` offers it; None if nothing is to be said.

        A name that only ``earlier`` has is served from there and not removed yet. Removals are noted in
        ``left_over`` until ``settle`` is called for them.
        """
        if not self.subscription.asked:
            return None
        layers = snapshot.layers.get(self.type_url, ())
        if same_layers(self.compared, layers) and not (self.forced or self.left_over or self.answer_due):
            return None
        plan = Plan(complete=self.compared is None)
        left_over: set[str] = set()
        for name in self._candidates(snapshot, layers, changes):
            resource = snapshot.find(self.type_url, name)
            if resource is None and earlier is not None:
                resource = earlier.find(self.type_url, name)
                if self.subscription.covers(name):
                    left_over.add(name)
            self._weigh(name, resource, plan)
        left_over.update(plan.removed)
        self.left_over = left_over
        self.compared = layers
        self.forced = set()
        return plan

    def settle(self, names: Iterable[str]) -> None:
        """These removals are on their way."""
        self.left_over.difference_update(names)

    def is_waiting(self, snapshot: Snapshot) -> bool:
        """Whether something of ``snapshot`` has not been looked at, or a removal waits for its time."""
        if self.left_over or self.forced or self.answer_due:
            return True
        return not same_layers(self.compared, snapshot.layers.get(self.type_url, ()))

    def ask(self, names: Iterable[str]) -> None:
        """The client asks for these names and holds nothing of them: each gets an answer, whatever was sent before."""
        for name in names:
            self.ledger.forget(name)
            self.forced.add(name)

    def recall(self, versions: Mapping[str, str]) -> None:
        """The client says what it holds from an earlier stream. The bytes are not known, nor needed."""
        for name, version in versions.items():
            self.ledger.held[name] = Resource(name, version, b"")
        self.compared = None

    def release(self) -> None:
        """Forget everything that the subscription no longer covers: the client has dropped it."""
        covers = self.subscription.covers
        self.ledger.forget_where(lambda name: not covers(name))
        self.forced = {name for name in self.forced if covers(name)}

    def restart_below(self, prefix: str) -> None:
        """The client has a new, empty owner for the names below ``prefix``: compare again, as if it held none."""
        self.ledger.forget_where(lambda name: name.startswith(prefix))
        self.compared = None

    def _candidates(self, snapshot: Snapshot, layers: Layers, changes: LayerChanges) -> Iterable[str]:
        if self.compared is not None:
            return sorted(changes.touched(self.compared, layers) | self.forced | self.left_over)
        ordered = dict.fromkeys(resource.name for resource in snapshot.resources(self.type_url))
        ordered.update(dict.fromkeys(sorted(self.ledger.held.keys() | self.forced | self.left_over)))
        return ordered

    def _weigh(self, name: str, resource: Resource | None, plan: Plan) -> None:
        ledger = self.ledger
        if resource is None:
            self._weigh_absent(name, plan)
            return
        if not self.subscription.covers(name):
            return
        if name in ledger.refusals and not ledger.refused(name, resource.version):
            del ledger.refusals[name]
        held = ledger.held.get(name)
        if held is not None and held.version == resource.version:
            ledger.held[name] = resource
            if name not in self.forced:
                return
        if not ledger.refused(name, resource.version):
            plan.resources.append(resource)

    def _weigh_absent(self, name: str, plan: Plan) -> None:
        ledger = self.ledger
        if name in ledger.held:
            if not ledger.refused(name, ""):
                ledger.refusals.pop(name, None)
                plan.removed.append(name)
            return
        ledger.refusals.pop(name, None)
        if name in self.forced and self.subscription.covers(name):
            plan.missing.append(name)

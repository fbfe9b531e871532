"""Which names differ between two versions of a layer? Asked once per pair of layers, answered to every stream.

A publish replaces a few layers and keeps the others as the same objects. A thousand streams then ask the same
question about the same two layers; this memo compares them once. The owner of the streams owns the memo.
"""

from collections.abc import Sequence
from typing import Final, TypeAlias

from pilothouse.xds.resource import EMPTY, ResourceSet

Layers: TypeAlias = Sequence[ResourceSet]
"""The layers of one type in one snapshot."""

_CAPACITY: Final = 256
"""Pairs remembered. A publish compares classes x types x changed layers, which is tens; the rest is old."""


class LayerChanges:
    """A bounded memo of layer comparisons, keyed by identity. ``comparisons`` counts the ones really made."""

    __slots__ = ("_capacity", "_known", "comparisons")

    def __init__(self, capacity: int = _CAPACITY) -> None:
        """A memo of at most ``capacity`` comparisons, the oldest of which is forgotten first."""
        self._known: dict[tuple[int, int], tuple[ResourceSet, ResourceSet, tuple[str, ...]]] = {}
        self._capacity = capacity
        self.comparisons = 0

    def between(self, old: ResourceSet, new: ResourceSet) -> tuple[str, ...]:
        """The names that were added, changed or removed from ``old`` to ``new``, in name order."""
        if old is new:
            return ()
        key = (id(old), id(new))
        known = self._known.get(key)
        if known is not None:
            return known[2]
        names = _differing(old, new)
        self.comparisons += 1
        if len(self._known) >= self._capacity:
            del self._known[next(iter(self._known))]
        # The entry keeps both layers alive, so that neither id can be given to another object.
        self._known[key] = (old, new, names)
        return names

    def touched(self, old: Layers, new: Layers) -> set[str]:
        """The names to look at again after ``old`` became ``new``. A name may have moved between layers."""
        names: set[str] = set()
        for position in range(max(len(old), len(new))):
            before = old[position] if position < len(old) else EMPTY
            after = new[position] if position < len(new) else EMPTY
            if before is not after:
                names.update(self.between(before, after))
        return names


def same_layers(old: Layers | None, new: Layers) -> bool:
    """Whether both are made of the very same layers, so that nothing has to be compared."""
    if old is new:
        return True
    return old is not None and len(old) == len(new) and all(a is b for a, b in zip(old, new, strict=True))


def _differing(old: ResourceSet, new: ResourceSet) -> tuple[str, ...]:
    before, after = old.by_name, new.by_name
    names = [name for name in before if name not in after]
    for name, resource in after.items():
        known = before.get(name)
        if known is not resource and (known is None or known.version != resource.version):
            names.append(name)
    return tuple(sorted(names))

"""Memo by identity: "the arguments are the same objects" is the only skip rule in the tree.

Inputs are frozen, so a function whose arguments are the very objects of last time returns last time's object.
No hand-written cache key, no list of what may be skipped. The caller owns the memo, so nothing here is global.
"""

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

R = TypeVar("R")


class IdentityMemo(Generic[R]):
    """Remembers, per slot, the last arguments (by identity) and the result they gave.

    One slot holds one result: the memo of "cluster X" forgets X's old cluster when X changes, and ``sweep``
    forgets what nobody asked for since the sweep before. ``misses`` counts the computations.
    """

    def __init__(self) -> None:
        self._slots: dict[Hashable, tuple[tuple[object, ...], R]] = {}
        self._used: set[Hashable] = set()
        self.misses = 0

    def get(self, slot: Hashable, compute: Callable[..., R], *args: object) -> R:
        """``compute(*args)``, or the slot's last result if every argument is the same object as then."""
        self._used.add(slot)
        known = self._slots.get(slot)
        if known is not None and same_objects(known[0], args):
            return known[1]
        self.misses += 1
        result = compute(*args)
        self._slots[slot] = (args, result)
        return result

    def sweep(self) -> None:
        """Forget the slots that were not asked for since the last sweep."""
        if len(self._used) < len(self._slots):
            self._slots = {slot: self._slots[slot] for slot in self._used if slot in self._slots}
        self._used = set()

    def clear(self) -> None:
        """Forget everything."""
        self._slots, self._used = {}, set()

    def __len__(self) -> int:
        return len(self._slots)


def same_objects(left: tuple[object, ...], right: tuple[object, ...]) -> bool:
    """Whether two tuples hold the very same objects in the same order."""
    return len(left) == len(right) and all(a is b for a, b in zip(left, right, strict=True))


def reuse(previous: R | None, current: R) -> R:
    """``previous`` if it equals ``current``, so that "nothing changed" stays an identity check downstream."""
    return previous if previous is not None and previous == current else current


def reuse_tuple(previous: tuple[R, ...] | None, current: tuple[R, ...]) -> tuple[R, ...]:
    """``previous`` if it holds the very objects of ``current``: the same for whole collections, without comparing."""
    return previous if previous is not None and same_objects(previous, current) else current

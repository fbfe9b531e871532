"""Labels and label selectors, kept as sorted pairs so that values are hashable and order is defined."""

from collections.abc import Iterable, Mapping
from typing import TypeAlias

Labels: TypeAlias = tuple[tuple[str, str], ...]


def labels_of(mapping: Mapping[str, str] | Iterable[tuple[str, str]]) -> Labels:
    """Sorted pairs from a mapping or from pairs."""
    return tuple(sorted(dict(mapping).items()))


def selects(selector: Labels, labels: Labels) -> bool:
    """Whether every pair of ``selector`` is in ``labels``. The empty selector selects everything."""
    return set(selector) <= set(labels)

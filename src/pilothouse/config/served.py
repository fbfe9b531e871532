"""What of a valid object is not served yet: one table per kind, one walk.

A field that is set and not served is an error, so that nothing is ever ignored in silence. Values that are not served
(a resolution, a protocol) are found by the ``validate_*`` modules, with ``not_served``.
"""

from collections.abc import Iterator, Mapping
from typing import Final

from pilothouse.config import destinationrule, gateway, serviceentry, virtualservice
from pilothouse.config.findings import Finding, Path
from pilothouse.config.schema import Message
from pilothouse.kit import codes

NOT_SERVED: Final[dict[type[Message], Mapping[str, str]]] = {
    virtualservice.VirtualService: virtualservice.NOT_SERVED,
    destinationrule.DestinationRule: destinationrule.NOT_SERVED,
    gateway.Gateway: gateway.NOT_SERVED,
    serviceentry.ServiceEntry: serviceentry.NOT_SERVED,
}
"""Per kind: path pattern → what is not served."""

_EVERY: Final = "[]"


def check_served(spec: Message, path: Path) -> Iterator[Finding]:
    """Every field of ``spec`` that is set and not served."""
    for steps, what in _PATTERNS[type(spec)]:
        for where in _present(spec, steps, path):
            yield not_served(where, what)


def not_served(path: Path, what: str, remedy: str = "") -> Finding:
    """The finding for one such place. ``what`` is a noun."""
    return Finding(codes.FIELD_NOT_SERVED, path, f"{what} is not served yet", remedy)


def _steps(pattern: str) -> tuple[tuple[str, str], ...]:
    steps: list[tuple[str, str]] = []
    for part in pattern.split("."):
        name = part.removesuffix(_EVERY)
        steps.append((_attribute(name), name))
        if part != name:
            steps.append((_EVERY, _EVERY))
    return tuple(steps)


def _attribute(name: str) -> str:
    """proto's name of a field, which is Python's: ``mirrorPercentage`` → ``mirror_percentage``."""
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)


_PATTERNS: Final = {
    kind: tuple((_steps(pattern), what) for pattern, what in table.items()) for kind, table in NOT_SERVED.items()
}
"""The tables as steps: attribute and wire name, or ``[]`` twice for every item."""


def _present(value: object, steps: tuple[tuple[str, str], ...], path: Path) -> Iterator[Path]:
    """The places below ``value`` where the steps lead to something that is set."""
    if not value:
        return
    if not steps:
        yield path
        return
    (attribute, name), *rest = steps
    if name != _EVERY:
        yield from _present(getattr(value, attribute), tuple(rest), (*path, name))
    elif isinstance(value, tuple):
        for index, item in enumerate(value):
            yield from _present(item, tuple(rest), (*path, index))

"""Old spellings of Istio's API, rewritten to the modern fields, each with a notice that names them.

One function per message that had them; they work on raw values before decoding, so the typed specs hold modern fields
only. Sources: the field histories in istio/api, and the recorded istiod for what it ignores.
"""

from collections.abc import Callable, Iterator
from typing import Final, TypeAlias

from pilothouse.config.destinationrule import ConsistentHashLB, LoadBalancerSettings, OutlierDetection
from pilothouse.config.findings import Finding, Path
from pilothouse.config.schema import Message, lower_camel
from pilothouse.config.virtualservice import Abort, Delay, HTTPRoute, HTTPRouteDestination
from pilothouse.kit import codes

Raw: TypeAlias = dict[str, object]
Rewrite: TypeAlias = Callable[[Raw, Path], Iterator[Finding]]


def modernise(kind: type[Message], value: Raw, path: Path) -> list[Finding]:
    """Rewrite the old fields of one message of ``kind`` in place; what was rewritten, as findings."""
    return list(_REWRITES[kind](value, path))


def _written(target: tuple[str, ...], value: object) -> str:
    """A nested field as YAML in one line: ``percentage: {value: 100}``."""
    text = str(value) if isinstance(value, str | int | float) else "..."
    for step in reversed(target):
        text = f"{{{step}: {text}}}"
    return text[1:-1]


def _move(value: Raw, path: Path, old: str, target: tuple[str, ...]) -> Iterator[Finding]:
    """Move ``old`` to the path ``target`` below ``value``. Both being set is a conflict."""
    moved, modern = value.pop(old), ".".join(target)
    parent: Raw | None = value
    for step in target[:-1]:
        parent = _own_child(parent, step)
    if parent is None or target[-1] in parent:
        message = f"'{old}' and its modern form '{modern}' are both set"
        yield Finding(codes.CONFLICTING_FIELDS, (*path, old), message, f"Keep '{modern}'.", at_key=True)
    else:
        parent[target[-1]] = moved
        message = f"'{old}' is an old spelling of '{modern}'"
        yield Finding(codes.OLD_SPELLING, (*path, old), message, f"Write '{_written(target, moved)}'.", at_key=True)


def _own_child(parent: Raw | None, step: str) -> Raw | None:
    """The mapping at ``step``, made or copied so that it may be changed; None if something else is there."""
    child = parent.get(step, {}) if parent is not None else None
    if parent is None or not isinstance(child, dict):
        return None
    parent[step] = child = dict(child)
    return child


def _percent(value: Raw, path: Path) -> Iterator[Finding]:
    """``percent: 50`` → ``percentage: {value: 50}``; istiod lets the modern field win."""
    if "percentage" in value:
        del value["percent"]
        message = "'percent' is ignored because 'percentage' is set"
        yield Finding(codes.IGNORED_FIELD, (*path, "percent"), message, "Remove 'percent'.", at_key=True)
    else:
        yield from _move(value, path, "percent", ("percentage", "value"))


_HEADER_FIELDS: Final = {
    "appendHeaders": ("headers", "request", "add"),
    "appendRequestHeaders": ("headers", "request", "add"),
    "removeRequestHeaders": ("headers", "request", "remove"),
    "appendResponseHeaders": ("headers", "response", "add"),
    "removeResponseHeaders": ("headers", "response", "remove"),
}


def _headers(value: Raw, path: Path) -> Iterator[Finding]:
    for old, target in _HEADER_FIELDS.items():
        if old in value:
            yield from _move(value, path, old, target)


def _route(value: Raw, path: Path) -> Iterator[Finding]:
    yield from _headers(value, path)
    if "mirrorPercent" in value:
        yield from _move(value, path, "mirrorPercent", ("mirrorPercentage", "value"))
    if value.pop("websocketUpgrade", None) is not None:
        message = "'websocketUpgrade' is not needed any more: WebSocket upgrades are always allowed"
        yield Finding(codes.OLD_SPELLING, (*path, "websocketUpgrade"), message, "Remove it.", at_key=True)


_OUTLIER_FIELDS: Final = {
    "consecutiveErrors": "consecutive5xxErrors",
    "interval": "interval",
    "baseEjectionTime": "baseEjectionTime",
    "maxEjectionPercent": "maxEjectionPercent",
}


def _outlier(value: Raw, path: Path) -> Iterator[Finding]:
    """The nesting of 2018 counts; the flat ``consecutiveErrors`` that came after it does nothing in istiod."""
    if value.pop("consecutiveErrors", None):
        message = "'consecutiveErrors' is ignored, as Istio ignores it"
        remedy = "Write 'consecutive5xxErrors' or 'consecutiveGatewayErrors'."
        yield Finding(codes.IGNORED_FIELD, (*path, "consecutiveErrors"), message, remedy, at_key=True)
    nested = value.get("http")
    if not isinstance(nested, dict):
        return
    del value["http"]
    inside = (*path, "http")
    for old, each in nested.items():
        modern = _OUTLIER_FIELDS.get(lower_camel(old))
        if modern is None:
            message = f"outlierDetection.http has no field '{old}'"
            yield Finding(codes.UNKNOWN_FIELD, (*inside, old), message, at_key=True)
        elif modern in value:
            message = f"'http.{old}' and '{modern}' are both set"
            yield Finding(codes.CONFLICTING_FIELDS, (*inside, old), message, f"Keep '{modern}'.", at_key=True)
        else:
            value[modern] = each
    names = [_OUTLIER_FIELDS[lower_camel(old)] for old in nested if lower_camel(old) in _OUTLIER_FIELDS]
    if names:
        pairs = ", ".join(f"'{name}'" for name in names)
        message = "'outlierDetection.http' is the nesting of 2018"
        remedy = f"Write {pairs} directly below outlierDetection."
        yield Finding(codes.OLD_SPELLING, inside, message, remedy, at_key=True)


def _hash(value: Raw, path: Path) -> Iterator[Finding]:
    old = "minimumRingSize"
    if value[old] in (0, "0"):
        del value[old]
    elif "ringHash" in value or "maglev" in value:
        del value[old]
        message = f"'{old}' cannot be set together with 'ringHash' or 'maglev'"
        yield Finding(codes.CONFLICTING_FIELDS, (*path, old), message, "Write 'ringHash.minimumRingSize'.", at_key=True)
    else:
        yield from _move(value, path, old, ("ringHash", old))


def _balancer(value: Raw, path: Path) -> Iterator[Finding]:
    if value.get("simple") == "LEAST_CONN":
        value["simple"] = "LEAST_REQUEST"
        message = "'LEAST_CONN' is an old name of 'LEAST_REQUEST'"
        yield Finding(codes.OLD_SPELLING, (*path, "simple"), message, "Write 'simple: LEAST_REQUEST'.")
    if "warmupDurationSecs" in value:
        yield from _move(value, path, "warmupDurationSecs", ("warmup", "duration"))


OLD_FIELDS: Final[dict[type[Message], frozenset[str]]] = {
    Delay: frozenset({"percent"}),
    Abort: frozenset({"percent"}),
    HTTPRoute: frozenset({"websocketUpgrade", "mirrorPercent", *_HEADER_FIELDS}),
    HTTPRouteDestination: frozenset(_HEADER_FIELDS),
    OutlierDetection: frozenset({"consecutiveErrors", "http"}),
    ConsistentHashLB: frozenset({"minimumRingSize"}),
    LoadBalancerSettings: frozenset({"simple", "warmupDurationSecs"}),
}
"""The fields whose presence sends a message through its rewrite."""

_REWRITES: Final[dict[type[Message], Rewrite]] = {
    Delay: _percent,
    Abort: _percent,
    HTTPRoute: _route,
    HTTPRouteDestination: _headers,
    OutlierDetection: _outlier,
    ConsistentHashLB: _hash,
    LoadBalancerSettings: _balancer,
}

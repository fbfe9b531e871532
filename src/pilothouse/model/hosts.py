"""Host names as Istio reads them: matching with a leading wildcard, and what a name without a dot means.

Source of the rules: ``pkg/config/host/name.go`` by way of istio-behaviour §1.1, and DESIGN §7 for short names.
"""

from collections.abc import Callable, Iterable

SHORT_NAME_SUFFIXES = ("service.mesh", "service.consul", "service.eureka")
"""Where a host without a dot is looked for, after the object's own namespace."""


def matches(pattern: str, host: str) -> bool:
    """Whether ``pattern`` (exact, ``*`` or ``*.suffix``) covers ``host``. ``*.foo.com`` does not cover ``foo.com``."""
    if not pattern.startswith("*"):
        return pattern == host
    return pattern == host or (len(host) > len(pattern) - 1 and host.endswith(pattern[1:]))


def specificity(host: str) -> tuple[int, int, str]:
    """A sort key: exact before wildcard, then longer first, then alphabetical (Istio's MoreSpecific)."""
    return (1 if host.startswith("*") else 0, -len(host), host)


def most_specific(patterns: Iterable[str], host: str) -> str | None:
    """The most specific pattern that covers ``host``, or None."""
    return min((p for p in patterns if matches(p, host)), key=specificity, default=None)


def expand_short_name(host: str, namespace: str, exists: Callable[[str], bool]) -> tuple[str, ...]:
    """What ``host`` may mean for an object in ``namespace``: one candidate is an answer, several are a conflict.

    A host with a dot, an IPv6 address or a wildcard means itself. Otherwise the candidates are, in order, the name
    within the object's namespace, then below each of ``SHORT_NAME_SUFFIXES``; only those that exist count.
    An empty answer means that nothing has that name.
    """
    if "." in host or ":" in host or host.startswith("*"):
        return (host,)
    candidates = (f"{host}.{namespace}", *(f"{host}.{suffix}" for suffix in SHORT_NAME_SUFFIXES))
    return tuple(c for c in candidates if exists(c))

"""Which hosts exist, what a short name means, and what to say about one that leads nowhere."""

from collections.abc import Collection, Iterator
from typing import Final

from pilothouse.config.findings import Finding, Path, did_you_mean, nearest, one_of
from pilothouse.config.rules import is_ip
from pilothouse.kit import codes
from pilothouse.kit.problem import ProblemCode
from pilothouse.model.hosts import expand_short_name, matches

_VERY_LIKE: Final = 0.9
"""How alike two whole names must be; names of one domain are alike by their ends alone."""


class KnownHosts:
    """The hosts of all services, exact ones and wildcards of ServiceEntries."""

    def __init__(self, hosts: Collection[str]) -> None:
        lower = {host.lower() for host in hosts}
        self._exact = frozenset(host for host in lower if "*" not in host)
        self._wildcards = tuple(sorted(host for host in lower if "*" in host))
        self._namesakes: dict[str, list[str]] = {}
        for host in sorted(self._exact):
            self._namesakes.setdefault(host.partition(".")[0], []).append(host)
        self._offered: dict[str, str] = {}

    def full_name(self, host: str, namespace: str) -> str:
        """What ``host`` means for an object in ``namespace``; itself if that is not clear."""
        candidates = expand_short_name(host.lower(), namespace, self._exact.__contains__)
        return candidates[0] if len(candidates) == 1 else host

    def check(self, path: Path, host: str, namespace: str, code: ProblemCode, what: str) -> Iterator[Finding]:
        """A finding if ``host`` means no service, or several. ``what`` says the consequence."""
        candidates = expand_short_name(host.lower(), namespace, self._exact.__contains__)
        if len(candidates) > 1:
            message = f"'{host}' may mean {one_of(candidates)}"
            yield Finding(codes.AMBIGUOUS_HOST, path, message, f"Write '{candidates[0]}', for example.")
        elif not candidates or not self._exists(candidates[0]):
            if host not in self._offered:
                self._offered[host] = self._nearest(host)
            yield Finding(code, path, f"no service is called '{host}' at present, {what}", self._offered[host])

    def _exists(self, host: str) -> bool:
        if host in self._exact or is_ip(host):
            return True
        if any(matches(pattern, host) or matches(host, pattern) for pattern in self._wildcards):
            return True
        return host.startswith("*") and any(matches(host, known) for known in self._exact)

    def _nearest(self, host: str) -> str:
        """What may have been meant: the same first label elsewhere, or a name that is spelt much the same."""
        namesakes = self._namesakes.get(host.partition(".")[0])
        if namesakes:
            return f"There is {one_of(namesakes[:3])}."
        if "." not in host:
            return did_you_mean(host, self._namesakes)
        label, _, rest = host.partition(".")
        misspelt = nearest(label, (first for first, known in self._namesakes.items() if f"{first}.{rest}" in known))
        found = f"{misspelt}.{rest}" if misspelt else nearest(host, self._exact, _VERY_LIKE)
        return f"Did you mean '{found}'?" if found else ""

"""Routes and matches of one VirtualService that no request can reach, because an earlier one takes them all.

Only what is certain is said: an earlier match covers a later one if both are the same, or if it asks for nothing but a
path that includes the later one's.
"""

from collections.abc import Iterator, Sequence

import msgspec

from pilothouse.config.findings import Finding, Path
from pilothouse.config.virtualservice import HTTPMatchRequest, HTTPRoute
from pilothouse.kit import codes


def check_reachable(path: Path, routes: Sequence[HTTPRoute]) -> Iterator[Finding]:
    """Warnings for unreachable routes and matches; ``path`` is that of the list of routes."""
    earlier = _Earlier()
    catch_all: int | None = None
    for index, route in enumerate(routes):
        where = (*path, index)
        if catch_all is not None:
            message = f"http[{catch_all}] takes every request, so this route is never used"
            yield Finding(codes.ROUTE_UNREACHABLE, where, message)
            continue
        for number, match in enumerate(route.match):
            covering = earlier.covering(match)
            if covering is not None:
                message = f"http[{covering}] takes every request that this match could match"
                yield Finding(codes.ROUTE_UNREACHABLE, (*where, "match", number), message)
            earlier.add(index, match)
        if not route.match:
            catch_all = index


class _Earlier:
    """The matches so far, kept so that a few look-ups answer."""

    def __init__(self) -> None:
        self._same: dict[bytes, int] = {}
        self._prefixes = _Prefixes()
        self._folded = _Prefixes()

    def add(self, index: int, match: HTTPMatchRequest) -> None:
        """Remember a match of the route ``index``."""
        self._same.setdefault(_condition(match), index)
        prefix = _whole_prefix(match)
        if prefix is None:
            return
        self._prefixes.add(prefix, index)
        if match.ignore_uri_case or prefix in ("", "/"):
            self._folded.add(prefix.lower(), index)

    def covering(self, match: HTTPMatchRequest) -> int | None:
        """The route that takes all that ``match`` could match."""
        path = _path_of(match)
        candidates = [self._same.get(_condition(match)), self._folded.first(path.lower())]
        if not match.ignore_uri_case:
            candidates.append(self._prefixes.first(path))
        return min((index for index in candidates if index is not None), default=None)


class _Prefixes:
    """Prefixes, each with the first route that has it."""

    def __init__(self) -> None:
        self._routes: dict[str, int] = {}
        self._lengths: set[int] = set()

    def add(self, prefix: str, index: int) -> None:
        """Remember a prefix."""
        self._routes.setdefault(prefix, index)
        self._lengths.add(len(prefix))

    def first(self, path: str) -> int | None:
        """The first route that has a prefix of ``path``."""
        found = (self._routes.get(path[:length]) for length in self._lengths if length <= len(path))
        return min((index for index in found if index is not None), default=None)


def _path_of(match: HTTPMatchRequest) -> str:
    """The text with which every matching path begins."""
    uri = match.uri
    if uri is None:
        return "/"
    return uri.exact if uri.exact is not None else uri.prefix if uri.prefix is not None else "/"


def _whole_prefix(match: HTTPMatchRequest) -> str | None:
    """The prefix for which ``match`` takes every request; None if it asks for more than a prefix."""
    alone = HTTPMatchRequest(uri=match.uri, ignore_uri_case=match.ignore_uri_case)
    if _condition(match) != _condition(alone):
        return None
    uri = match.uri
    if uri is None or uri.regex == ".*":
        return "/"
    return uri.prefix


def _condition(match: HTTPMatchRequest) -> bytes:
    """The match without what does not decide anything, as a key."""
    return msgspec.json.encode(msgspec.structs.replace(match, name="", stat_prefix=""), order="sorted")

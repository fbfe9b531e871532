"""Does a request match? Envoy's comparisons of texts, headers, query parameters and paths.

Used by ``routing``. Regular expressions compare the whole text, as Envoy does. What is not known here raises
``CannotTell``: a wrong guess would be worse than none.
"""

import re
from typing import Final

from envoy.config.route.v3 import route_components_pb2
from envoy.type.matcher.v3 import string_pb2

from pilothouse.simulate.request import Request

_POSIX: Final = {
    "alnum": "a-zA-Z0-9",
    "alpha": "a-zA-Z",
    "blank": " \\t",
    "digit": "0-9",
    "lower": "a-z",
    "space": " \\t\\n\\r\\f\\v",
    "upper": "A-Z",
    "word": "a-zA-Z0-9_",
    "xdigit": "0-9a-fA-F",
}
_POSIX_CLASS: Final = re.compile(r"\[:(\w+):\]")
_QUOTED: Final = re.compile(r"\\Q(.*?)(?:\\E|\Z)", re.DOTALL)


class CannotTell(Exception):
    """A construct that the simulation does not know. Caught in ``simulate_request``, which says so."""


def matches_regex(expression: str, text: str) -> bool:
    """Whether the whole ``text`` matches an RE2 expression."""
    try:
        return re.fullmatch(python_regex(expression), text, re.ASCII) is not None
    except re.error as fault:
        raise CannotTell(f"the regular expression {expression!r} ({fault})") from fault


def python_regex(expression: str) -> str:
    """An RE2 expression in Python's dialect, as far as the two differ in spelling only."""
    text = _QUOTED.sub(lambda found: re.escape(found[1]), expression)
    text = _POSIX_CLASS.sub(lambda found: _POSIX.get(found[1], found[0]), text)
    return text.replace(r"\z", r"\Z")


def matches_text(matcher: string_pb2.StringMatcher, text: str) -> bool:
    """Whether ``text`` is what a StringMatcher asks for."""
    kind = matcher.WhichOneof("match_pattern")
    if kind == "safe_regex":
        return matches_regex(matcher.safe_regex.regex, text)
    if kind not in ("exact", "prefix", "suffix", "contains"):
        raise CannotTell(f"a comparison by {kind}")
    wanted: str = getattr(matcher, kind)
    if matcher.ignore_case:
        wanted, text = wanted.lower(), text.lower()
    match kind:
        case "exact":
            return text == wanted
        case "prefix":
            return text.startswith(wanted)
        case "suffix":
            return text.endswith(wanted)
    return wanted in text


def matches_header(matcher: route_components_pb2.HeaderMatcher, request: Request) -> bool:
    """Whether the request has the header that is asked for.

    A missing header matches no comparison of its value, not even an inverted one, unless it counts as empty.
    """
    value = request.header(matcher.name)
    kind = matcher.WhichOneof("header_match_specifier")
    if kind in (None, "present_match"):
        wanted = True if kind is None else matcher.present_match
        return ((value is not None) == wanted) != matcher.invert_match
    if kind != "string_match":
        raise CannotTell(f"a header comparison by {kind}")
    if value is None:
        if not matcher.treat_missing_header_as_empty:
            return False
        value = ""
    return matches_text(matcher.string_match, value) != matcher.invert_match


def matches_query(matcher: route_components_pb2.QueryParameterMatcher, request: Request) -> bool:
    """Whether the request has the query parameter; the first of a name counts."""
    value = next((v for name, v in request.query if name == matcher.name), None)
    if value is None:
        return False
    if matcher.WhichOneof("query_parameter_match_specifier") == "string_match":
        return matches_text(matcher.string_match, value)
    return True


def matches_path(match: route_components_pb2.RouteMatch, request: Request) -> bool:
    """Whether the path is the one asked for. Regular expressions have their own flags for case."""
    path = request.bare_path
    kind = match.WhichOneof("path_specifier")
    if (kind == "connect_matcher") != (request.method == "CONNECT"):
        return False
    if kind == "connect_matcher":
        return True
    if kind == "safe_regex":
        return matches_regex(match.safe_regex.regex, path)
    if kind not in ("prefix", "path"):
        raise CannotTell(f"a path comparison by {kind}")
    wanted = match.prefix if kind == "prefix" else match.path
    if match.HasField("case_sensitive") and not match.case_sensitive.value:
        wanted, path = wanted.lower(), path.lower()
    return path.startswith(wanted) if kind == "prefix" else path == wanted


def matches_route(match: route_components_pb2.RouteMatch, request: Request) -> bool:
    """Whether everything holds that a route asks for."""
    unknown = [field.name for field, _ in match.ListFields() if field.name not in _KNOWN]
    if unknown:
        raise CannotTell(f"routes that ask for {', '.join(unknown)}")
    return (
        matches_path(match, request)
        and all(matches_header(h, request) for h in match.headers)
        and all(matches_query(q, request) for q in match.query_parameters)
    )


_KNOWN: Final = frozenset(
    ("prefix", "path", "safe_regex", "connect_matcher", "case_sensitive", "headers", "query_parameters")
)

"""Request matchers: from the view's comparisons to Envoy's."""

from typing import assert_never

from pilothouse.compiler.wire import Fields
from pilothouse.resolve.view import MatchKind, NamedMatch, RequestMatch, TextMatch


def route_match(match: RequestMatch) -> Fields:
    """A RouteMatch. Case sensitivity is stated only where a user's match exists, as istiod does."""
    fields: Fields = {"connect_matcher": {}} if match.connect else path_match(match.path)
    if match.conditional:
        fields["case_sensitive"] = {"value": not match.path.ignore_case}
    if match.headers:
        fields["headers"] = [header_match(m) for m in match.headers]
    if match.query:
        fields["query_parameters"] = [query_match(m) for m in match.query]
    return fields


def path_match(path: TextMatch) -> Fields:
    """The path specifier."""
    match path.kind:
        case MatchKind.EXACT:
            return {"path": path.value}
        case MatchKind.PREFIX | MatchKind.PRESENT:
            return {"prefix": path.value or "/"}
        case MatchKind.REGEX:
            return {"safe_regex": {"regex": path.value}}
    assert_never(path.kind)


def string_match(text: TextMatch) -> Fields:
    """A StringMatcher; PRESENT has none."""
    match text.kind:
        case MatchKind.EXACT:
            fields: Fields = {"exact": text.value}
        case MatchKind.PREFIX:
            fields = {"prefix": text.value}
        case MatchKind.REGEX:
            return {"safe_regex": {"regex": text.value}}
        case MatchKind.PRESENT:
            raise ValueError("presence is not a comparison of text")
    if text.ignore_case:
        fields["ignore_case"] = True
    return fields


def header_match(match: NamedMatch) -> Fields:
    """A HeaderMatcher. An inverted comparison also holds where the header is missing (Istio's withoutHeaders)."""
    fields: Fields = {"name": match.name}
    if match.text.kind is MatchKind.PRESENT:
        fields["present_match"] = True
    else:
        fields["string_match"] = string_match(match.text)
    if match.inverted:
        fields["invert_match"] = True
        if match.text.kind is not MatchKind.PRESENT:
            fields["treat_missing_header_as_empty"] = True
    return fields


def query_match(match: NamedMatch) -> Fields:
    """A QueryParameterMatcher."""
    if match.text.kind is MatchKind.PRESENT:
        return {"name": match.name, "present_match": True}
    return {"name": match.name, "string_match": string_match(match.text)}

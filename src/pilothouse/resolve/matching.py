"""A VirtualService's match block as a finished RequestMatch, and whether the block concerns these proxies at all.

``port``, ``gateways``, ``sourceLabels`` and ``sourceNamespace`` are decided here, per class; everything else is asked
by Envoy, per request. Source: istio-behaviour §2.1 and its corrections in §12.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from pilothouse.config.schema import StringMatch
from pilothouse.config.virtualservice import HTTPMatchRequest
from pilothouse.model.labels import Labels, labels_of
from pilothouse.resolve.view import ANY_PATH, MatchKind, NamedMatch, RequestMatch, TextMatch

MESH = "mesh"
"""The reserved gateway name that means: all sidecars."""


@dataclass(frozen=True, slots=True)
class Vantage:
    """From where routes are seen: which selectors match, in which namespace, by which gateway, on which port.

    ``gateways`` holds ``mesh`` for sidecars, or the names (``namespace/name``) of the Gateways of one listener.
    """

    namespace: str
    matched: frozenset[Labels]
    gateways: frozenset[str]
    port: int

    @property
    def is_sidecar(self) -> bool:
        """Whether sidecars look."""
        return MESH in self.gateways


def concerns(match: HTTPMatchRequest, gateways: tuple[str, ...], vantage: Vantage) -> bool:
    """Whether ``match`` can hold for these proxies. ``gateways`` are the block's own, already fully named.

    As in Istio, the source is not asked where the block names gateways.
    """
    if match.port and match.port != vantage.port:
        return False
    if gateways:
        return not vantage.gateways.isdisjoint(gateways)
    if match.source_labels and labels_of(match.source_labels) not in vantage.matched:
        return False
    return not match.source_namespace or match.source_namespace == vantage.namespace


def request_match(match: HTTPMatchRequest) -> RequestMatch:
    """What Envoy has to compare. Headers in order of name, then method, authority and scheme, as istiod has it."""
    headers = [named(name, text) for name, text in sorted(match.headers.items())]
    headers += [named(name, text, inverted=True) for name, text in sorted(match.without_headers.items())]
    for pseudo, text in ((":method", match.method), (":authority", match.authority), (":scheme", match.scheme)):
        if text is not None:
            headers.append(named(pseudo, text))
    return RequestMatch(
        path=path(match.uri, ignore_case=match.ignore_uri_case),
        headers=tuple(headers),
        query=queries(match.query_params),
        conditional=True,
    )


def path(uri: StringMatch | None, *, ignore_case: bool) -> TextMatch:
    """The path comparison; everything where none is written."""
    if uri is None:
        return ANY_PATH if not ignore_case else TextMatch(MatchKind.PREFIX, "/", ignore_case=True)
    text = text_match(uri)
    if text.kind is MatchKind.PRESENT:
        return ANY_PATH
    return TextMatch(text.kind, text.value, ignore_case)


def queries(params: Mapping[str, StringMatch]) -> tuple[NamedMatch, ...]:
    """Query parameters, in order of name."""
    return tuple(named(name, text) for name, text in sorted(params.items()))


def named(name: str, text: StringMatch, *, inverted: bool = False) -> NamedMatch:
    """A comparison of one header or parameter."""
    return NamedMatch(name, text_match(text), inverted)


def text_match(text: StringMatch) -> TextMatch:
    """A comparison; without any field set it asks for presence only."""
    if text.exact is not None:
        return TextMatch(MatchKind.EXACT, text.exact)
    if text.prefix is not None:
        return TextMatch(MatchKind.PREFIX, text.prefix)
    if text.regex is not None:
        return TextMatch(MatchKind.REGEX, text.regex)
    return TextMatch(MatchKind.PRESENT)

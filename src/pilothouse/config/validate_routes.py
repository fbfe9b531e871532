"""Istio's rules for what a route does: destinations and weights, redirect, direct response, rewrite, retries, faults.

Source: istiod's ``validateHTTPRoute`` and its helpers, corrected by the recorded answers (reference §2.1 and §12), and
by what Envoy refuses (a redirect code other than the five that it has).
"""

from collections.abc import Iterator, Sequence
from typing import Final

from pilothouse.config.findings import Finding, Path, did_you_mean, one_of
from pilothouse.config.headers import check_headers, check_one_authority, check_plain
from pilothouse.config.rules import (
    check_dns_label,
    check_duration,
    check_host,
    check_not_negative,
    check_percentage,
    check_port,
)
from pilothouse.config.served import not_served
from pilothouse.config.virtualservice import (
    Abort,
    Delay,
    Destination,
    HTTPDirectResponse,
    HTTPFaultInjection,
    HTTPRedirect,
    HTTPRetry,
    HTTPRewrite,
    HTTPRoute,
    HTTPRouteDestination,
)
from pilothouse.kit import codes

REDIRECT_CODES: Final = (301, 302, 303, 307, 308)
MAX_BODY: Final = 1024 * 1024
"""Bytes of a direct response, istiod's limit."""
MAX_WEIGHT: Final = 2**32 - 1
"""Envoy's limit for the sum of the weights of a split."""
RETRY_CONDITIONS: Final = (
    "5xx",
    "gateway-error",
    "reset",
    "reset-before-request",
    "connect-failure",
    "retriable-4xx",
    "refused-stream",
    "retriable-status-codes",
    "retriable-headers",
    "envoy-ratelimited",
    "http3-post-connect-failure",
    "cancelled",
    "deadline-exceeded",
    "internal",
    "resource-exhausted",
    "unavailable",
)
GRPC_STATUSES: Final = (
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
)
"""Names of gRPC status codes, in the order of their numbers from 0."""

_STATUS_RANGES: Final = ((100, 104), (200, 209), (226, 227), (300, 309), (400, 419), (421, 427), (428, 432), (451, 452))
_SERVER_STATUSES: Final = (500, 501, 502, 503, 504, 505, 506, 507, 508, 510, 511)
_HTTP_STATUSES: Final = frozenset(
    str(code) for code in (*(code for first, end in _STATUS_RANGES for code in range(first, end)), *_SERVER_STATUSES)
)
"""The status codes that Go's ``net/http`` has a text for, which is what istiod asks."""


def check_route(path: Path, route: HTTPRoute) -> Iterator[Finding]:
    """One rule of ``spec.http``, without its matches."""
    yield from check_actions(path, route)
    yield from check_destinations((*path, "route"), route.route)
    yield from check_redirect((*path, "redirect"), route)
    yield from check_direct_response((*path, "directResponse"), route.direct_response)
    yield from check_rewrite((*path, "rewrite"), route.rewrite)
    yield from check_retries((*path, "retries"), route.retries)
    yield from check_fault((*path, "fault"), route.fault)
    yield from check_duration((*path, "timeout"), route.timeout)
    yield from check_headers((*path, "headers"), route.headers)
    yield from check_one_authority(path, route.rewrite, route.headers)


def check_actions(path: Path, route: HTTPRoute) -> Iterator[Finding]:
    """One action only; the answers that Envoy gives itself exclude what changes a request on its way."""
    if route.delegate is not None:
        return
    answers = {"redirect": route.redirect, "directResponse": route.direct_response}
    given = [name for name, answer in answers.items() if answer is not None]
    others = {"route": bool(route.route), "fault": route.fault is not None, "rewrite": route.rewrite is not None}
    if not given and not route.route:
        remedy = "Add a route with a destination, a redirect or a directResponse."
        yield Finding(codes.MISSING_FIELD, path, "the route says nothing of what happens to the request", remedy)
    if len(given) > 1:
        yield Finding(codes.CONFLICTING_FIELDS, path, "redirect and directResponse exclude each other")
    for answer in given:
        for other, is_set in others.items():
            if is_set:
                yield Finding(codes.CONFLICTING_FIELDS, path, f"{answer} and {other} exclude each other")


def check_destinations(path: Path, shares: Sequence[HTTPRouteDestination]) -> Iterator[Finding]:
    """The shares of a split. Weights are relative; they need not add up to 100."""
    for index, share in enumerate(shares):
        where = (*path, index)
        if share.destination is None:
            yield Finding(codes.MISSING_FIELD, (*where, "destination"), "the route has no destination")
        else:
            yield from check_destination((*where, "destination"), share.destination)
        yield from check_not_negative((*where, "weight"), share.weight)
        yield from check_headers((*where, "headers"), share.headers)
    total = sum(share.weight for share in shares)
    if len(shares) > 1 and total == 0:
        remedy = "Give at least one destination a weight above 0."
        yield Finding(codes.INVALID_VALUE, path, f"the {len(shares)} destinations have no weight at all", remedy)
    if total > MAX_WEIGHT:
        yield Finding(codes.OUT_OF_RANGE, path, f"the weights add up to {total}, more than {MAX_WEIGHT}")


def check_destination(path: Path, destination: Destination) -> Iterator[Finding]:
    """A host, and well-formed names of subset and port."""
    if destination.host == "*":
        yield Finding(codes.INVALID_HOST, (*path, "host"), "'*' is not a host that a request can be sent to")
    else:
        yield from check_host((*path, "host"), destination.host)
    if destination.subset:
        yield from check_dns_label((*path, "subset"), "subset name", destination.subset)
    if destination.port is not None:
        yield from check_port((*path, "port", "number"), destination.port.number)


def check_redirect(path: Path, route: HTTPRoute) -> Iterator[Finding]:
    """A redirect that changes something, with a code that Envoy has."""
    redirect = route.redirect
    if redirect is None:
        return
    yield from _check_redirect_target(path, redirect)
    parts = (("uri", redirect.uri), ("authority", redirect.authority), ("prefixRewrite", redirect.prefix_rewrite))
    for name, value in parts:
        yield from check_plain((*path, name), value)
    if redirect.prefix_rewrite and any(match.uri is not None and match.uri.prefix is None for match in route.match):
        message = "prefixRewrite needs matches by uri prefix"
        yield Finding(codes.INVALID_VALUE, (*path, "prefixRewrite"), message, "Use 'uri' instead, or match by prefix.")
    if redirect.redirect_code and redirect.redirect_code not in REDIRECT_CODES:
        message = f"Envoy does not redirect with {redirect.redirect_code}"
        remedy = f"Use {one_of(map(str, REDIRECT_CODES))}."
        yield Finding(codes.INVALID_VALUE, (*path, "redirectCode"), message, remedy)
    if redirect.scheme not in ("", "http", "https"):
        yield Finding(
            codes.INVALID_VALUE,
            (*path, "scheme"),
            f"'{redirect.scheme}' is neither http nor https",
            "Write one of these.",
        )
    if redirect.port:
        yield from check_port((*path, "port"), redirect.port)


def _check_redirect_target(path: Path, redirect: HTTPRedirect) -> Iterator[Finding]:
    has_port = redirect.port is not None or redirect.derive_port is not None
    if not (redirect.uri or redirect.prefix_rewrite or redirect.authority or redirect.scheme or has_port):
        remedy = "Set uri, prefixRewrite, authority, scheme or port."
        yield Finding(codes.MISSING_FIELD, path, "the redirect changes nothing", remedy)
    if redirect.uri and redirect.prefix_rewrite:
        yield Finding(codes.CONFLICTING_FIELDS, path, "uri and prefixRewrite exclude each other")
    if redirect.port is not None and redirect.derive_port is not None:
        yield Finding(codes.CONFLICTING_FIELDS, path, "port and derivePort exclude each other")


def check_direct_response(path: Path, response: HTTPDirectResponse | None) -> Iterator[Finding]:
    """A status that can be answered, and a body of bearable size."""
    if response is None:
        return
    if not 200 <= response.status <= 599:
        message = f"the status {response.status} is not between 200 and 599"
        yield Finding(codes.OUT_OF_RANGE, (*path, "status"), message)
    body = response.body
    if body is None:
        return
    if body.string is not None and body.bytes is not None:
        yield Finding(codes.CONFLICTING_FIELDS, (*path, "body"), "string and bytes exclude each other")
    size = len((body.string or "").encode())
    if size > MAX_BODY:
        message = f"the body has {size} bytes, more than {MAX_BODY}"
        yield Finding(codes.OUT_OF_RANGE, (*path, "body", "string"), message)


def check_rewrite(path: Path, rewrite: HTTPRewrite | None) -> Iterator[Finding]:
    """Something is rewritten, and the path only once."""
    if rewrite is None:
        return
    if not (rewrite.uri or rewrite.authority or rewrite.uri_regex_rewrite):
        yield Finding(codes.MISSING_FIELD, path, "the rewrite changes nothing", "Set uri or authority.")
    if rewrite.uri and rewrite.uri_regex_rewrite:
        yield Finding(codes.CONFLICTING_FIELDS, path, "uri and uriRegexRewrite exclude each other")
    yield from check_plain((*path, "uri"), rewrite.uri)
    yield from check_plain((*path, "authority"), rewrite.authority)


def check_retries(path: Path, retries: HTTPRetry | None) -> Iterator[Finding]:
    """Attempts, times and conditions. Conditions without attempts are refused, as istiod does."""
    if retries is None:
        return
    yield from check_not_negative((*path, "attempts"), retries.attempts)
    yield from check_duration((*path, "perTryTimeout"), retries.per_try_timeout)
    yield from check_duration((*path, "backoff"), retries.backoff)
    further = retries.per_try_timeout is not None or retries.retry_on or retries.retry_remote_localities is not None
    if retries.attempts == 0 and further:
        remedy = "Set attempts to 1 or more, or leave the other fields out to switch retries off."
        yield Finding(codes.CONFLICTING_FIELDS, path, "retries are described, but attempts is 0", remedy)
    for word in retries.retry_on.split(",") if retries.retry_on else ():
        yield from _check_condition((*path, "retryOn"), word)


def _check_condition(path: Path, word: str) -> Iterator[Finding]:
    if word in RETRY_CONDITIONS or word in _HTTP_STATUSES:
        return
    if word != word.strip() and word.strip() in (*RETRY_CONDITIONS, *_HTTP_STATUSES):
        remedy = "Separate the conditions by commas alone."
        yield Finding(codes.INVALID_VALUE, path, f"there is a space beside the condition '{word.strip()}'", remedy)
    else:
        remedy = did_you_mean(word.strip(), RETRY_CONDITIONS) or f"Use {one_of(RETRY_CONDITIONS)}, or a status code."
        yield Finding(codes.UNKNOWN_VALUE, path, f"'{word}' is not a condition for retries", remedy)


def check_fault(path: Path, fault: HTTPFaultInjection | None) -> Iterator[Finding]:
    """A delay, an abort or both."""
    if fault is None:
        return
    if fault.delay is None and fault.abort is None:
        yield Finding(codes.MISSING_FIELD, path, "the fault is neither a delay nor an abort", "Add delay or abort.")
    if fault.delay is not None:
        yield from _check_delay((*path, "delay"), fault.delay)
    if fault.abort is not None:
        yield from _check_abort((*path, "abort"), fault.abort)


def _check_delay(path: Path, delay: Delay) -> Iterator[Finding]:
    yield from check_percentage((*path, "percentage"), delay.percentage)
    yield from check_duration((*path, "fixedDelay"), delay.fixed_delay)
    if delay.exponential_delay is not None:
        yield not_served((*path, "exponentialDelay"), "an exponential delay (Istio does not serve it either)")
    if delay.fixed_delay is None and delay.exponential_delay is None:
        yield Finding(codes.NO_EFFECT, path, "the delay has no fixedDelay, so nothing is delayed", "Add fixedDelay.")
    elif delay.percentage is None:
        remedy = "Add 'percentage: {value: 100}' to delay every request."
        yield Finding(codes.NO_EFFECT, path, "the delay has no percentage, so no request is delayed", remedy)


def _check_abort(path: Path, abort: Abort) -> Iterator[Finding]:
    yield from check_percentage((*path, "percentage"), abort.percentage)
    given = [name for name in ("http_status", "grpc_status", "http2_error") if getattr(abort, name) is not None]
    if len(given) > 1:
        yield Finding(codes.CONFLICTING_FIELDS, path, "httpStatus, grpcStatus and http2Error exclude each other")
    if abort.http2_error is not None:
        yield not_served((*path, "http2Error"), "aborting with an HTTP/2 error (Istio does not serve it either)")
    if abort.http_status is not None and not 200 <= abort.http_status <= 599:
        message = f"the status {abort.http_status} is not between 200 and 599"
        yield Finding(codes.OUT_OF_RANGE, (*path, "httpStatus"), message)
    if abort.grpc_status is not None and abort.grpc_status not in GRPC_STATUSES:
        remedy = did_you_mean(abort.grpc_status, GRPC_STATUSES) or "Write a name such as UNAVAILABLE or NOT_FOUND."
        message = f"'{abort.grpc_status}' is not a gRPC status"
        yield Finding(codes.UNKNOWN_VALUE, (*path, "grpcStatus"), message, remedy)
    if not given:
        remedy = "Add httpStatus or grpcStatus."
        yield Finding(codes.NO_EFFECT, path, "the abort has no status, so no request is aborted", remedy)
    elif abort.percentage is None:
        remedy = "Add 'percentage: {value: 100}' to abort every request."
        yield Finding(codes.NO_EFFECT, path, "the abort has no percentage, so no request is aborted", remedy)

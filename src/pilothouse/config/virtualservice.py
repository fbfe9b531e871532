"""VirtualService: ``networking/v1alpha3/virtual_service.proto`` as typed values, and what of it is not served yet.

Rules on the values are in ``validate_virtualservice`` and ``validate_routes``.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from msgspec import field

from pilothouse.config.duration import Duration
from pilothouse.config.schema import Int32, Message, Percent, PortSelector, StringMatch, UInt32


class Destination(Message, frozen=True):
    """A service, by host, and optionally one of its subsets and ports."""

    host: str = ""
    subset: str = ""
    port: PortSelector | None = None


class HeaderOperations(Message, frozen=True):
    """What happens to headers: overwritten, appended, removed."""

    set_: Mapping[str, str] = field(name="set", default_factory=dict)
    add: Mapping[str, str] = field(default_factory=dict)
    remove: tuple[str, ...] = ()


class Headers(Message, frozen=True):
    """Header changes on the way to the upstream and on the way back."""

    request: HeaderOperations | None = None
    response: HeaderOperations | None = None


class HTTPMatchRequest(Message, frozen=True):
    """What a request must look like; all that is set must hold."""

    name: str = ""
    uri: StringMatch | None = None
    scheme: StringMatch | None = None
    method: StringMatch | None = None
    authority: StringMatch | None = None
    headers: Mapping[str, StringMatch] = field(default_factory=dict)
    port: UInt32 = 0
    source_labels: Mapping[str, str] = field(default_factory=dict)
    gateways: tuple[str, ...] = ()
    query_params: Mapping[str, StringMatch] = field(default_factory=dict)
    ignore_uri_case: bool = False
    without_headers: Mapping[str, StringMatch] = field(default_factory=dict)
    source_namespace: str = ""
    stat_prefix: str = ""


class HTTPRouteDestination(Message, frozen=True):
    """One share of a split."""

    destination: Destination | None = None
    weight: Int32 = 0
    headers: Headers | None = None


class RedirectPortSelection(StrEnum):
    """Where a redirect takes its port from."""

    FROM_PROTOCOL_DEFAULT = "FROM_PROTOCOL_DEFAULT"
    FROM_REQUEST_PORT = "FROM_REQUEST_PORT"


class HTTPRedirect(Message, frozen=True):
    """An answer that sends the client elsewhere. ``port`` and ``derive_port`` exclude each other."""

    uri: str = ""
    authority: str = ""
    port: UInt32 | None = None
    derive_port: RedirectPortSelection | None = None
    scheme: str = ""
    redirect_code: UInt32 = 0
    prefix_rewrite: str = ""


class HTTPBody(Message, frozen=True):
    """a body as text, or as base64 bytes."""

    string: str | None = None
    bytes: str | None = None


class HTTPDirectResponse(Message, frozen=True):
    """A fixed answer."""

    status: UInt32 = 0
    body: HTTPBody | None = None


class Delegate(Message, frozen=True):
    """The VirtualService that holds the routes below this one."""

    name: str = ""
    namespace: str = ""


class RegexRewrite(Message, frozen=True):
    """A rewrite of the path by RE2 match and substitution."""

    match: str = ""
    rewrite: str = ""


class HTTPRewrite(Message, frozen=True):
    """What is rewritten before the request goes on."""

    uri: str = ""
    authority: str = ""
    uri_regex_rewrite: RegexRewrite | None = None


class HTTPRetry(Message, frozen=True):
    """Retries beyond the first try; ``attempts`` 0 switches them off."""

    attempts: Int32 = 0
    per_try_timeout: Duration | None = None
    retry_on: str = ""
    retry_remote_localities: bool | None = None
    retry_ignore_previous_hosts: bool | None = None
    backoff: Duration | None = None


class Delay(Message, frozen=True):
    """Hold a share of the requests. Without ``percentage`` none is held."""

    fixed_delay: Duration | None = None
    exponential_delay: Duration | None = None
    percentage: Percent | None = None


class Abort(Message, frozen=True):
    """Answer a share of the requests with an error. Without ``percentage`` none is."""

    http_status: Int32 | None = None
    grpc_status: str | None = None
    http2_error: str | None = None
    percentage: Percent | None = None


class HTTPFaultInjection(Message, frozen=True):
    """Faults put in before the request goes on."""

    delay: Delay | None = None
    abort: Abort | None = None


class HTTPMirrorPolicy(Message, frozen=True):
    """A copy of the traffic."""

    destination: Destination | None = None
    percentage: Percent | None = None


class UnmatchedPreflights(StrEnum):
    """What happens to a preflight from an origin that is not allowed."""

    UNSPECIFIED = "UNSPECIFIED"
    FORWARD = "FORWARD"
    IGNORE = "IGNORE"


class CorsPolicy(Message, frozen=True):
    """Cross-origin resource sharing."""

    allow_origin: tuple[str, ...] = ()
    allow_origins: tuple[StringMatch, ...] = ()
    allow_methods: tuple[str, ...] = ()
    allow_headers: tuple[str, ...] = ()
    expose_headers: tuple[str, ...] = ()
    max_age: Duration | None = None
    allow_credentials: bool | None = None
    unmatched_preflights: UnmatchedPreflights = UnmatchedPreflights.UNSPECIFIED


class HTTPRoute(Message, frozen=True):
    """One rule: who matches (any of ``match``), and what happens to the request."""

    name: str = ""
    match: tuple[HTTPMatchRequest, ...] = ()
    route: tuple[HTTPRouteDestination, ...] = ()
    redirect: HTTPRedirect | None = None
    direct_response: HTTPDirectResponse | None = None
    delegate: Delegate | None = None
    rewrite: HTTPRewrite | None = None
    timeout: Duration | None = None
    retries: HTTPRetry | None = None
    fault: HTTPFaultInjection | None = None
    mirror: Destination | None = None
    mirrors: tuple[HTTPMirrorPolicy, ...] = ()
    mirror_percentage: Percent | None = None
    cors_policy: CorsPolicy | None = None
    headers: Headers | None = None


class RouteDestination(Message, frozen=True):
    """One share of a split of connections."""

    destination: Destination | None = None
    weight: Int32 = 0


class L4MatchAttributes(Message, frozen=True):
    """What a TCP connection must look like."""

    destination_subnets: tuple[str, ...] = ()
    port: UInt32 = 0
    source_subnet: str = ""
    source_labels: Mapping[str, str] = field(default_factory=dict)
    gateways: tuple[str, ...] = ()
    source_namespace: str = ""


class TLSMatchAttributes(Message, frozen=True):
    """What a TLS connection must look like."""

    sni_hosts: tuple[str, ...] = ()
    destination_subnets: tuple[str, ...] = ()
    port: UInt32 = 0
    source_labels: Mapping[str, str] = field(default_factory=dict)
    gateways: tuple[str, ...] = ()
    source_namespace: str = ""


class TLSRoute(Message, frozen=True):
    """A rule for TLS connections that are not terminated."""

    match: tuple[TLSMatchAttributes, ...] = ()
    route: tuple[RouteDestination, ...] = ()


class TCPRoute(Message, frozen=True):
    """A rule for TCP connections."""

    match: tuple[L4MatchAttributes, ...] = ()
    route: tuple[RouteDestination, ...] = ()


class VirtualService(Message, frozen=True):
    """Routing rules for some hosts. No ``gateways`` means the sidecars (``mesh``)."""

    hosts: tuple[str, ...] = ()
    gateways: tuple[str, ...] = ()
    http: tuple[HTTPRoute, ...] = ()
    tls: tuple[TLSRoute, ...] = ()
    tcp: tuple[TCPRoute, ...] = ()
    export_to: tuple[str, ...] = ()


NOT_SERVED: Final = {
    "tls": "routing of TLS connections",
    "tcp": "routing of TCP connections",
    "http[].delegate": "delegation to another VirtualService",
    "http[].mirror": "mirroring of traffic",
    "http[].mirrors": "mirroring of traffic",
    "http[].mirrorPercentage": "mirroring of traffic",
    "http[].corsPolicy": "a CORS policy",
    "http[].rewrite.uriRegexRewrite": "rewriting the path by regular expression",
    "http[].directResponse.body.bytes": "a body given as base64 bytes",
}
"""Path pattern (``[]`` stands for every item) → what a user must not expect yet."""

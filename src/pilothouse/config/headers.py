"""Names and values of headers that Envoy is to match, set, add or remove.

istiod refuses pseudo headers other than ``:authority``; Envoy 1.40 refuses a whole route configuration for one value
with a command that it does not know. Both are found here.
"""

import re
from collections.abc import Iterator
from typing import Final

from pilothouse.config.findings import Finding, Path, did_you_mean
from pilothouse.config.virtualservice import HeaderOperations, Headers, HTTPRewrite
from pilothouse.kit import codes

PSEUDO_HEADERS: Final = frozenset({":method", ":scheme", ":authority", ":path", ":status"})
CLAIM_PREFIX: Final = "@request.auth.claims"
"""Header names that begin so stand for JWT claims."""

_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)
_CONTROL: Final = re.compile("[\x00-\x08\x0a-\x1f\x7f]")
MAX_VALUE: Final = 16_384
"""Bytes of a header value that Envoy accepts in its configuration."""
_COMMAND: Final = re.compile(r"%(?:%|([A-Z0-9_]+)(\([^)]{1,255}\))?(:[0-9]{1,5})?%)", re.ASCII)

_DOWNSTREAM: Final = (
    "CX_RTT DECOMPRESSED_HEADER_BYTES_RECEIVED DECOMPRESSED_HEADER_BYTES_SENT DETECTED_CLOSE_TYPE "
    "DIRECT_LOCAL_ADDRESS DIRECT_LOCAL_ADDRESS_ENDPOINT_ID DIRECT_LOCAL_ADDRESS_WITHOUT_PORT DIRECT_LOCAL_PORT "
    "DIRECT_REMOTE_ADDRESS DIRECT_REMOTE_ADDRESS_WITHOUT_PORT DIRECT_REMOTE_PORT HANDSHAKE_DURATION "
    "HEADER_BYTES_RECEIVED HEADER_BYTES_SENT LOCAL_ADDRESS LOCAL_ADDRESS_ENDPOINT_ID LOCAL_ADDRESS_WITHOUT_PORT "
    "LOCAL_CLOSE_REASON LOCAL_DNS_SAN LOCAL_EMAIL_SAN LOCAL_IP_SAN LOCAL_OTHERNAME_SAN LOCAL_PORT LOCAL_SUBJECT "
    "LOCAL_URI_SAN PEER_CERT PEER_CHAIN_FINGERPRINTS_1 PEER_CHAIN_FINGERPRINTS_256 PEER_CHAIN_SERIALS "
    "PEER_DNS_SAN PEER_EMAIL_SAN PEER_FINGERPRINT_1 PEER_FINGERPRINT_256 PEER_IP_SAN PEER_ISSUER "
    "PEER_ISSUER_FINGERPRINT_256 PEER_ISSUER_SERIAL PEER_OTHERNAME_SAN PEER_SERIAL PEER_SUBJECT PEER_URI_SAN "
    "REMOTE_ADDRESS REMOTE_ADDRESS_WITHOUT_PORT REMOTE_PORT TLS_CIPHER TLS_GROUP TLS_SESSION_ID TLS_VERSION "
    "TRANSPORT_FAILURE_REASON WIRE_BYTES_RECEIVED WIRE_BYTES_SENT"
)
_UPSTREAM: Final = (
    "CLUSTER CLUSTER_RAW CONNECTION_ID HOST HOST_NAME HOST_NAMES_ATTEMPTED HOST_NAMES_ATTEMPTED_WITHOUT_PORT "
    "HOST_NAME_WITHOUT_PORT LOCAL_ADDRESS LOCAL_ADDRESS_WITHOUT_PORT LOCAL_CLOSE_REASON LOCAL_DNS_SAN "
    "LOCAL_IP_SAN LOCAL_PORT LOCAL_URI_SAN PEER_CERT PEER_DNS_SAN PEER_IP_SAN PEER_ISSUER PEER_SUBJECT "
    "PEER_URI_SAN PROTOCOL REMOTE_ADDRESS REMOTE_ADDRESS_ENDPOINT_ID REMOTE_ADDRESS_WITHOUT_PORT REMOTE_PORT "
    "REQUEST_ATTEMPT_COUNT SERVER_NAME TLS_CIPHER TLS_GROUP TLS_SESSION_ID TLS_VERSION TRANSPORT_FAILURE_REASON "
    "WIRE_BYTES_RECEIVED WIRE_BYTES_SENT"
)
_OTHER: Final = (
    "ACCESS_LOG_TYPE BYTES_RECEIVED BYTES_RETRANSMITTED BYTES_SENT CONNECTION_ID CONNECTION_TERMINATION_DETAILS "
    "CUSTOM_FLAGS DURATION FILTER_CHAIN_NAME GRPC_STATUS_NUMBER HOSTNAME LISTENER_NAME LOCAL_REPLY_BODY PROTOCOL "
    "REQUESTED_SERVER_NAME REQUEST_DURATION REQUEST_HEADERS_BYTES REQUEST_TX_DURATION RESPONSE_CODE "
    "RESPONSE_CODE_DETAILS RESPONSE_DURATION RESPONSE_FLAGS RESPONSE_FLAGS_LONG RESPONSE_HEADERS_BYTES "
    "RESPONSE_TRAILERS_BYTES RESPONSE_TX_DURATION ROUNDTRIP_DURATION ROUTE_NAME SPAN_ID STREAM_ID "
    "TLS_JA3_FINGERPRINT TLS_JA4_FINGERPRINT TRACE_ID UNIQUE_ID VIRTUAL_CLUSTER_NAME"
)
_BARE: Final = frozenset(
    [f"DOWNSTREAM_{name}" for name in _DOWNSTREAM.split()]
    + [f"UPSTREAM_{name}" for name in _UPSTREAM.split()]
    + _OTHER.split()
)
"""Commands without an argument that Envoy 1.40 accepts in a header."""
_EITHER_WORDS: Final = (
    "DOWNSTREAM_PEER_CERT_V_END DOWNSTREAM_PEER_CERT_V_START EMIT_TIME EMIT_TIME_LOCAL GRPC_STATUS PATH "
    "QUERY_PARAMS START_TIME START_TIME_LOCAL UPSTREAM_PEER_CERT_V_END UPSTREAM_PEER_CERT_V_START"
)
_EITHER: Final = frozenset(_EITHER_WORDS.split())
"""Commands that may have an argument."""
_ARGUMENT_WORDS: Final = (
    "REQ RESP TRAILER REQUEST_HEADER RESPONSE_HEADER RESPONSE_TRAILER STREAM_INFO_REQ QUERY_PARAM ENVIRONMENT CEL "
    "METADATA DYNAMIC_METADATA CLUSTER_METADATA UPSTREAM_METADATA FILTER_STATE UPSTREAM_FILTER_STATE "
    "COMMON_DURATION PER_REQUEST_STATE"
)
_WITH_ARGUMENT: Final = frozenset(_ARGUMENT_WORDS.split())
"""Commands that need an argument; only these may be cut to a length (``%REQ(x):10%``)."""


def check_header_name(path: Path, name: str) -> Iterator[Finding]:
    """The name of a header that is matched: a token, or a pseudo header."""
    if name not in PSEUDO_HEADERS and not _TOKEN.fullmatch(name):
        yield Finding(codes.INVALID_HEADER, path, f"'{name}' is not a valid header name", at_key=True)


def check_headers(path: Path, headers: Headers | None) -> Iterator[Finding]:
    """Header changes of a route or of one of its destinations."""
    if headers is None:
        return
    for where, operations in (("request", headers.request), ("response", headers.response)):
        if operations is not None:
            yield from _check_operations((*path, where), operations, authority=where == "request")


def _check_operations(path: Path, operations: HeaderOperations, *, authority: bool) -> Iterator[Finding]:
    for verb, values in (("set", operations.set_), ("add", operations.add)):
        for name, value in values.items():
            where = (*path, verb, name)
            yield from _check_changed_name(where, name, authority=authority)
            yield from check_header_value(where, value)
    for index, name in enumerate(operations.remove):
        yield from _check_changed_name((*path, "remove", index), name, authority=False)


def _check_changed_name(path: Path, name: str, *, authority: bool) -> Iterator[Finding]:
    if is_authority(name):
        if not authority:
            message = f"'{name}' can be set on requests only, and cannot be removed"
            yield Finding(codes.INVALID_HEADER, path, message, at_key=True)
    elif name.startswith(":"):
        message = f"the pseudo header '{name}' cannot be changed"
        yield Finding(codes.INVALID_HEADER, path, message, "Only ':authority' can be set.", at_key=True)
    elif not _TOKEN.fullmatch(name):
        yield Finding(codes.INVALID_HEADER, path, f"'{name}' is not a valid header name", at_key=True)


def check_header_value(path: Path, value: str) -> Iterator[Finding]:
    """A value without control characters, whose ``%COMMAND%`` parts Envoy knows."""
    if _CONTROL.search(value):
        yield Finding(codes.INVALID_HEADER, path, "the header's value has a control character")
        return
    if len(value.encode()) > MAX_VALUE:
        yield Finding(codes.INVALID_HEADER, path, f"the header's value has more than {MAX_VALUE} bytes")
        return
    faults = (_command_fault(command) for command in _COMMAND.finditer(value))
    message, remedy = next((fault for fault in faults if fault[0]), ("", ""))
    if message:
        yield Finding(codes.INVALID_HEADER, path, message, remedy)
    elif "%" in _COMMAND.sub("", value):
        message = f"'{value}' has a '%' that begins no command"
        yield Finding(codes.INVALID_HEADER, path, message, "Write '%%' for a '%'.")


def _command_fault(command: re.Match[str]) -> tuple[str, str]:
    """Message and remedy for a command that Envoy refuses; both empty for one that it accepts."""
    name, argument, length = command[1], command[2], command[3]
    if name in _BARE and (argument or length):
        return f"Envoy's command %{name}% takes no argument and no length", f"Write %{name}%."
    if name in _EITHER and length:
        return f"Envoy's command %{name}% takes no length", ""
    if name in _WITH_ARGUMENT and not argument:
        return f"Envoy's command %{name}% needs an argument", f"Write %{name}(...)%."
    if name is None or name in _BARE | _EITHER | _WITH_ARGUMENT:
        return "", ""
    return f"Envoy has no command %{name}%", did_you_mean(name, _BARE | _EITHER | _WITH_ARGUMENT)


def check_plain(path: Path, value: str) -> Iterator[Finding]:
    """A path, an authority: what becomes part of a header may hold no control character."""
    if _CONTROL.search(value) or "\t" in value:
        yield Finding(codes.INVALID_VALUE, path, f"{value!r} has a control character", "Remove it.")


def check_one_authority(path: Path, rewrite: HTTPRewrite | None, headers: Headers | None) -> Iterator[Finding]:
    """The authority may be changed in one place only: ``rewrite.authority``, or one header operation."""
    given = ["rewrite.authority"] if rewrite is not None and rewrite.authority else []
    request = headers.request if headers is not None else None
    if request is not None:
        given += [f"headers.request.set.{name}" for name in request.set_ if is_authority(name)]
        given += [f"headers.request.add.{name}" for name in request.add if is_authority(name)]
    if len(given) > 1:
        message = f"the authority is changed more than once, by {' and '.join(given)}"
        yield Finding(codes.CONFLICTING_FIELDS, path, message)


def is_authority(name: str) -> bool:
    """Whether a header name means the authority."""
    return name.lower() in (":authority", "host")

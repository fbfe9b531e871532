"""Istio's rules for a VirtualService: hosts, gateways, and who matches. What a route does is in ``validate_routes``.

Source: istiod's ``ValidateVirtualService`` and ``validateHTTPRouteMatchRequest``, corrected by the recorded answers
(reference §2.1 and §12).
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from pilothouse.config.findings import Finding, Path
from pilothouse.config.headers import CLAIM_PREFIX, check_header_name
from pilothouse.config.reachability import check_reachable
from pilothouse.config.rules import (
    check_dns_label,
    check_export_to,
    check_host,
    check_labels,
    check_port,
    check_string_match,
    host_fault,
    is_ip,
    is_label,
)
from pilothouse.config.schema import StringMatch
from pilothouse.config.served import not_served
from pilothouse.config.validate_routes import check_route
from pilothouse.config.virtualservice import HTTPMatchRequest, VirtualService
from pilothouse.kit import codes

MESH: Final = "mesh"
"""The reserved gateway name that means every sidecar."""


def validate_virtualservice(spec: VirtualService, namespace: str) -> Iterator[Finding]:
    """Everything that is wrong with a VirtualService in ``namespace``."""
    root: Path = ("spec",)
    yield from check_hosts((*root, "hosts"), spec)
    yield from check_gateways((*root, "gateways"), spec.gateways)
    yield from check_export_to((*root, "exportTo"), spec.export_to, namespace)
    if not spec.http and not spec.tls and not spec.tcp:
        message = "the VirtualService has no routes"
        yield Finding(codes.MISSING_FIELD, (*root, "http"), message, "Add at least one route below spec.http.")
    for index, route in enumerate(spec.http):
        where = (*root, "http", index)
        for number, match in enumerate(route.match):
            yield from check_match((*where, "match", number), match)
        yield from check_route(where, route)
    yield from check_reachable((*root, "http"), spec.http)


def applies_to_mesh(spec: VirtualService) -> bool:
    """Whether sidecars are among those for whom the rules are meant."""
    return not spec.gateways or MESH in spec.gateways


def check_hosts(path: Path, spec: VirtualService) -> Iterator[Finding]:
    """Hosts: DNS names, wildcards or IPs; no ``*`` for sidecars, and none that covers another."""
    if not spec.hosts:
        yield not_served(path, "a VirtualService without hosts (a delegate)")
    good: dict[str, int] = {}
    for index, host in enumerate(spec.hosts):
        where = (*path, index)
        if host == "*" and applies_to_mesh(spec):
            remedy = "Name the hosts, or bind the VirtualService to a Gateway only."
            yield Finding(codes.INVALID_HOST, where, "the host '*' is not allowed for sidecars", remedy)
        elif not is_ip(host) and host_fault(host, wildcard=True):
            yield from check_host(where, host)
        elif host in good:
            yield Finding(codes.DUPLICATE_ENTRY, where, f"'{host}' is here twice")
        else:
            good[host] = index
    for host, index in good.items():
        wider = (f"*{host[at:]}" for at in range(2 if host.startswith("*") else 1, len(host) + 1))
        covering = next((pattern for pattern in wider if pattern in good and pattern != host), None)
        if covering is not None:
            message = f"the hosts '{covering}' and '{host}' overlap"
            yield Finding(codes.DUPLICATE_ENTRY, (*path, index), message, "Keep one of them.")


def check_gateways(path: Path, gateways: Sequence[str]) -> Iterator[Finding]:
    """References to Gateways: ``mesh``, ``name``, ``namespace/name``, or the legacy ``name.namespace...``."""
    for index, reference in enumerate(gateways):
        where = (*path, index)
        namespace, slash, name = reference.partition("/")
        if slash:
            if namespace != ".":
                yield from check_dns_label(where, "namespace", namespace)
            yield from check_dns_label(where, "gateway name", name)
        elif "." in reference and not host_fault(reference, wildcard=False):
            first, second = reference.split(".")[:2]
            message = f"'{reference}' is an old spelling of a gateway's name"
            yield Finding(codes.OLD_SPELLING, where, message, f"Write '{second}/{first}'.")
        elif not is_label(reference):
            yield from check_dns_label(where, "gateway name", reference)


def check_match(path: Path, match: HTTPMatchRequest) -> Iterator[Finding]:
    """One entry of ``match``."""
    yield from check_string_match((*path, "uri"), match.uri, empty_prefix=True)
    for name, text in (("scheme", match.scheme), ("method", match.method), ("authority", match.authority)):
        yield from check_string_match((*path, name), text)
    yield from _check_named((*path, "headers"), match.headers)
    yield from _check_named((*path, "withoutHeaders"), match.without_headers)
    for name, text in match.query_params.items():
        where = (*path, "queryParams", name)
        if not name:
            yield Finding(codes.INVALID_NAME, where, "the name of a query parameter is empty", at_key=True)
        yield from check_string_match(where, text)
    if match.port:
        yield from check_port((*path, "port"), match.port)
    yield from check_labels((*path, "sourceLabels"), match.source_labels)
    yield from check_gateways((*path, "gateways"), match.gateways)
    if match.source_namespace:
        yield from check_dns_label((*path, "sourceNamespace"), "namespace", match.source_namespace)


def _check_named(path: Path, headers: Mapping[str, StringMatch]) -> Iterator[Finding]:
    for name, text in headers.items():
        where = (*path, name)
        if name.startswith(CLAIM_PREFIX):
            yield not_served(where, "matching on JWT claims")
            continue
        yield from check_header_name(where, name)
        present = path[-1] == "withoutHeaders" and text.regex == "*"
        if not present:
            yield from check_string_match(where, text)

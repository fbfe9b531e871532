"""Istio's rules for a ServiceEntry: hosts, addresses, ports, and endpoints that fit the resolution.

Source: istiod's ``ValidateServiceEntry``, corrected by the recorded answers (reference §2.4, §2.5 and §12).
"""

from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from typing import Final

from pilothouse.config.findings import Finding, Path, all_of, did_you_mean, one_of
from pilothouse.config.rules import (
    check_dns_label,
    check_export_to,
    check_host,
    check_labels,
    check_port,
    host_fault,
    is_ip,
)
from pilothouse.config.served import not_served
from pilothouse.config.serviceentry import Resolution, ServiceEntry, ServicePort, WorkloadEntry
from pilothouse.kit import codes
from pilothouse.model.service import Protocol, protocol_of

_DNS: Final = (Resolution.DNS, Resolution.DNS_ROUND_ROBIN)
_SERVED: Final = (Resolution.STATIC, *_DNS)
_NAMED_BY_REQUEST: Final = (Protocol.HTTPS, Protocol.TLS)
"""Protocols other than HTTP whose connections name the host that they want (SNI)."""
_UNIX: Final = "unix://"


def validate_serviceentry(spec: ServiceEntry, namespace: str) -> Iterator[Finding]:
    """Everything that is wrong with a ServiceEntry in ``namespace``."""
    root: Path = ("spec",)
    yield from check_hosts((*root, "hosts"), spec)
    yield from check_addresses((*root, "addresses"), spec)
    yield from check_ports((*root, "ports"), spec)
    if spec.resolution not in _SERVED:
        remedy = "Write 'resolution: STATIC' with endpoints, or 'resolution: DNS'."
        yield not_served((*root, "resolution"), f"the resolution {spec.resolution}", remedy)
    if spec.workload_selector is not None and spec.endpoints:
        yield Finding(codes.CONFLICTING_FIELDS, root, "workloadSelector and endpoints exclude each other")
    yield from check_endpoints((*root, "endpoints"), spec)
    yield from check_export_to((*root, "exportTo"), spec.export_to, namespace, hidden=True)


def check_hosts(path: Path, spec: ServiceEntry) -> Iterator[Finding]:
    """At least one host, never all hosts, and one that DNS can answer for if DNS has to."""
    if not spec.hosts:
        yield Finding(codes.MISSING_FIELD, path, "the ServiceEntry has no hosts")
    for index, host in enumerate(spec.hosts):
        where = (*path, index)
        if host == "*":
            yield Finding(codes.INVALID_HOST, where, "'*' cannot be the host of a service")
        elif host_fault(host, wildcard=True):
            yield from check_host(where, host)
        elif spec.resolution in _DNS and not spec.endpoints and "*" in host:
            message = f"'{host}' cannot be resolved by DNS, and there are no endpoints"
            yield Finding(codes.INVALID_HOST, where, message, "Write a name without a wildcard, or add endpoints.")


def check_addresses(path: Path, spec: ServiceEntry) -> Iterator[Finding]:
    """Virtual IPs."""
    for index, address in enumerate(spec.addresses):
        where = (*path, index)
        if is_ip(address):
            continue
        ip, slash, bits = address.partition("/")
        if slash and is_ip(ip) and bits.isdecimal() and int(bits[:4]) <= (128 if ":" in ip else 32):
            yield not_served(where, "a range of addresses (CIDR)")
        else:
            yield Finding(codes.INVALID_ADDRESS, where, f"'{address}' is not an IP address", "Write an IP address.")


def check_ports(path: Path, spec: ServiceEntry) -> Iterator[Finding]:
    """Ports with unique names and numbers and a protocol that is known."""
    if not spec.ports:
        yield Finding(codes.NO_EFFECT, path, "the ServiceEntry has no ports, so nothing can be called", "Add a port.")
    names: set[str] = set()
    numbers: set[int] = set()
    for index, port in enumerate(spec.ports):
        where = (*path, index)
        yield from _check_port(where, port, shared=len(spec.hosts) > 1)
        if port.name and port.name in names:
            message = f"the port name '{port.name}' is used twice"
            yield Finding(codes.DUPLICATE_ENTRY, (*where, "name"), message)
        if port.number in numbers:
            yield Finding(codes.DUPLICATE_ENTRY, (*where, "number"), f"the port {port.number} is here twice")
        names.add(port.name)
        numbers.add(port.number)


def _check_port(path: Path, port: ServicePort, *, shared: bool) -> Iterator[Finding]:
    yield from check_dns_label((*path, "name"), "port name", port.name)
    yield from check_port((*path, "number"), port.number)
    if port.target_port:
        yield from check_port((*path, "targetPort"), port.target_port)
    protocol = protocol_of(port.protocol)
    if port.protocol and protocol is Protocol.UNSUPPORTED:
        words = [word.value for word in Protocol if word]
        remedy = did_you_mean(port.protocol, words) or f"Use {one_of(words)}."
        yield Finding(codes.UNKNOWN_VALUE, (*path, "protocol"), f"'{port.protocol}' is not a protocol", remedy)
    elif shared and not protocol.is_http and protocol not in _NAMED_BY_REQUEST:
        message = f"the port '{port.name}' cannot tell the hosts apart, because it speaks neither HTTP nor TLS"
        yield Finding(codes.CONFLICTING_FIELDS, path, message, "Write one ServiceEntry per host.")
    elif not protocol.is_http:
        speaks = f"speaks {protocol}" if protocol else "has no protocol"
        yield Finding(codes.PORT_NOT_SERVED, path, f"the port '{port.name}' {speaks}, and only HTTP is routed yet")


def check_endpoints(path: Path, spec: ServiceEntry) -> Iterator[Finding]:
    """Endpoints whose addresses fit the resolution."""
    if spec.resolution is Resolution.DNS_ROUND_ROBIN and len(spec.endpoints) > 1:
        message = f"DNS_ROUND_ROBIN takes at most one endpoint, and there are {len(spec.endpoints)}"
        yield Finding(codes.CONFLICTING_FIELDS, path, message, "Use 'resolution: DNS'.")
    if spec.resolution is Resolution.STATIC and not spec.endpoints and spec.workload_selector is None:
        message = "the resolution STATIC has no endpoints, so every request is answered with 503"
        yield Finding(codes.NO_EFFECT, path, message, "Add endpoints, or use 'resolution: DNS'.")
    names = frozenset(port.name for port in spec.ports)
    for index, endpoint in enumerate(spec.endpoints):
        yield from check_endpoint((*path, index), endpoint, names, dns=spec.resolution in _DNS)


def check_endpoint(path: Path, endpoint: WorkloadEntry, names: AbstractSet[str], *, dns: bool) -> Iterator[Finding]:
    """One endpoint of a service with ports of these ``names``; with ``dns`` its address may be a host name."""
    yield from _check_address((*path, "address"), endpoint.address, dns=dns)
    for name, number in endpoint.ports.items():
        where = (*path, "ports", name)
        if name not in names:
            remedy = did_you_mean(name, names) or f"Its ports are {all_of(sorted(names) or ['none'])}."
            message = f"the service has no port '{name}'"
            yield Finding(codes.INVALID_VALUE, where, message, remedy, at_key=True)
        yield from check_port(where, number)
    yield from check_labels((*path, "labels"), endpoint.labels)
    if endpoint.locality.count("/") > 2:
        message = f"'{endpoint.locality}' is not of the form region/zone/subzone"
        yield Finding(codes.INVALID_VALUE, (*path, "locality"), message)


def _check_address(path: Path, address: str, *, dns: bool) -> Iterator[Finding]:
    if not address:
        yield Finding(codes.MISSING_FIELD, path, "the endpoint has no address")
    elif address.startswith(_UNIX):
        yield not_served(path, "an endpoint behind a Unix socket")
    elif is_ip(address):
        return
    elif host_fault(address, wildcard=False):
        yield Finding(codes.INVALID_ADDRESS, path, f"'{address}' is neither an IP address nor a host name")
    elif not dns:
        message = f"'{address}' is a host name, and this resolution takes IP addresses only"
        yield Finding(codes.INVALID_ADDRESS, path, message, "Write an IP address, or use 'resolution: DNS'.")

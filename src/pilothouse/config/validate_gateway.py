"""Istio's rules for a Gateway: its name, its servers' ports and hosts.

Source: istiod's ``ValidateGateway``, corrected by the recorded answers (reference §2.3).
"""

from collections.abc import Iterator
from typing import Final

from pilothouse.config.findings import Finding, Path, did_you_mean, one_of
from pilothouse.config.gateway import Gateway, Port, Server
from pilothouse.config.rules import check_dns_label, check_host, check_labels, check_port, host_fault, is_ip
from pilothouse.config.served import not_served
from pilothouse.kit import codes
from pilothouse.model.service import Protocol, protocol_of

SERVED_PROTOCOLS: Final = (Protocol.HTTP, Protocol.HTTP2, Protocol.GRPC)
_UNIX: Final = "unix://"


def validate_gateway(spec: Gateway, name: str) -> Iterator[Finding]:
    """Everything that is wrong with the Gateway ``name``."""
    root: Path = ("spec",)
    yield from check_dns_label(("metadata", "name"), "gateway name", name)
    yield from check_labels((*root, "selector"), spec.selector)
    if not spec.servers:
        yield Finding(codes.MISSING_FIELD, (*root, "servers"), "the Gateway has no servers")
    names: set[str] = set()
    for index, server in enumerate(spec.servers):
        where = (*root, "servers", index)
        yield from check_server(where, server)
        if server.port is not None and server.port.name:
            if server.port.name in names:
                message = f"the port name '{server.port.name}' is used twice"
                yield Finding(codes.DUPLICATE_ENTRY, (*where, "port", "name"), message)
            names.add(server.port.name)


def check_server(path: Path, server: Server) -> Iterator[Finding]:
    """One server: its port, where it binds, and the hosts that it answers for."""
    if not server.hosts:
        yield Finding(codes.MISSING_FIELD, (*path, "hosts"), "the server has no hosts", "Write ['*'] for all of them.")
    for index, host in enumerate(server.hosts):
        yield from check_server_host((*path, "hosts", index), host)
    if server.port is None:
        yield Finding(codes.MISSING_FIELD, (*path, "port"), "the server has no port")
    else:
        yield from _check_server_port((*path, "port"), server.port)
    if server.bind.startswith(_UNIX):
        yield not_served((*path, "bind"), "binding to a Unix socket")
    elif server.bind and not is_ip(server.bind):
        yield Finding(
            codes.INVALID_ADDRESS,
            (*path, "bind"),
            f"'{server.bind}' is not an IP address",
            "Write one, such as 127.0.0.1.",
        )


def _check_server_port(path: Path, port: Port) -> Iterator[Finding]:
    yield from check_port((*path, "number"), port.number)
    if not port.name:
        yield Finding(codes.MISSING_FIELD, (*path, "name"), "the port has no name")
    protocol = protocol_of(port.protocol)
    if not port.protocol:
        yield Finding(codes.MISSING_FIELD, (*path, "protocol"), "the port has no protocol", "Write 'protocol: HTTP'.")
    elif protocol is Protocol.UNSUPPORTED:
        remedy = did_you_mean(port.protocol, filter(None, Protocol)) or f"Use {one_of(SERVED_PROTOCOLS)}."
        yield Finding(codes.UNKNOWN_VALUE, (*path, "protocol"), f"'{port.protocol}' is not a protocol", remedy)
    elif protocol not in SERVED_PROTOCOLS:
        yield not_served((*path, "protocol"), f"the protocol {protocol} at a gateway")
    if port.target_port:
        message = "targetPort has no meaning at a Gateway"
        yield Finding(codes.INVALID_VALUE, (*path, "targetPort"), message, "Remove it.")


def check_server_host(path: Path, host: str) -> Iterator[Finding]:
    """``host`` or ``namespace/host``; a host is a full name, an IP, ``*`` or ``*.suffix``."""
    namespace, slash, name = host.rpartition("/")
    if slash and namespace not in ("*", "."):
        yield from check_dns_label(path, "namespace", namespace)
    if name == "*" or is_ip(name):
        return
    if host_fault(name, wildcard=True):
        yield from check_host(path, name)
    elif "." not in name:
        yield Finding(codes.INVALID_HOST, path, f"'{name}' is a short name", "Write the full name of the host.")
    elif "*" in name and not name.startswith("*."):
        message = f"'{name}' has a wildcard that is not a whole label"
        yield Finding(codes.INVALID_HOST, path, message, "Write '*.' and the rest of the name.")

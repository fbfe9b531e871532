"""Whether what an agent says about its workload can be believed: shapes, sizes, names, addresses.

The gate before the embedded registry. A workload that passes here compiles; one that does not is refused with a text
for the person who configured the agent. It knows nothing of other workloads: conflicts are the registry's business.
"""

import ipaddress
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import msgspec

from pilothouse.model.proxy import InboundPort, Workload
from pilothouse.model.registration import Register
from pilothouse.model.service import Protocol

MOST_PORTS: Final = 64
MOST_LABELS: Final = 64
MOST_WEIGHT: Final = 1000
"""Envoy sums the weights of all endpoints in 32 bits, and people think in percentages: more is a mistake."""

_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._~:/-]{0,252}")
_DNS_LABEL: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_NAME: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?")
_LABEL_KEY: Final = re.compile(r"([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
_LABEL_VALUE: Final = re.compile(r"([A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?")

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class Admission:
    """What may be registered: names below ``domain``, addresses within ``networks`` (empty: any)."""

    domain: str = "service.mesh"
    networks: tuple[Network, ...] = ()

    def admit(self, workload: Workload) -> Workload | str:
        """The workload with whole host names and plain addresses, or why it cannot be registered."""
        reason = next(self._objections(workload), None)
        if reason is not None:
            return reason
        ports = tuple(msgspec.structs.replace(port, host=self.full_host(port.host)) for port in workload.ports)
        return msgspec.structs.replace(
            workload,
            address=str(ipaddress.ip_address(workload.address)),
            ports=tuple(sorted(ports)),
            labels=tuple(sorted(workload.labels)),
        )

    def full_host(self, host: str) -> str:
        """``reviews`` and ``reviews.service.mesh`` are the same service."""
        return host if "." in host else f"{host}.{self.domain}"

    def _objections(self, workload: Workload) -> Iterator[str]:
        if not _ID.fullmatch(workload.id):
            yield f"workload id {_cut(workload.id)}: up to 253 letters, digits and . _ ~ : / - are allowed"
        if not _DNS_LABEL.fullmatch(workload.namespace):
            yield f"namespace {_cut(workload.namespace)}: must be a DNS label (lower case letters, digits, -)"
        if workload.service_account and not _NAME.fullmatch(workload.service_account):
            yield f"service account {_cut(workload.service_account)}: letters, digits and . _ - are allowed"
        if not 1 <= workload.weight <= MOST_WEIGHT:
            yield f"weight {workload.weight}: must be 1 to {MOST_WEIGHT}"
        yield from self._address(workload.address)
        yield from _labels(workload)
        yield from self._ports(workload)

    def _address(self, address: str) -> Iterator[str]:
        parsed = _ip(address)
        if parsed is None:
            yield f"address {_cut(address)}: must be an IP address"
        elif parsed.is_unspecified or parsed.is_multicast:
            yield f"address {address}: nobody can connect to it"
        elif self.networks and not any(parsed in network for network in self.networks):
            yield f"address {address}: outside the networks that this registry accepts"

    def _ports(self, workload: Workload) -> Iterator[str]:
        ports = workload.ports
        if not 1 <= len(ports) <= MOST_PORTS:
            yield f"{len(ports)} ports: a workload serves 1 to {MOST_PORTS}"
        if len({port.inbound_port for port in ports}) < len(ports):
            yield "two ports have the same inbound port: each needs its own listener"
        if len({(self.full_host(port.host), port.service_port) for port in ports}) < len(ports):
            yield "two ports are the same port of the same service"
        for port in ports:
            yield from self._port(port, workload.address)

    def _port(self, port: InboundPort, address: str) -> Iterator[str]:
        name = self.full_host(port.host).removesuffix("." + self.domain)
        if not _DNS_LABEL.fullmatch(name):
            yield f"service {_cut(port.host)}: must be NAME or NAME.{self.domain}, NAME being a DNS label"
        for what, number in (
            ("service", port.service_port),
            ("inbound", port.inbound_port),
            ("app", port.app_port),
        ):
            if not 1 <= number <= 65535:
                yield f"{what} port {number}: must be 1 to 65535"
        app = _ip(port.app_address)
        if app is None:
            yield f"app address {_cut(port.app_address)}: must be an IP address"
        elif app == _ip(address) and port.app_port == port.inbound_port:
            yield f"the sidecar cannot listen on {address}:{port.app_port}, because the app does"
        if port.protocol is Protocol.UNSUPPORTED:
            yield f"service {port.host}: the protocol is missing"


def admit_register(message: Register, admission: Admission) -> Workload | str | None:
    """The admitted workload, why it is refused, or None for a gateway, which registers no workload."""
    if not 1 <= len(message.node_id) <= 1024:
        return "node id: must have 1 to 1024 characters"
    return None if message.workload is None else admission.admit(message.workload)


def parse_networks(texts: tuple[str, ...]) -> tuple[Network, ...]:
    """Networks in CIDR form. Raises ValueError on anything else."""
    return tuple(ipaddress.ip_network(text) for text in texts)


def _labels(workload: Workload) -> Iterator[str]:
    if len(workload.labels) > MOST_LABELS:
        yield f"{len(workload.labels)} labels: at most {MOST_LABELS} are allowed"
    if len({key for key, _ in workload.labels}) < len(workload.labels):
        yield "two labels have the same key"
    for key, value in workload.labels:
        if not _LABEL_KEY.fullmatch(key) or not _LABEL_VALUE.fullmatch(value):
            yield f"label {_cut(key)}={_cut(value)}: not a label as Kubernetes spells them"


def _ip(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def _cut(text: str) -> str:
    return repr(text if len(text) <= 64 else text[:61] + "...")

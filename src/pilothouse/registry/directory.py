"""From registered workloads to services: which ports a service has, and which endpoints serve them.

Pure. The embedded registry asks it again for the services that a change touches, and compares.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from pilothouse.kit.origin import RegistryOrigin
from pilothouse.kit.problem import Problem
from pilothouse.kit.registry_codes import REGISTRATION_CONFLICT
from pilothouse.model.proxy import InboundPort, Workload
from pilothouse.model.service import Endpoint, Port, Protocol, Service, ServiceKey

SOURCE: Final = "embedded"


@dataclass(frozen=True, slots=True)
class Instance:
    """A registered workload. ``serving`` tells whether it may get traffic: its app is ready and healthy."""

    workload: Workload
    serving: bool


@dataclass(frozen=True, slots=True)
class Entry:
    """One service as the directory lists it."""

    service: Service
    endpoints: tuple[Endpoint, ...]
    problems: tuple[Problem, ...] = ()


def keys_of(workload: Workload) -> frozenset[ServiceKey]:
    """The services that a workload is an instance of."""
    return frozenset(ServiceKey(workload.namespace, port.host) for port in workload.ports)


def list_service(key: ServiceKey, instances: Sequence[Instance]) -> Entry | None:
    """The service as its instances (oldest first) describe it, or None if there is none.

    Ports are the union; where instances disagree about a protocol, the oldest decides, and those who disagree get
    no traffic on that port, because they would not understand it. Endpoints are in the order of their addresses.
    """
    offers = [(instance, port) for instance in instances for port in instance.workload.ports if port.host == key.host]
    if not offers:
        return None
    protocols: dict[int, Protocol] = {}
    for _, port in offers:
        protocols.setdefault(port.service_port, port.protocol)
    names = name_ports(protocols)
    agreed = [(i, p) for i, p in offers if p.protocol is protocols[p.service_port]]
    endpoints = [_endpoint(i.workload, p, key, names[p.service_port]) for i, p in agreed if i.serving]
    service = Service(
        host=key.host,
        namespace=key.namespace,
        ports=tuple(Port(number, names[number], protocol) for number, protocol in sorted(protocols.items())),
        origin=RegistryOrigin(SOURCE, key.host),
    )
    disagreed = [(i.workload, p) for i, p in offers if p.protocol is not protocols[p.service_port]]
    return Entry(
        service,
        tuple(sorted(endpoints, key=lambda e: (e.address, e.port, e.service_port, e.workload_id))),
        tuple(_conflict(w, p, protocols[p.service_port]) for w, p in disagreed),
    )


def name_ports(protocols: dict[int, Protocol]) -> dict[int, str]:
    """A name for each port by Istio's convention: its protocol, with the number where that alone is not unique."""
    words = list(protocols.values())
    return {
        number: protocol.lower() if words.count(protocol) == 1 else f"{protocol.lower()}-{number}"
        for number, protocol in protocols.items()
    }


def problems_of(entries: Iterable[Entry]) -> tuple[Problem, ...]:
    """Every disagreement in the directory."""
    return tuple(problem for entry in entries for problem in entry.problems)


def _endpoint(workload: Workload, port: InboundPort, key: ServiceKey, name: str) -> Endpoint:
    return Endpoint(
        address=workload.address,
        port=port.inbound_port,
        service_port=name,
        origin=RegistryOrigin(SOURCE, key.host, workload.id),
        labels=workload.labels,
        locality=workload.locality,
        weight=workload.weight,
        workload_id=workload.id,
        service_account=workload.service_account,
    )


def _conflict(workload: Workload, port: InboundPort, protocol: Protocol) -> Problem:
    return Problem(
        code=REGISTRATION_CONFLICT,
        path=f"ports[{port.service_port}]",
        message=f"registers port {port.service_port} as {port.protocol}, older instances as {protocol}: "
        "it gets no traffic there.",
        origin=RegistryOrigin(SOURCE, port.host, workload.id),
    )

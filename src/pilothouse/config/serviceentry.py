"""ServiceEntry: ``networking/v1alpha3/service_entry.proto`` as typed values, and what of it is not served yet.

Rules on the values are in ``validate_serviceentry``.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from msgspec import field

from pilothouse.config.schema import Message, UInt32


class ServicePort(Message, frozen=True):
    """A port of the service. ``target_port`` 0 means the same number."""

    number: UInt32 = 0
    protocol: str = ""
    name: str = ""
    target_port: UInt32 = 0


class Location(StrEnum):
    """Whether the service is part of the mesh."""

    MESH_EXTERNAL = "MESH_EXTERNAL"
    MESH_INTERNAL = "MESH_INTERNAL"


class Resolution(StrEnum):
    """How addresses are found."""

    NONE = "NONE"
    STATIC = "STATIC"
    DNS = "DNS"
    DNS_ROUND_ROBIN = "DNS_ROUND_ROBIN"
    DYNAMIC_DNS = "DYNAMIC_DNS"


class WorkloadEntry(Message, frozen=True):
    """One endpoint. ``ports`` maps the service's port names to numbers; ``weight`` 0 means 1."""

    address: str = ""
    ports: Mapping[str, UInt32] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    network: str = ""
    locality: str = ""
    weight: UInt32 = 0
    service_account: str = ""


class LabelSelector(Message, frozen=True):
    """Workloads by labels, in the older spelling of ``networking/v1alpha3/sidecar.proto``."""

    labels: Mapping[str, str] = field(default_factory=dict)


class ServiceEntry(Message, frozen=True):
    """A service that no registry knows."""

    hosts: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    ports: tuple[ServicePort, ...] = ()
    location: Location = Location.MESH_EXTERNAL
    resolution: Resolution = Resolution.NONE
    endpoints: tuple[WorkloadEntry, ...] = ()
    workload_selector: LabelSelector | None = None
    export_to: tuple[str, ...] = ()
    subject_alt_names: tuple[str, ...] = ()


NOT_SERVED: Final = {
    "workloadSelector": "choosing endpoints by a workload selector",
}
"""Path pattern (``[]`` stands for every item) → what a user must not expect yet."""

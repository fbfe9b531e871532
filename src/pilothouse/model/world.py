"""The World: every validated input, frozen, one mapping per source; and how deltas fold into it.

First hop of the flow after decoding. Merging services of one name happens in ``resolve``, so a source can be
dropped cleanly and order of arrival cannot matter. Nothing here judges a value: it was validated before.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Protocol as TypingProtocol
from typing import TypeAlias

import msgspec
from msgspec import structs

from pilothouse.kit.origin import FileOrigin
from pilothouse.kit.problem import Problem
from pilothouse.model.proxy import Workload
from pilothouse.model.service import Endpoint, Service, ServiceDelta, ServiceKey


class Config(TypingProtocol):
    """A configuration object as the World keeps it. ``config.objects.ConfigObject`` is the one that exists."""

    @property
    def key(self) -> "ConfigKeyLike":
        """Kind, namespace and name."""

    @property
    def origin(self) -> FileOrigin:
        """Where it was written."""


class ConfigKeyLike(TypingProtocol):
    """The identity of a configuration object."""

    @property
    def kind(self) -> str:
        """Such as ``VirtualService``."""

    @property
    def namespace(self) -> str:
        """The namespace it lives in."""

    @property
    def name(self) -> str:
        """Its name within kind and namespace."""


class ConfigDelta(msgspec.Struct, frozen=True):
    """The full state of one configuration source: its objects and the Problems found on the way."""

    source: str
    objects: tuple[Config, ...] = ()
    problems: tuple[Problem, ...] = ()


class WorkloadDelta(msgspec.Struct, frozen=True):
    """Workloads that agents registered (``upserts``) and those that left (``removed`` ids)."""

    upserts: tuple[Workload, ...] = ()
    removed: tuple[str, ...] = ()


Delta: TypeAlias = ServiceDelta | ConfigDelta | WorkloadDelta


class OutboundPolicy(StrEnum):
    """What becomes of requests to hosts that the mesh does not know (MeshConfig's ``outboundTrafficPolicy.mode``)."""

    ALLOW_ANY = "ALLOW_ANY"
    REGISTRY_ONLY = "REGISTRY_ONLY"


@dataclass(frozen=True, slots=True)
class MeshSettings:
    """What the operator sets for the whole mesh and ``resolve`` consults. Read once at the edge."""

    root_namespace: str = "istio-system"
    trust_domain: str = "cluster.local"
    access_log: bool = True
    connect_timeout_ms: int = 10_000
    outbound: OutboundPolicy = OutboundPolicy.ALLOW_ANY


@dataclass(frozen=True, slots=True)
class Registered:
    """What one registry holds: services, and endpoint sets apart from them."""

    services: Mapping[ServiceKey, Service] = field(default_factory=dict)
    endpoints: Mapping[ServiceKey, tuple[Endpoint, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class World:
    """Every validated input. Parts that a batch does not touch stay the same objects."""

    settings: MeshSettings = MeshSettings()
    registries: Mapping[str, Registered] = field(default_factory=dict)
    configs: Mapping[str, ConfigDelta] = field(default_factory=dict)
    workloads: Mapping[str, Workload] = field(default_factory=dict)


def fold(world: World, batch: Iterable[Delta]) -> World:
    """The World after ``batch``. The very same World if nothing in the batch says anything new."""
    for delta in batch:
        world = fold_one(world, delta)
    return world


def fold_one(world: World, delta: Delta) -> World:
    """The World after one delta, or the same World if the delta says nothing new."""
    match delta:
        case ServiceDelta():
            before = world.registries.get(delta.source, _NOTHING)
            after = fold_services(before, delta)
            if after is before and delta.source in world.registries:
                return world
            return replace(world, registries={**world.registries, delta.source: after})
        case ConfigDelta():
            known = world.configs.get(delta.source, ConfigDelta(delta.source))
            if known == delta and delta.source in world.configs:
                return world
            return replace(world, configs={**world.configs, delta.source: keep_equal_objects(known, delta)})
        case WorkloadDelta():
            return fold_workloads(world, delta)


_NOTHING = Registered()


def keep_equal_objects(known: ConfigDelta, delta: ConfigDelta) -> ConfigDelta:
    """``delta``, with the objects that it repeats replaced by those already known, so that identity means unchanged."""
    by_key = {(o.key.kind, o.key.namespace, o.key.name): o for o in known.objects}
    objects = tuple(
        old if (old := by_key.get((o.key.kind, o.key.namespace, o.key.name))) == o else o for o in delta.objects
    )
    return structs.replace(delta, objects=objects)


def fold_services(before: Registered, delta: ServiceDelta) -> Registered:
    """What the registry holds after ``delta``; equal values keep their old objects."""
    services, endpoints = dict(before.services), dict(before.endpoints)
    named: set[ServiceKey] = set()
    changed = False
    for service in delta.services:
        key = ServiceKey(service.namespace, service.host)
        named.add(key)
        if services.get(key) != service:
            services[key], changed = service, True
    for key, members in delta.endpoints:
        named.add(key)
        if endpoints.get(key) != members:
            endpoints[key], changed = members, True
    gone = set(delta.removed) | ((services.keys() | endpoints.keys()) - named if delta.complete else set())
    for key in gone & (services.keys() | endpoints.keys()):
        services.pop(key, None)
        endpoints.pop(key, None)
        changed = True
    return Registered(services, endpoints) if changed else before


def fold_workloads(world: World, delta: WorkloadDelta) -> World:
    """The World with workloads added, replaced and removed."""
    workloads = dict(world.workloads)
    for workload in delta.upserts:
        if workloads.get(workload.id) != workload:
            workloads[workload.id] = workload
    for workload_id in delta.removed:
        workloads.pop(workload_id, None)
    same = workloads.keys() == world.workloads.keys() and all(workloads[k] is world.workloads[k] for k in workloads)
    return world if same else replace(world, workloads=workloads)

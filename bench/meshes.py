"""Synthetic meshes for the benchmark: S services of a few endpoints each, and a rule for each tenth service."""

import msgspec

from pilothouse.config.destinationrule import DestinationRule
from pilothouse.config.objects import ConfigKey, ConfigObject, Spec
from pilothouse.config.virtualservice import VirtualService
from pilothouse.kit.origin import FileOrigin, RegistryOrigin
from pilothouse.model.proxy import CaptureMode, Proxy, Role
from pilothouse.model.service import Endpoint, Port, Service, ServiceDelta, ServiceKey
from pilothouse.model.world import ConfigDelta, World, fold

REGISTRY = "bench"


def host_of(number: int) -> str:
    """The host name of a service."""
    return f"svc-{number:05d}.service.mesh"


def endpoints_of(number: int, generation: int = 0) -> tuple[Endpoint, ...]:
    """Two to five endpoints; ``generation`` moves the first one."""
    return tuple(
        Endpoint(
            address=f"10.{number // 250 % 250}.{number % 250}.{member + 1 + (100 + generation if member == 0 else 0)}",
            port=19080,
            service_port="http",
            origin=RegistryOrigin(REGISTRY, host_of(number), f"{number}-{member}"),
            labels=(("version", f"v{member % 2 + 1}"),),
            workload_id=f"default/svc-{number}-{member}",
        )
        for member in range(2 + number % 4)
    )


def services(count: int) -> ServiceDelta:
    """The registry's full state."""
    found = tuple(
        Service(host_of(n), "default", (Port(9080, "http"),), RegistryOrigin(REGISTRY, host_of(n)))
        for n in range(count)
    )
    members = tuple((ServiceKey("default", host_of(n)), endpoints_of(n)) for n in range(count))
    return ServiceDelta(REGISTRY, found, members, complete=True)


def endpoint_change(number: int, generation: int) -> ServiceDelta:
    """One service's first endpoint moves."""
    return ServiceDelta(
        REGISTRY, endpoints=((ServiceKey("default", host_of(number)), endpoints_of(number, generation)),)
    )


def configuration(count: int, weight: int = 90) -> ConfigDelta:
    """A VirtualService and a DestinationRule for each tenth service; the first splits by ``weight``."""
    objects = [o for n in range(0, count, 10) for o in (split(n, weight if n == 0 else 50), subsets(n))]
    return ConfigDelta("files", tuple(objects))


def split(number: int, weight: int) -> ConfigObject:
    """A canary of one service."""
    host = host_of(number)
    shares = [("v1", weight), ("v2", 100 - weight)]
    route = [{"destination": {"host": host, "subset": name}, "weight": share} for name, share in shares]
    return config("VirtualService", number, {"hosts": [host], "http": [{"route": route}]}, VirtualService)


def subsets(number: int) -> ConfigObject:
    """Two subsets of one service."""
    found = [{"name": name, "labels": {"version": name}} for name in ("v1", "v2")]
    return config("DestinationRule", number, {"host": host_of(number), "subsets": found}, DestinationRule)


def config(kind: str, number: int, spec: object, of: type[Spec]) -> ConfigObject:
    """One object as decoding would give it."""
    name = f"svc-{number:05d}"
    origin = FileOrigin(f"{name}.yaml", 1, 1, kind, "default", name)
    return ConfigObject(ConfigKey(kind, "default", name), msgspec.convert(spec, of), origin)


def world(count: int) -> World:
    """The whole mesh."""
    return fold(World(), (services(count), configuration(count)))


def sidecar(number: int) -> Proxy:
    """A sidecar with labels of its own, which no object selects."""
    return Proxy(
        id=f"sidecar~127.9.{number // 250}.{number % 250}~p{number}.default~default.service.mesh",
        role=Role.SIDECAR,
        name=f"p{number}",
        namespace="default",
        address=f"127.9.{number // 250}.{number % 250}",
        labels=(("instance", str(number)),),
        capture=CaptureMode.NONE,
        http_proxy_port=15001,
        tunnels=True,
        envoy_version="1.40.0",
    )

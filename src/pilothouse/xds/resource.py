"""A compiled resource as xDS sees it: a name, a version and bytes.

Produced by ``compiler``, compared and sent by the stream machines of this room. Bytes are shared: a thousand
proxies of one class hold references to one ``Resource``. Nothing here decodes them.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from pilothouse.kit.origin import Origin

_PREFIX: Final = "type.googleapis.com/"
CLUSTER: Final = _PREFIX + "envoy.config.cluster.v3.Cluster"
ENDPOINT: Final = _PREFIX + "envoy.config.endpoint.v3.ClusterLoadAssignment"
LISTENER: Final = _PREFIX + "envoy.config.listener.v3.Listener"
ROUTE: Final = _PREFIX + "envoy.config.route.v3.RouteConfiguration"
VIRTUAL_HOST: Final = _PREFIX + "envoy.config.route.v3.VirtualHost"
SECRET: Final = _PREFIX + "envoy.extensions.transport_sockets.tls.v3.Secret"
EXTENSION_CONFIG: Final = _PREFIX + "envoy.config.core.v3.TypedExtensionConfig"

SHORT_NAMES: Final[Mapping[str, str]] = {
    CLUSTER: "CDS",
    ENDPOINT: "EDS",
    LISTENER: "LDS",
    ROUTE: "RDS",
    VIRTUAL_HOST: "VHDS",
    SECRET: "SDS",
    EXTENSION_CONFIG: "ECDS",
}
"""What people call each type. SDS and ECDS are reserved: the machines know them, nothing compiles them yet."""

ALL_TYPES: Final[tuple[str, ...]] = tuple(SHORT_NAMES)


@dataclass(frozen=True, slots=True)
class Resource:
    """One named resource of one type.

    ``body`` is the serialised message itself (no Any around it). ``version`` is its digest.
    ``follows`` names what must be pushed unasked behind this resource because the proxy will wait for it without
    asking again: a changed cluster's load assignment, a route configuration's virtual hosts (DESIGN §6). Pairs are
    ``(type URL, name)``; a name that ends in ``/`` stands for every resource below that prefix.
    ``origins`` is who made it, most specific first. ``parts`` is who made each of its parts, in their order: the
    routes of a virtual host.
    """

    name: str
    version: str
    body: bytes = field(repr=False)
    origins: tuple[Origin, ...] = ()
    follows: tuple[tuple[str, str], ...] = ()
    parts: tuple[Origin, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class ResourceSet(Mapping[str, Resource]):
    """An immutable, name-ordered set of resources of one type. Compared by identity on purpose.

    The producer returns the same object while nothing in it changed; a consumer that sees the same object knows
    that there is nothing to compare.
    """

    by_name: Mapping[str, Resource]

    def __eq__(self, other: object) -> bool:
        return self is other

    __hash__ = object.__hash__

    def __getitem__(self, name: str) -> Resource:
        """The resource of that name. Raises KeyError."""
        return self.by_name[name]

    def __iter__(self) -> Iterator[str]:
        """The names, in order."""
        return iter(self.by_name)

    def __len__(self) -> int:
        """How many resources there are."""
        return len(self.by_name)


EMPTY: Final = ResourceSet({})


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """Everything one proxy should hold: per type, a few shared layers (outbound, inbound, own).

    Layers of one type have disjoint names; look-ups go through them in order. ``version`` is a short text for
    people (status, logs), not part of the protocol.
    """

    layers: Mapping[str, tuple[ResourceSet, ...]]
    version: str = ""

    def find(self, type_url: str, name: str) -> Resource | None:
        """The resource of that type and name, or None."""
        for layer in self.layers.get(type_url, ()):
            found = layer.by_name.get(name)
            if found is not None:
                return found
        return None

    def resources(self, type_url: str) -> Iterator[Resource]:
        """All resources of a type, layer by layer, each layer in name order."""
        for layer in self.layers.get(type_url, ()):
            yield from layer.by_name.values()

    def size(self, type_url: str) -> int:
        """How many resources of that type there are."""
        return sum(len(layer) for layer in self.layers.get(type_url, ()))


def resource_set(*resources: Resource) -> ResourceSet:
    """A set in name order. Raises ValueError on a duplicate name, which would be a compiler's bug."""
    by_name = {r.name: r for r in sorted(resources, key=lambda r: r.name)}
    if len(by_name) != len(resources):
        twice = sorted(name for name, count in Counter(r.name for r in resources).items() if count > 1)
        raise ValueError(f"duplicate resource names: {', '.join(twice)}")
    return ResourceSet(by_name)

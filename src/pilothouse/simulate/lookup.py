"""Which listener, connection manager, route table and virtual host a request meets, in Envoy's order.

Parses the snapshot's bytes; decides nothing else. Virtual hosts of a table come with it (state of the world) or under
its name as resources of their own (delta); both look the same from here.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from envoy.config.listener.v3 import listener_pb2
from envoy.config.route.v3 import route_components_pb2, route_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2

from pilothouse.kit.origin import Origin
from pilothouse.simulate.comparing import CannotTell
from pilothouse.xds.resource import LISTENER, ROUTE, VIRTUAL_HOST, Resource, Snapshot

_ANY_ADDRESS = ("0.0.0.0", "::")


@dataclass(frozen=True, slots=True)
class Host:
    """One virtual host, with the origins of the resource that it was in. ``name`` is without its table.

    ``parts`` holds the origin of each route, where the virtual host was a resource of its own.
    """

    name: str
    message: route_components_pb2.VirtualHost
    origins: tuple[Origin, ...]
    parts: tuple[Origin, ...] = ()


@dataclass(frozen=True, slots=True)
class Table:
    """A route configuration with all its virtual hosts."""

    name: str
    hosts: tuple[Host, ...]
    ignores_port: bool
    origins: tuple[Origin, ...]


def find_listener(snapshot: Snapshot, address: str, port: int) -> Resource | None:
    """The listener bound to exactly this address, otherwise the one bound to any address."""
    bound: dict[str, Resource] = {}
    for resource in snapshot.resources(LISTENER):
        socket = listener_pb2.Listener.FromString(resource.body).address.socket_address
        if socket.port_value == port:
            bound[socket.address] = resource
    return next((bound[a] for a in (address, *_ANY_ADDRESS) if a in bound), None)


def connection_manager(listener: Resource) -> http_connection_manager_pb2.HttpConnectionManager:
    """The HTTP connection manager of a listener with one filter chain."""
    message = listener_pb2.Listener.FromString(listener.body)
    if len(message.filter_chains) != 1:
        raise CannotTell(f"a listener with {len(message.filter_chains)} filter chains")
    manager = http_connection_manager_pb2.HttpConnectionManager()
    if not any(f.typed_config.Unpack(manager) for f in message.filter_chains[0].filters):
        raise CannotTell("a listener without an HTTP connection manager")
    return manager


def find_table(
    snapshot: Snapshot, listener: Resource, manager: http_connection_manager_pb2.HttpConnectionManager
) -> Table | None:
    """The table of a connection manager: its own, or the one it asks for; None if that does not exist."""
    if manager.WhichOneof("route_specifier") == "route_config":
        return table_of(manager.route_config, listener.origins, ())
    found = snapshot.find(ROUTE, manager.rds.route_config_name)
    if found is None:
        return None
    prefix = f"{found.name}/"
    apart = (r for r in snapshot.resources(VIRTUAL_HOST) if r.name.startswith(prefix))
    return table_of(route_pb2.RouteConfiguration.FromString(found.body), found.origins, apart)


def table_of(message: route_pb2.RouteConfiguration, origins: tuple[Origin, ...], apart: Iterable[Resource]) -> Table:
    """A table from its message and the virtual hosts that travel apart from it."""
    inside = (Host(host.name, host, origins) for host in message.virtual_hosts)
    outside = (
        Host(
            r.name.removeprefix(f"{message.name}/"),
            route_components_pb2.VirtualHost.FromString(r.body),
            r.origins,
            r.parts,
        )
        for r in apart
    )
    return Table(message.name, (*inside, *outside), message.ignore_port_in_host_matching, origins)


def find_virtual_host(table: Table, authority: str) -> Host | None:
    """The virtual host for an authority: exact, then the longest ``*suffix``, then the longest ``prefix*``, then ``*``.

    Domains are compared without regard to case; the port is a part of the domain unless the table ignores it.
    """
    wanted = without_port(authority.lower()) if table.ignores_port else authority.lower()
    by_domain = {domain.lower(): host for host in table.hosts for domain in host.message.domains}
    if wanted in by_domain:
        return by_domain[wanted]
    suffixes = [d for d in by_domain if d != "*" and d.startswith("*") and covers(wanted, suffix=d[1:])]
    prefixes = [d for d in by_domain if not d.startswith("*") and d.endswith("*") and covers(wanted, prefix=d[:-1])]
    best = max(suffixes, key=len, default=None) or max(prefixes, key=len, default=None)
    return by_domain.get(best or "*")


def covers(host: str, *, prefix: str = "", suffix: str = "") -> bool:
    """Whether a wildcard stands for at least one character of ``host``."""
    return len(host) > len(prefix) + len(suffix) and host.startswith(prefix) and host.endswith(suffix)


def without_port(authority: str) -> str:
    """The authority without its port. An IPv6 address keeps its brackets."""
    head, colon, tail = authority.rpartition(":")
    return head if colon and tail.isdecimal() and not head.endswith(":") else authority

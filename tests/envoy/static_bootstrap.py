"""Snapshots as one static bootstrap, because ``envoy --mode validate`` does not read dynamic resources.

EDS clusters become STATIC with their load assignment inline, RDS becomes an inline route configuration with its
virtual hosts. Several snapshots share one bootstrap: their listeners get names and ports of their own, and clusters of
one name that differ get further names (the first keeps its own, so that each route finds a cluster of that name).
"""

from collections.abc import Iterable, Iterator

from envoy.config.bootstrap.v3 import bootstrap_pb2
from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.endpoint.v3 import endpoint_pb2
from envoy.config.listener.v3 import listener_components_pb2, listener_pb2
from envoy.config.route.v3 import route_components_pb2, route_pb2
from envoy.extensions.bootstrap.internal_listener.v3 import internal_listener_pb2 as _internal_listener_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2
from google.protobuf.json_format import ParseDict

from pilothouse.agent.bootstrap import INTERNAL_LISTENERS, RUNTIME
from pilothouse.xds.resource import CLUSTER, ENDPOINT, LISTENER, ROUTE, VIRTUAL_HOST, Resource, Snapshot

FIRST_PORT = 1024
IMPORTED_FOR_JSON = (_internal_listener_pb2,)
"""The Any field of the bootstrap extension is found by name, which needs its module to be loaded."""


class Bootstrap:
    """A bootstrap that snapshots are folded into."""

    def __init__(self) -> None:
        started_with = {"layered_runtime": {"layers": [RUNTIME]}, "bootstrap_extensions": [INTERNAL_LISTENERS]}
        self._message = ParseDict(started_with, bootstrap_pb2.Bootstrap())
        self._clusters: dict[str, int] = {}
        self._known: set[tuple[str, str, str]] = set()
        self._listeners = 0

    def fold(self, snapshot: Snapshot) -> None:
        """Add everything that ``snapshot`` holds."""
        for resource in snapshot.resources(CLUSTER):
            self._add_cluster(resource, snapshot)
        for resource in snapshot.resources(LISTENER):
            self._add_listener(resource, snapshot)
        for resource in snapshot.resources(ROUTE):
            if not any(resource.name in rds_names(r) for r in snapshot.resources(LISTENER)):
                raise ValueError(f"the route configuration {resource.name} is used by no listener")

    def _add_cluster(self, resource: Resource, snapshot: Snapshot) -> None:
        message = cluster_pb2.Cluster.FromString(resource.body)
        version = ""
        if message.type == cluster_pb2.Cluster.EDS:
            found = snapshot.find(ENDPOINT, message.eds_cluster_config.service_name or message.name)
            if found is None:
                raise ValueError(f"the cluster {message.name} has no load assignment")
            version = found.version
            message.type = cluster_pb2.Cluster.STATIC
            message.ClearField("eds_cluster_config")
            message.load_assignment.CopyFrom(endpoint_pb2.ClusterLoadAssignment.FromString(found.body))
        identity = (resource.name, resource.version, version)
        if identity in self._known:
            return
        self._known.add(identity)
        count = self._clusters[resource.name] = self._clusters.get(resource.name, 0) + 1
        if count > 1:
            message.name = f"{resource.name}#{count}"
        self._message.static_resources.clusters.append(message)

    def _add_listener(self, resource: Resource, snapshot: Snapshot) -> None:
        message = listener_pb2.Listener.FromString(resource.body)
        inline_routes(message, snapshot)
        message.name = f"{resource.name}#{self._listeners}"
        if not message.HasField("internal_listener"):
            message.address.socket_address.port_value = FIRST_PORT + self._listeners
        self._listeners += 1
        self._message.static_resources.listeners.append(message)

    def serialized(self) -> bytes:
        """The bootstrap in protobuf's binary form, which Envoy reads from a file named ``*.pb``."""
        return self._message.SerializeToString(deterministic=True)


def folded(snapshots: Iterable[Snapshot]) -> bytes:
    """The bytes of a bootstrap that holds all ``snapshots``."""
    bootstrap = Bootstrap()
    for snapshot in snapshots:
        bootstrap.fold(snapshot)
    return bootstrap.serialized()


def managers(
    listener: listener_pb2.Listener,
) -> Iterator[tuple[listener_components_pb2.Filter, http_connection_manager_pb2.HttpConnectionManager]]:
    """The connection managers of a listener, each with the filter that holds it."""
    for chain in listener.filter_chains:
        for one in chain.filters:
            manager = http_connection_manager_pb2.HttpConnectionManager()
            if one.typed_config.Unpack(manager):
                yield one, manager


def rds_names(listener: Resource) -> set[str]:
    """The route configurations that a listener asks for."""
    message = listener_pb2.Listener.FromString(listener.body)
    return {manager.rds.route_config_name for _, manager in managers(message) if manager.HasField("rds")}


def inline_routes(listener: listener_pb2.Listener, snapshot: Snapshot) -> None:
    """Put the route configuration with all its virtual hosts where the listener asks for it by name."""
    for one, manager in managers(listener):
        if not manager.HasField("rds"):
            continue
        name = manager.rds.route_config_name
        found = snapshot.find(ROUTE, name)
        if found is None:
            raise ValueError(f"the listener {listener.name} asks for {name}, which does not exist")
        routes = route_pb2.RouteConfiguration.FromString(found.body)
        routes.ClearField("vhds")
        for host in snapshot.resources(VIRTUAL_HOST):
            if host.name.startswith(f"{name}/"):
                routes.virtual_hosts.append(route_components_pb2.VirtualHost.FromString(host.body))
        routes.validate_clusters.value = True
        manager.route_config.CopyFrom(routes)
        one.typed_config.Pack(manager, deterministic=True)

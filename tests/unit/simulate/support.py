"""Snapshots by hand: Envoy's messages without the compiler, so that the simulation is judged on its own."""

from typing import Any

from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.endpoint.v3 import endpoint_pb2
from envoy.config.listener.v3 import listener_pb2
from envoy.config.route.v3 import route_components_pb2, route_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.json_format import ParseDict
from google.protobuf.message import Message

from pilothouse.kit.origin import FileOrigin
from pilothouse.xds.resource import (
    CLUSTER,
    ENDPOINT,
    LISTENER,
    ROUTE,
    VIRTUAL_HOST,
    Resource,
    Snapshot,
    resource_set,
)

AT = ("10.0.0.1", 80)
EVERYTHING = {"prefix": "/"}


def resource(name: str, message: Message, *origins: FileOrigin) -> Resource:
    return Resource(name, "1", message.SerializeToString(), origins)


def a_route(match: dict[str, Any] | None = None, **fields: Any) -> route_components_pb2.Route:
    """A route from JSON; without an action it answers 200."""
    action = (
        fields if {"route", "redirect", "direct_response"} & fields.keys() else {"direct_response": {"status": 200}}
    )
    return ParseDict({"match": match or EVERYTHING, **action, **fields}, route_components_pb2.Route())


def a_host(name: str, *domains: str, routes: tuple[route_components_pb2.Route, ...] = ()) -> Resource:
    message = route_components_pb2.VirtualHost(name=name, domains=domains, routes=routes or (a_route(),))
    return resource(f"table/{name}", message, FileOrigin("f.yaml", 1, 1, "VirtualService", "default", name))


def a_listener(address: str = "10.0.0.1", port: int = 80, **manager: Any) -> Resource:
    settings = manager or {"rds": {"route_config_name": "table", "config_source": {"ads": {}}}}
    packed = AnyMessage()
    packed.Pack(ParseDict(settings, http_connection_manager_pb2.HttpConnectionManager()))
    message = listener_pb2.Listener(
        address={"socket_address": {"address": address, "port_value": port}},
        filter_chains=[{"filters": [{"name": "manager", "typed_config": packed}]}],
    )
    return resource(f"{address}_{port}", message)


def a_table(*, ignores_port: bool = False) -> Resource:
    message = route_pb2.RouteConfiguration(name="table", ignore_port_in_host_matching=ignores_port)
    return resource("table", message)


def a_cluster(name: str, **fields: Any) -> Resource:
    settings = fields or {"type": "EDS", "eds_cluster_config": {"service_name": name}}
    return resource(name, ParseDict({"name": name, **settings}, cluster_pb2.Cluster()))


def endpoints_of(name: str, *healths: str) -> Resource:
    """One endpoint per word: its health."""
    assignment = {
        "cluster_name": name,
        "endpoints": [
            {
                "lb_endpoints": [
                    {
                        "endpoint": {"address": {"socket_address": {"address": f"10.1.0.{n}", "port_value": 80}}},
                        "health_status": health,
                    }
                    for n, health in enumerate(healths, 1)
                ]
            }
        ],
    }
    return resource(name, ParseDict(assignment, endpoint_pb2.ClusterLoadAssignment()))


def a_snapshot(
    *,
    hosts: tuple[Resource, ...] = (),
    clusters: tuple[Resource, ...] = (),
    endpoints: tuple[Resource, ...] = (),
    listeners: tuple[Resource, ...] | None = None,
    tables: tuple[Resource, ...] | None = None,
) -> Snapshot:
    layers = {
        LISTENER: (a_listener(),) if listeners is None else listeners,
        ROUTE: (a_table(),) if tables is None else tables,
        VIRTUAL_HOST: hosts,
        CLUSTER: clusters,
        ENDPOINT: endpoints,
    }
    return Snapshot({kind: (resource_set(*resources),) for kind, resources in layers.items()})

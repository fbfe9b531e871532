"""Load assignments: the endpoints of one cluster, by locality. The fast path of every registry event.

Nothing here can touch a cluster, a route or a listener (DESIGN: endpoints never touch them).
"""

from itertools import groupby

from envoy.config.endpoint.v3 import endpoint_pb2

from pilothouse.compiler.wire import Fields, seal_bytes, string_map
from pilothouse.kit.origin import Origin
from pilothouse.model.service import Endpoint, Health, Locality
from pilothouse.resolve.view import AssignmentView
from pilothouse.xds.resource import Resource

_HEALTH = {
    Health.HEALTHY: "HEALTHY",
    Health.UNKNOWN: "UNKNOWN",
    Health.DRAINING: "DRAINING",
    Health.UNHEALTHY: "UNHEALTHY",
}


def compile_assignment(view: AssignmentView) -> Resource:
    """The ClusterLoadAssignment, with the endpoints' origins as its own."""
    message = endpoint_pb2.ClusterLoadAssignment(**load_assignment(view))
    origins: tuple[Origin, ...] = tuple(dict.fromkeys(e.origin for e in view.endpoints))
    return seal_bytes(view.cluster, message.SerializeToString(deterministic=True), origins)


def load_assignment(view: AssignmentView) -> Fields:
    """Keyword arguments of a ClusterLoadAssignment: localities in order, endpoints in the view's order."""
    ordered = sorted(view.endpoints, key=lambda e: e.locality)
    groups = [locality_group(place, tuple(found)) for place, found in groupby(ordered, key=lambda e: e.locality)]
    return {"cluster_name": view.cluster, "endpoints": groups}


def locality_group(locality: Locality, endpoints: tuple[Endpoint, ...]) -> Fields:
    """One LocalityLbEndpoints; its weight is the sum of its endpoints' weights, as istiod has it."""
    group: Fields = {
        "lb_endpoints": [lb_endpoint(e) for e in endpoints],
        "load_balancing_weight": {"value": sum(e.weight for e in endpoints)},
    }
    if locality != Locality():
        group["locality"] = {"region": locality.region, "zone": locality.zone, "sub_zone": locality.subzone}
    return group


def lb_endpoint(endpoint: Endpoint) -> Fields:
    """One endpoint, with the workload that serves it in Istio's metadata."""
    address = {"socket_address": {"address": endpoint.address, "port_value": endpoint.port}}
    fields: Fields = {
        "endpoint": {"address": address},
        "load_balancing_weight": {"value": endpoint.weight},
    }
    if endpoint.health is not Health.HEALTHY:
        fields["health_status"] = _HEALTH[endpoint.health]
    if endpoint.workload_id:
        workload = (("workload", endpoint.workload_id),)
        fields["metadata"] = {"filter_metadata": {"istio": string_map(workload)}}
    return fields

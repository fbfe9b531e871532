"""What a matching route does with the request: forward, redirect, answer.

Second half of ``simulate_request``: from a virtual host to an outcome. Endpoints come from the load assignment, as
Envoy would use them: those that are known to be unhealthy or draining receive nothing.
"""

from collections.abc import Iterator
from typing import Final

from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.core.v3 import health_check_pb2
from envoy.config.endpoint.v3 import endpoint_pb2
from envoy.config.route.v3 import route_components_pb2
from envoy.extensions.filters.http.fault.v3 import fault_pb2
from envoy.type.v3 import percent_pb2

from pilothouse.simulate.comparing import CannotTell
from pilothouse.simulate.lookup import without_port
from pilothouse.simulate.request import Request
from pilothouse.simulate.verdict import (
    Answered,
    Faults,
    Forwarded,
    NoCluster,
    NoEndpoints,
    Outcome,
    Reached,
    Redirected,
    Retries,
    Share,
    Step,
    Target,
)
from pilothouse.xds.resource import CLUSTER, ENDPOINT, Snapshot

_FAULT: Final = "envoy.filters.http.fault"
_FORWARD_PROXY: Final = "envoy.clusters.dynamic_forward_proxy"
_STATUS: Final = {
    route_components_pb2.RedirectAction.MOVED_PERMANENTLY: 301,
    route_components_pb2.RedirectAction.FOUND: 302,
    route_components_pb2.RedirectAction.SEE_OTHER: 303,
    route_components_pb2.RedirectAction.TEMPORARY_REDIRECT: 307,
    route_components_pb2.RedirectAction.PERMANENT_REDIRECT: 308,
}
_SCALE: Final = {
    percent_pb2.FractionalPercent.HUNDRED: 10_000,
    percent_pb2.FractionalPercent.TEN_THOUSAND: 100,
    percent_pb2.FractionalPercent.MILLION: 1,
}
_RECEIVING: Final = (
    health_check_pb2.HealthStatus.HEALTHY,
    health_check_pb2.HealthStatus.UNKNOWN,
    health_check_pb2.HealthStatus.DEGRADED,
)
_DEFAULT_PORTS: Final = {"http": "80", "https": "443"}


def decide(snapshot: Snapshot, route: route_components_pb2.Route, request: Request) -> tuple[Outcome, tuple[Step, ...]]:
    """The outcome of a route that matched, with a step per cluster that it uses."""
    kind = route.WhichOneof("action")
    if kind == "redirect":
        status = _STATUS[route.redirect.response_code]
        return Redirected(status, location(route, request)), ()
    if kind == "direct_response":
        return Answered(route.direct_response.status, body_of(route.direct_response, request)), ()
    if kind != "route":
        raise CannotTell(f"a route with the action {kind}")
    return forward(snapshot, route, request)


def body_of(answer: route_components_pb2.DirectResponseAction, request: Request) -> bytes:
    """The body of a direct answer: as written, or with the request's authority in it."""
    if answer.HasField("body_format"):
        text: str = answer.body_format.text_format_source.inline_string
        return text.replace("%REQ(:AUTHORITY)%", request.authority).replace("%%", "%").encode()
    return answer.body.inline_bytes or answer.body.inline_string.encode()


def forward(
    snapshot: Snapshot, route: route_components_pb2.Route, request: Request
) -> tuple[Outcome, tuple[Step, ...]]:
    """Where the request goes. A route to one cluster that cannot be reached is that cluster's outcome."""
    action = route.route
    shares = tuple(shares_of(snapshot, action))
    steps = tuple(cluster_step(snapshot, share.target.cluster) for share in shares)
    only = shares[0].target
    faults = faults_of(route)
    if len(shares) == 1 and not isinstance(only, Reached) and faults is None:
        return only, steps
    path = rewritten_path(route.match, action.prefix_rewrite, request)
    authority = action.host_rewrite_literal or request.authority
    forwarded = Forwarded(
        shares=shares,
        authority=authority,
        path=path,
        timeout_ms=action.timeout.ToMilliseconds() if action.HasField("timeout") else 15_000,
        retries=retries_of(action),
        faults=faults,
        rewritten=(authority, path) != (request.authority, request.path),
    )
    return forwarded, steps


def shares_of(snapshot: Snapshot, action: route_components_pb2.RouteAction) -> Iterator[Share]:
    """The clusters of a route with their weights."""
    kind = action.WhichOneof("cluster_specifier")
    if kind == "cluster":
        yield Share(1, target_of(snapshot, action.cluster))
    elif kind == "weighted_clusters":
        for share in action.weighted_clusters.clusters:
            yield Share(share.weight.value, target_of(snapshot, share.name), share.host_rewrite_literal)
    else:
        raise CannotTell(f"a cluster chosen by {kind}")


def cluster_step(snapshot: Snapshot, name: str) -> Step:
    """The step of a cluster, whether or not it exists."""
    found = snapshot.find(CLUSTER, name)
    return Step("cluster", name, found.origins if found is not None else ())


def target_of(snapshot: Snapshot, name: str) -> Target:
    """The cluster with the endpoints that receive traffic, or why there are none."""
    found = snapshot.find(CLUSTER, name)
    if found is None:
        return NoCluster(name)
    cluster = cluster_pb2.Cluster.FromString(found.body)
    if cluster.cluster_type.name == _FORWARD_PROXY:
        return Reached(name, ("wherever the host's name resolves to",))
    assignment = cluster.load_assignment
    if cluster.type == cluster_pb2.Cluster.EDS:
        resource = snapshot.find(ENDPOINT, cluster.eds_cluster_config.service_name or name)
        if resource is None:
            return NoEndpoints(name)
        assignment = endpoint_pb2.ClusterLoadAssignment.FromString(resource.body)
    endpoints = tuple(receiving(assignment))
    return Reached(name, endpoints) if endpoints else NoEndpoints(name)


def receiving(assignment: endpoint_pb2.ClusterLoadAssignment) -> Iterator[str]:
    """``address:port`` of the endpoints that receive traffic."""
    for locality in assignment.endpoints:
        for one in locality.lb_endpoints:
            if one.health_status in _RECEIVING:
                address = one.endpoint.address
                socket = address.socket_address
                inside = address.envoy_internal_address.server_listener_name
                yield f"the listener {inside}" if inside else f"{socket.address}:{socket.port_value}"


def retries_of(action: route_components_pb2.RouteAction) -> Retries | None:
    """The retry policy of a route."""
    if not action.HasField("retry_policy"):
        return None
    policy = action.retry_policy
    attempts = policy.num_retries.value if policy.HasField("num_retries") else 1
    return Retries(attempts, policy.retry_on, policy.per_try_timeout.ToMilliseconds())


def faults_of(route: route_components_pb2.Route) -> Faults | None:
    """The faults of a route, if any request gets one."""
    if _FAULT not in route.typed_per_filter_config:
        return None
    fault = fault_pb2.HTTPFault.FromString(route.typed_per_filter_config[_FAULT].value)
    grpc = fault.abort.WhichOneof("error_type") == "grpc_status"
    faults = Faults(
        delay_ms=fault.delay.fixed_delay.ToMilliseconds(),
        delayed=per_million(fault.delay.percentage),
        abort=f"gRPC {fault.abort.grpc_status}" if grpc else str(fault.abort.http_status),
        aborted=per_million(fault.abort.percentage),
    )
    return faults if faults.delayed or faults.aborted else None


def per_million(share: percent_pb2.FractionalPercent) -> int:
    """A share as parts of a million."""
    return share.numerator * _SCALE[share.denominator]


def rewritten_path(match: route_components_pb2.RouteMatch, rewrite: str, request: Request) -> str:
    """The path with its matched part replaced; the query stays. A regular expression matched the whole path."""
    if not rewrite:
        return request.path
    path = request.bare_path
    matched = match.prefix if match.WhichOneof("path_specifier") == "prefix" else path
    return rewrite + request.path[len(matched) :]


def location(route: route_components_pb2.Route, request: Request) -> str:
    """The Location header of a redirect: what the redirect does not name stays as the request had it."""
    to = route.redirect
    scheme = "https" if to.https_redirect else to.scheme_redirect or request.scheme
    host = to.host_redirect or kept_authority(request, scheme, changes_port=bool(to.port_redirect))
    port = f":{to.port_redirect}" if to.port_redirect else ""
    if to.path_redirect:
        query = request.path[len(request.bare_path) :] if "?" not in to.path_redirect else ""
        path = to.path_redirect + query
    else:
        path = rewritten_path(route.match, to.prefix_rewrite, request)
    return f"{scheme}://{host}{port}{path}"


def kept_authority(request: Request, scheme: str, *, changes_port: bool) -> str:
    """The request's authority; a default port goes when the scheme changes, any port when another is named."""
    bare = without_port(request.authority)
    port = request.authority[len(bare) + 1 :]
    implied = scheme != request.scheme and port == _DEFAULT_PORTS.get(request.scheme)
    return bare if changes_port or implied else request.authority

"""HTTP routes of a VirtualService, finished: which targets, which retries, which faults.

References are closed here: a route to a host or subset that does not exist becomes an answer that says so (503), and
a missing share of a split goes to the cluster that never has an endpoint; Envoy would accept the dangling name in
silence. Source: istio-behaviour §2.1, §12.
"""

from collections.abc import Callable, Iterable, Iterator

from pilothouse.config import virtualservice as spec
from pilothouse.config.validate_routes import GRPC_STATUSES
from pilothouse.kit.origin import Origin
from pilothouse.resolve.callees import Callee, cluster_name
from pilothouse.resolve.headers import authority_rewrite, authority_set, header_policy, joined
from pilothouse.resolve.matching import Vantage, concerns, request_match
from pilothouse.resolve.retries import DEFAULT_RETRIES, retry_policy
from pilothouse.resolve.routing import RoutingRule, gateway_name
from pilothouse.resolve.traffic import ms
from pilothouse.resolve.view import (
    BLACK_HOLE,
    Abort,
    Action,
    Delay,
    DirectAnswer,
    Fault,
    Forward,
    HeaderPolicy,
    Redirect,
    RequestMatch,
    RouteView,
    WeightedTarget,
)


def http_routes(
    rule: RoutingRule, vantage: Vantage, callee_of: Callable[[str], Callee | None]
) -> tuple[RouteView, ...]:
    """The routes of ``rule`` as seen from ``vantage``, up to the first that catches all requests."""
    return tuple(until_catch_all(each_route(rule, vantage, callee_of)))


def until_catch_all(routes: Iterable[RouteView]) -> Iterator[RouteView]:
    """The routes that can be reached: nothing after one that every request matches."""
    for route in routes:
        yield route
        if route.match.catches_all:
            return


def each_route(rule: RoutingRule, vantage: Vantage, callee_of: Callable[[str], Callee | None]) -> Iterator[RouteView]:
    """One route per match block; one without a match where no block is written."""
    for index, http in enumerate(rule.spec.http):
        path = f"spec.http[{index}]"
        action = action_of(http, rule, vantage, callee_of)
        if not http.match:
            yield route_view(rule, http, action, RequestMatch(), (path, "", ""))
        for number, match in enumerate(http.match):
            gateways = tuple(gateway_name(name, rule.config.key.namespace) for name in match.gateways)
            if concerns(match, gateways, vantage):
                place = (f"{path}.match[{number}]", match.name, match.stat_prefix)
                yield route_view(rule, http, action, request_match(match), place)


def route_view(
    rule: RoutingRule, http: spec.HTTPRoute, action: Action, match: RequestMatch, place: tuple[str, str, str]
) -> RouteView:
    """One route. ``place`` is the path of the match, its name, and its prefix for statistics."""
    path, match_name, stat_prefix = place
    return RouteView(
        match=match,
        action=action,
        origins=(rule.config.origin_at(path),),
        name=".".join(part for part in (http.name, match_name) if part) if http.name else match_name,
        rule=rule.istio_name,
        operation=operation(rule, http, match),
        stat_prefix=stat_prefix,
        fault=fault_of(http.fault),
        headers=route_headers(http, action),
    )


def route_headers(http: spec.HTTPRoute, action: Action) -> HeaderPolicy:
    """The header changes of a route: its own, then those of its target if there is only one."""
    headers = header_policy(http.headers)
    if isinstance(action, Forward) and len(action.targets) == 1:
        return joined(headers, action.targets[0].headers)
    return headers


def operation(rule: RoutingRule, http: spec.HTTPRoute, match: RequestMatch) -> str:
    """The operation name of traces: where the request goes, and which path was asked for."""
    name = rule.config.key.name
    if len(http.route) == 1 and http.route[0].destination is not None:
        name = rule.host_name(http.route[0].destination.host)
    return f"{name}{match.path.value or '/'}*"


def action_of(
    http: spec.HTTPRoute, rule: RoutingRule, vantage: Vantage, callee_of: Callable[[str], Callee | None]
) -> Action:
    """What happens to a matching request."""
    if http.redirect is not None:
        return redirect_of(http.redirect, vantage)
    if http.direct_response is not None:
        body = http.direct_response.body
        return DirectAnswer(http.direct_response.status, (body.string or "").encode() if body is not None else b"")
    shares = [r for r in http.route if r.weight or len(http.route) == 1]
    found = [target_of(share, rule, vantage, callee_of) for share in shares]
    if len(found) == 1 and isinstance(found[0], str):
        return DirectAnswer(503, f"pilothouse: {found[0]}\n".encode())
    targets = tuple(
        t if isinstance(t, WeightedTarget) else WeightedTarget(BLACK_HOLE, share.weight)
        for t, share in zip(found, shares, strict=True)
    )
    hashed = len(targets) == 1 and targets[0].hash_key is not None
    return Forward(
        targets=targets,
        timeout_ms=ms(http.timeout),
        retries=retry_policy(http.retries, keeps_host=hashed),
        prefix_rewrite=http.rewrite.uri if http.rewrite is not None else "",
        authority_rewrite=(targets[0].authority_rewrite if len(targets) == 1 else "") or authority_rewrite(http),
    )


def target_of(
    share: spec.HTTPRouteDestination,
    rule: RoutingRule,
    vantage: Vantage,
    callee_of: Callable[[str], Callee | None],
) -> WeightedTarget | str:
    """The cluster of one destination, or a sentence that says why there is none."""
    destination = share.destination or spec.Destination()
    host = rule.host_name(destination.host)
    callee = callee_of(host)
    if callee is None:
        return f"no service {host} is known here"
    port = destination_port(callee, destination, vantage)
    if port is None:
        numbers = ", ".join(str(p.number) for p in callee.service.ports)
        return f"{host} has the ports {numbers}; the route has to name one"
    cluster = callee.cluster(port, destination.subset)
    if cluster is None and destination.subset and destination.subset not in callee.subsets:
        return f"no DestinationRule defines the subset {destination.subset} of {host}"
    if cluster is None and port in (p.number for p in callee.service.ports):
        whom = f"the subset {destination.subset} of {host}" if destination.subset else host
        return f"{whom} has no endpoints"
    if cluster is None:
        return f"{host} has no port {port}"
    return WeightedTarget(
        cluster=cluster.name,
        weight=share.weight,
        headers=header_policy(share.headers),
        authority_rewrite=authority_set(share.headers),
        hash_key=cluster.policy.hash_key,
    )


def destination_port(callee: Callee, destination: spec.Destination, vantage: Vantage) -> int | None:
    """The port that is meant: the one named, the listener's own, or the only one.

    istiod takes the listener's number even where the service has no such port, and the cluster does not exist.
    """
    if destination.port is not None and destination.port.number:
        return destination.port.number
    numbers = [p.number for p in callee.service.ports]
    if vantage.port in numbers:
        return vantage.port
    return numbers[0] if len(numbers) == 1 else None


def default_route(callee: Callee, port: int) -> RouteView:
    """The route of a service that no VirtualService speaks of. As in istiod, affinity does not soften its retries."""
    cluster = callee.cluster(port, "")
    host = callee.service.host
    hash_key = cluster.policy.hash_key if cluster is not None else None
    target = WeightedTarget(cluster_name(port, "", host) if cluster is not None else BLACK_HOLE, 0, hash_key=hash_key)
    origins: tuple[Origin, ...] = (callee.service.origin,)
    return RouteView(
        match=RequestMatch(),
        action=Forward((target,), retries=DEFAULT_RETRIES),
        origins=origins,
        name="default",
        operation=f"{host}:{port}/*",
    )


def redirect_of(redirect: spec.HTTPRedirect, vantage: Vantage) -> Redirect:
    """A redirect. FROM_REQUEST_PORT means the listener's port, which goes unsaid where the scheme implies it.

    A port that is written goes unsaid only beside an authority. Otherwise the client's own port would stay (istiod
    leaves it out there too).
    """
    port = redirect.port or 0
    if redirect.authority and redirect.scheme == {80: "http", 443: "https"}.get(port):
        port = 0
    if redirect.derive_port is spec.RedirectPortSelection.FROM_REQUEST_PORT:
        implied = {80: "http", 443: "https"}.get(vantage.port)
        port = 0 if implied is not None and implied == (redirect.scheme or "http") else vantage.port
    return Redirect(
        code=redirect.redirect_code or 301,
        authority=redirect.authority,
        path=redirect.uri,
        prefix=redirect.prefix_rewrite,
        scheme=redirect.scheme,
        port=port,
    )


def fault_of(fault: spec.HTTPFaultInjection | None) -> Fault | None:
    """Faults, without those that concern no request."""
    if fault is None:
        return None
    delay = abort = None
    if fault.delay is not None and fault.delay.percentage is not None and fault.delay.percentage.per_million:
        delay = Delay(ms(fault.delay.fixed_delay), fault.delay.percentage.per_million)
    if fault.abort is not None and fault.abort.percentage is not None and fault.abort.percentage.per_million:
        grpc = GRPC_STATUSES.index(fault.abort.grpc_status) if fault.abort.grpc_status in GRPC_STATUSES else None
        abort = Abort(fault.abort.percentage.per_million, fault.abort.http_status or 0, grpc)
    return Fault(delay, abort) if delay is not None or abort is not None else None

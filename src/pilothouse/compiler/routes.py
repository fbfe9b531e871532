"""Virtual hosts and route configurations.

A virtual host is compiled once and travels alone on delta streams; state-of-the-world streams get the same bytes
joined into their RouteConfiguration. A route change therefore compiles the virtual hosts that it names and nothing
else, in both variants.
"""

from dataclasses import replace
from typing import assert_never

from envoy.config.route.v3 import route_components_pb2, route_pb2
from envoy.extensions.filters.http.fault.v3 import fault_pb2
from envoy.extensions.retry.host.previous_hosts.v3 import previous_hosts_pb2
from envoy.extensions.retry.priority.previous_priorities.v3 import previous_priorities_config_pb2

from pilothouse.compiler.matches import route_match
from pilothouse.compiler.outside import ENABLED, OUTSIDE_GUARD
from pilothouse.compiler.wire import (
    ADS,
    Fields,
    any_of,
    duration,
    seal,
    seal_bytes,
    string_map,
    wrapped,
)
from pilothouse.kit.origin import BuiltIn
from pilothouse.resolve.policy import HashCookie, HashHeader, HashKey, HashQueryParameter, HashSourceIp
from pilothouse.resolve.view import (
    DirectAnswer,
    Fault,
    Forward,
    HeaderChanges,
    HeaderPolicy,
    Redirect,
    RetryPolicy,
    RouteView,
    TableHead,
    VirtualHostView,
    WeightedTarget,
)
from pilothouse.xds.framing import bytes_field
from pilothouse.xds.resource import VIRTUAL_HOST, Resource

FAULT_FILTER = "envoy.filters.http.fault"
MAX_DIRECT_BODY = 1 << 20
_NAME_FIELD = 1
_VIRTUAL_HOSTS_FIELD = 2


_TUNNEL = BuiltIn("CONNECT through the app's HTTP proxy port")


def compile_virtual_host(view: VirtualHostView) -> Resource:
    """The virtual host as VHDS wants it: resource and message are both named ``TABLE/NAME``.

    Envoy keeps it under the message's name and removes it by the resource's; if the two differ, a removed virtual
    host goes on answering, and a domain that moves to another one is refused as a duplicate.
    """
    name = f"{view.table}/{view.name}"
    tunnels = (view.tunnel,) if view.tunnel else ()
    message = route_components_pb2.VirtualHost(
        name=name,
        domains=view.domains,
        routes=[*map(tunnel, tunnels), *map(route, view.routes)],
        include_request_attempt_count=True,
        typed_per_filter_config={OUTSIDE_GUARD: any_of(ENABLED)} if view.guarded else {},
    )
    origins = tuple(dict.fromkeys((*view.origins, *(o for r in view.routes for o in r.origins))))
    parts = (*(_TUNNEL for _ in tunnels), *(r.origins[0] for r in view.routes))
    return replace(seal(name, message, origins), parts=parts)


def tunnel(cluster: str) -> Fields:
    """The route that takes ``CONNECT`` and nothing else, because no comparison of paths matches it."""
    connect = {"upgrade_type": "CONNECT", "connect_config": {}}
    action = {"cluster": cluster, "timeout": duration(0), "upgrade_configs": [connect]}
    return {"name": "connect", "match": {"connect_matcher": {}}, "route": action}


def compile_table(table: TableHead) -> Resource:
    """The route configuration for delta streams: it holds no virtual host, it subscribes to them."""
    message = route_configuration(table.name, strips_port=table.strips_port)
    message.vhds.config_source.CopyFrom(route_pb2.Vhds(config_source=ADS).config_source)
    return seal(table.name, message, table.origins, follows=((VIRTUAL_HOST, f"{table.name}/"),))


def join_table(table: Resource, hosts: tuple[Resource, ...]) -> Resource:
    """The route configuration for state-of-the-world streams, from the bytes of its virtual hosts."""
    message = route_pb2.RouteConfiguration.FromString(table.body)
    message.ClearField("vhds")
    prefix = f"{table.name}/"
    mine = [r for r in hosts if r.name.startswith(prefix)]
    head = message.SerializeToString(deterministic=True)
    named = (renamed(r.body, r.name, r.name.removeprefix(prefix)) for r in mine)
    body = head + b"".join(bytes_field(_VIRTUAL_HOSTS_FIELD, host) for host in named)
    origins = tuple(dict.fromkeys((*table.origins, *(o for r in mine for o in r.origins))))
    return seal_bytes(table.name, body, origins)


def renamed(body: bytes, old: str, new: str) -> bytes:
    """The serialised virtual host under its short name, as istiod calls it. The name is field 1, so it comes first."""
    head = bytes_field(_NAME_FIELD, old.encode())
    if not body.startswith(head):
        raise ValueError(f"virtual host {old} does not begin with its name")
    return bytes_field(_NAME_FIELD, new.encode()) + body[len(head) :]


def absent_table(name: str) -> Resource:
    """An empty route configuration (404 for everything) under a name that nothing defines."""
    return seal(name, route_configuration(name, strips_port=True), (BuiltIn("no such route configuration"),))


def route_configuration(name: str, *, strips_port: bool) -> route_pb2.RouteConfiguration:
    """What every route configuration has in common with istiod's."""
    return route_pb2.RouteConfiguration(
        name=name,
        validate_clusters=wrapped(value=False),
        ignore_port_in_host_matching=strips_port,
        max_direct_response_body_size_bytes=wrapped(MAX_DIRECT_BODY),
    )


def route(view: RouteView) -> Fields:
    """One Route."""
    fields: Fields = {"name": view.name, "match": route_match(view.match), **action(view)}
    if view.operation:
        fields["decorator"] = {"operation": view.operation}
    if view.rule:
        fields["metadata"] = {"filter_metadata": {"istio": string_map((("config", view.rule),))}}
    if view.stat_prefix:
        fields["stat_prefix"] = view.stat_prefix
    if view.fault is not None:
        fields["typed_per_filter_config"] = {FAULT_FILTER: any_of(fault(view.fault))}
    fields.update(header_changes(view.headers))
    return fields


def action(view: RouteView) -> Fields:
    """The action of a route."""
    match view.action:
        case Forward():
            return {"route": forward(view.action)}
        case Redirect():
            return {"redirect": redirect(view.action)}
        case DirectAnswer(status=status, body=body, names_host=names_host):
            answer: Fields = {"status": status}
            if names_host:
                text = body.decode().replace("%", "%%") + "%REQ(:AUTHORITY)%\n"
                answer["body_format"] = {"text_format_source": {"inline_string": text}}
            elif body:
                answer["body"] = data_source(body)
            return {"direct_response": answer}
    assert_never(view.action)


def data_source(body: bytes) -> Fields:
    """A DataSource. Text is written as text, so that people can read it in Envoy's dump of its configuration."""
    try:
        return {"inline_string": body.decode()}
    except UnicodeDecodeError:
        return {"inline_bytes": body}


def forward(target: Forward) -> Fields:
    """A RouteAction to one cluster or to a split."""
    timeout = duration(target.timeout_ms)
    fields: Fields = {"timeout": timeout, "max_grpc_timeout": timeout}
    if len(target.targets) == 1:
        fields["cluster"] = target.targets[0].cluster
    else:
        fields["weighted_clusters"] = {"clusters": [weighted(t) for t in target.targets]}
    if target.retries is not None:
        fields["retry_policy"] = retries(target.retries)
    if target.prefix_rewrite:
        fields["prefix_rewrite"] = target.prefix_rewrite
    if target.authority_rewrite:
        fields["host_rewrite_literal"] = target.authority_rewrite
    keys = tuple(dict.fromkeys(t.hash_key for t in target.targets if t.hash_key is not None))
    if keys:
        fields["hash_policy"] = [hash_policy(key) for key in keys]
    return fields


def weighted(target: WeightedTarget) -> Fields:
    """One share of a split."""
    fields: Fields = {"name": target.cluster, "weight": wrapped(target.weight), **header_changes(target.headers)}
    if target.authority_rewrite:
        fields["host_rewrite_literal"] = target.authority_rewrite
    return fields


def retries(policy: RetryPolicy) -> Fields:
    """A RetryPolicy in Envoy's words."""
    words = (*policy.conditions, *(("retriable-status-codes",) if policy.states_codes else ()))
    fields: Fields = {"num_retries": wrapped(policy.attempts), "retry_on": ",".join(words)}
    if policy.status_codes:
        fields["retriable_status_codes"] = list(policy.status_codes)
    if policy.per_try_timeout_ms:
        fields["per_try_timeout"] = duration(policy.per_try_timeout_ms)
    if policy.backoff_ms:
        fields["retry_back_off"] = {"base_interval": duration(policy.backoff_ms)}
    if policy.avoid_previous_hosts:
        predicate = any_of(previous_hosts_pb2.PreviousHostsPredicate())
        named = {"name": "envoy.retry_host_predicates.previous_hosts", "typed_config": predicate}
        fields["retry_host_predicate"] = [named]
        fields["host_selection_retry_max_attempts"] = 5
    if policy.other_localities:
        priorities = any_of(previous_priorities_config_pb2.PreviousPrioritiesConfig(update_frequency=2))
        fields["retry_priority"] = {"name": "envoy.retry_priorities.previous_priorities", "typed_config": priorities}
    return fields


def hash_policy(key: HashKey) -> Fields:
    """Where the affinity value of a request comes from."""
    match key:
        case HashHeader(name=name):
            return {"header": {"header_name": name}}
        case HashCookie():
            cookie: Fields = {"name": key.name, "path": key.path}
            if key.ttl_ms is not None:
                cookie["ttl"] = duration(key.ttl_ms)
            if key.attributes:
                cookie["attributes"] = [{"name": name, "value": value} for name, value in key.attributes]
            return {"cookie": cookie}
        case HashSourceIp():
            return {"connection_properties": {"source_ip": True}}
        case HashQueryParameter(name=name):
            return {"query_parameter": {"name": name}}
    assert_never(key)


def redirect(target: Redirect) -> Fields:
    """A RedirectAction."""
    codes = {301: "MOVED_PERMANENTLY", 302: "FOUND", 303: "SEE_OTHER", 307: "TEMPORARY_REDIRECT"}
    fields: Fields = {"response_code": codes.get(target.code, "PERMANENT_REDIRECT")}
    for field, value in (
        ("host_redirect", target.authority),
        ("path_redirect", target.path),
        ("prefix_rewrite", target.prefix),
        ("scheme_redirect", target.scheme),
        ("port_redirect", target.port),
    ):
        if value:
            fields[field] = value
    return fields


def fault(faults: Fault) -> fault_pb2.HTTPFault:
    """The fault filter's configuration for one route."""
    fields: Fields = {}
    if faults.delay is not None:
        share = per_million(faults.delay.per_million)
        fields["delay"] = {"fixed_delay": duration(faults.delay.ms), "percentage": share}
    if faults.abort is not None:
        status: Fields = {"http_status": faults.abort.http_status}
        if faults.abort.grpc_status is not None:
            status = {"grpc_status": faults.abort.grpc_status}
        fields["abort"] = {"percentage": per_million(faults.abort.per_million), **status}
    return fault_pb2.HTTPFault(**fields)


def per_million(share: int) -> Fields:
    """A FractionalPercent."""
    return {"numerator": share, "denominator": "MILLION"}


def header_changes(headers: HeaderPolicy) -> Fields:
    """Header operations of a route or of one share, on request and response."""
    return {**changes("request", headers.request), **changes("response", headers.response)}


def changes(side: str, headers: HeaderChanges) -> Fields:
    """Header operations of one side: ``set`` overwrites, ``add`` appends."""
    fields: Fields = {}
    adding = [header_value(k, v, "OVERWRITE_IF_EXISTS_OR_ADD") for k, v in headers.set_]
    adding += [header_value(k, v, "APPEND_IF_EXISTS_OR_ADD") for k, v in headers.add]
    if adding:
        fields[f"{side}_headers_to_add"] = adding
    if headers.remove:
        fields[f"{side}_headers_to_remove"] = list(headers.remove)
    return fields


def header_value(key: str, value: str, how: str) -> Fields:
    """One HeaderValueOption."""
    return {"header": {"key": key, "value": value}, "append_action": how}

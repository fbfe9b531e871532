"""Clusters: outbound ones from a ClusterView, inbound ones from a served port.

Shapes follow what istiod answers (istio-behaviour §2.2, §3.2), so that istioctl and dashboards read them.
"""

from typing import assert_never

from envoy.config.cluster.v3 import cluster_pb2
from envoy.extensions.upstreams.http.v3 import http_protocol_options_pb2

from pilothouse.compiler.endpoints import load_assignment
from pilothouse.compiler.outside import FORWARD_PROXY, forward_proxy_cluster
from pilothouse.compiler.wire import ADS, Fields, any_of, duration, seal, wrapped
from pilothouse.kit.origin import BuiltIn
from pilothouse.resolve.outside import BuiltInCluster
from pilothouse.resolve.policy import (
    ConnectionPool,
    LoadBalancing,
    Maglev,
    OutlierDetection,
    RingHash,
    SimpleLb,
    SlowStart,
    TrafficPolicy,
    UpstreamProtocol,
)
from pilothouse.resolve.view import AssignmentView, ClusterView, Discovery, ServedPort
from pilothouse.xds.resource import ENDPOINT, Resource

HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


def compile_cluster(view: ClusterView) -> Resource:
    """The outbound cluster. An EDS cluster is followed by its load assignment whenever it is sent."""
    fields: Fields = {
        "name": view.name,
        "type": view.discovery.value,
        "alt_stat_name": f"{view.name};",
        "connect_timeout": duration(view.policy.pool.connect_timeout_ms),
        "circuit_breakers": circuit_breakers(view.policy.pool),
        "metadata": istio_metadata(view),
        **balancing(view.policy.balancing, view.policy.slow_start),
        **http_options(view.policy),
        **health(view.policy.outliers),
        **keepalive(view.policy.pool),
    }
    follows: tuple[tuple[str, str], ...] = ()
    if view.discovery is Discovery.EDS:
        fields["eds_cluster_config"] = {"service_name": view.name, "eds_config": ADS}
        follows = ((ENDPOINT, view.name),)
    else:
        fields["load_assignment"] = load_assignment(AssignmentView(view.name, view.endpoints))
        fields.update(dns(view.discovery))
    return seal(view.name, cluster_pb2.Cluster(**fields), view.origins, follows)


def compile_inbound_cluster(served: ServedPort) -> Resource:
    """The cluster that holds exactly one endpoint: the app itself."""
    address = {"socket_address": {"address": served.app_address, "port_value": served.app_port}}
    fields: Fields = {
        "name": served.cluster,
        "type": "STATIC",
        "alt_stat_name": f"{served.cluster};",
        "connect_timeout": duration(10_000),
        "circuit_breakers": circuit_breakers(ConnectionPool()),
        "metadata": {"filter_metadata": {"istio": services_of(served.host, served.namespace)}},
        "load_assignment": {
            "cluster_name": served.cluster,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
        },
        **http_options(TrafficPolicy(protocol=UpstreamProtocol.HTTP2 if served.http2 else UpstreamProtocol.HTTP1)),
    }
    return seal(served.cluster, cluster_pb2.Cluster(**fields), served.origins)


def compile_built_in(cluster: BuiltInCluster) -> Resource:
    """One of the clusters that no service makes."""
    name = cluster.value
    fields: Fields = {"name": name, "alt_stat_name": f"{name};", "connect_timeout": duration(10_000)}
    match cluster:
        case BuiltInCluster.BLACK_HOLE:
            # Where the share of a split goes whose destination does not exist (503, UH).
            origin = BuiltIn("traffic to destinations that do not exist")
            fields["type"] = "STATIC"
        case BuiltInCluster.TUNNEL:
            origin = BuiltIn("what arrives inside CONNECT")
            address = {"envoy_internal_address": {"server_listener_name": name}}
            endpoint = {"lb_endpoints": [{"endpoint": {"address": address}}]}
            fields["load_assignment"] = {"cluster_name": name, "endpoints": [endpoint]}
            fields["type"] = "STATIC"
        case BuiltInCluster.OUTSIDE:
            origin = BuiltIn("hosts outside the mesh")
            fields["lb_policy"] = "CLUSTER_PROVIDED"
            fields["cluster_type"] = {"name": FORWARD_PROXY, "typed_config": any_of(forward_proxy_cluster())}
            # Speaks to the outside what the app speaks, so that HTTP/2 and gRPC get there too.
            fields.update(http_options(TrafficPolicy(protocol=UpstreamProtocol.SAME_AS_CLIENT)))
        case _:
            assert_never(cluster)
    return seal(name, cluster_pb2.Cluster(**fields), (origin,))


def compile_black_hole() -> Resource:
    """The cluster without endpoints."""
    return compile_built_in(BuiltInCluster.BLACK_HOLE)


def circuit_breakers(pool: ConnectionPool) -> Fields:
    """One threshold, every limit written out."""
    return {
        "thresholds": [
            {
                "max_connections": wrapped(pool.max_connections),
                "max_pending_requests": wrapped(pool.max_pending_requests),
                "max_requests": wrapped(pool.max_requests),
                "max_retries": wrapped(pool.max_retries),
            }
        ]
    }


def istio_metadata(view: ClusterView) -> Fields:
    """What istioctl reads: which services, which DestinationRule, which subset."""
    istio = services_of(view.host, view.namespace)
    if view.rule:
        istio["fields"]["config"] = {"string_value": view.rule}
    if view.subset:
        istio["fields"]["subset"] = {"string_value": view.subset}
    if view.external:
        istio["fields"]["external"] = {"bool_value": True}
    return {"filter_metadata": {"istio": istio}}


def services_of(host: str, namespace: str) -> Fields:
    """The ``services`` entry of Istio's cluster metadata."""
    # Inside a message, protobuf reads a dictionary for a Struct as its contents; as a map's value it does not.
    one = {"struct_value": {"host": host, "name": host, "namespace": namespace}}
    return {"fields": {"services": {"list_value": {"values": [one]}}}}


def balancing(how: LoadBalancing, slow_start: SlowStart | None) -> Fields:
    """The load-balancing policy and its configuration."""
    match how:
        case SimpleLb.LEAST_REQUEST:
            return {"lb_policy": "LEAST_REQUEST", **warm_up("least_request_lb_config", slow_start)}
        case SimpleLb.ROUND_ROBIN:
            return {"lb_policy": "ROUND_ROBIN", **warm_up("round_robin_lb_config", slow_start)}
        case SimpleLb.RANDOM:
            return {"lb_policy": "RANDOM"}
        case RingHash(minimum_size=size):
            config = {"minimum_ring_size": wrapped(size)} if size else {}
            return {"lb_policy": "RING_HASH", "ring_hash_lb_config": config}
        case Maglev(table_size=size):
            config = {"table_size": wrapped(size)} if size else {}
            return {"lb_policy": "MAGLEV", "maglev_lb_config": config}
    assert_never(how)


def warm_up(config: str, slow_start: SlowStart | None) -> Fields:
    """Slow start inside the load balancer's own configuration."""
    if slow_start is None:
        return {}
    window = {
        "slow_start_window": duration(slow_start.window_ms),
        "min_weight_percent": wrapped(slow_start.minimum_percent),
        "aggression": {"default_value": slow_start.aggression, "runtime_key": "pilothouse.slow_start.aggression"},
    }
    return {config: {"slow_start_config": window}}


def http_options(policy: TrafficPolicy) -> Fields:
    """HTTP options of the upstream side; nothing where Envoy's defaults (HTTP/1.1) are meant."""
    pool = policy.pool
    common: Fields = {}
    if pool.max_requests_per_connection:
        common["max_requests_per_connection"] = wrapped(pool.max_requests_per_connection)
    if pool.idle_timeout_ms:
        common["idle_timeout"] = duration(pool.idle_timeout_ms)
    if pool.max_connection_duration_ms:
        common["max_connection_duration"] = duration(pool.max_connection_duration_ms)
    if not common and policy.protocol is UpstreamProtocol.HTTP1:
        return {}
    http2: Fields = {}
    if pool.max_concurrent_streams:
        http2["max_concurrent_streams"] = wrapped(pool.max_concurrent_streams)
    options: Fields = upstream_protocol(policy.protocol, http2)
    if common:
        options["common_http_protocol_options"] = common
    message = http_protocol_options_pb2.HttpProtocolOptions(**options)
    return {"typed_extension_protocol_options": {HTTP_OPTIONS: any_of(message)}}


def upstream_protocol(protocol: UpstreamProtocol, http2: Fields) -> Fields:
    """The ``upstream_protocol_options`` alternative."""
    match protocol:
        case UpstreamProtocol.HTTP1:
            return {"explicit_http_config": {"http_protocol_options": {}}}
        case UpstreamProtocol.HTTP2:
            return {"explicit_http_config": {"http2_protocol_options": http2}}
        case UpstreamProtocol.SAME_AS_CLIENT:
            both = {"http_protocol_options": {}, "http2_protocol_options": http2}
            return {"use_downstream_protocol_config": both}
    assert_never(protocol)


def health(outliers: OutlierDetection | None) -> Fields:
    """Outlier detection, and the panic threshold that goes with it.

    The threshold is written in every case: by default Envoy sends traffic to ejected endpoints once half are
    ejected, which would undo an ejection in a service of one or two instances.
    """
    panic = {"healthy_panic_threshold": {"value": float(outliers.min_health_percent) if outliers else 0.0}}
    if outliers is None:
        return {"common_lb_config": panic}
    detection: Fields = {"enforcing_success_rate": wrapped(0)}
    for field, count in (
        ("consecutive_5xx", outliers.consecutive_5xx),
        ("consecutive_gateway_failure", outliers.consecutive_gateway_errors),
        ("consecutive_local_origin_failure", outliers.consecutive_local_origin_failures),
    ):
        if count is not None:
            detection[f"enforcing_{field}"] = wrapped(100 if count else 0)
            if count:
                detection[field] = wrapped(count)
    if outliers.split_local_origin:
        detection["split_external_local_origin_errors"] = True
        detection["enforcing_local_origin_success_rate"] = wrapped(0)
    if outliers.interval_ms is not None:
        detection["interval"] = duration(outliers.interval_ms)
    if outliers.base_ejection_ms is not None:
        detection["base_ejection_time"] = duration(outliers.base_ejection_ms)
    if outliers.max_ejection_percent:
        detection["max_ejection_percent"] = wrapped(outliers.max_ejection_percent)
    return {"common_lb_config": panic, "outlier_detection": detection}


def keepalive(pool: ConnectionPool) -> Fields:
    """TCP keepalive towards the endpoints."""
    if pool.keepalive is None:
        return {}
    values = {
        "keepalive_probes": pool.keepalive.probes,
        "keepalive_time": pool.keepalive.time_ms // 1000,
        "keepalive_interval": pool.keepalive.interval_ms // 1000,
    }
    return {"upstream_connection_options": {"tcp_keepalive": {k: wrapped(v) for k, v in values.items() if v}}}


def dns(discovery: Discovery) -> Fields:
    """How a DNS cluster resolves: like Istio, refreshed each minute unless the record says otherwise."""
    if discovery is Discovery.STATIC:
        return {}
    return {
        "dns_lookup_family": "V4_ONLY",
        "dns_refresh_rate": duration(60_000),
        "dns_jitter": duration(100),
        "respect_dns_ttl": True,
    }

"""What Envoy is started with: who it is, where its control plane is, and nothing that could come by xDS.

Pure: settings in, a bootstrap out, as the plain structure that Envoy reads as JSON. Every line that is not obvious
carries its reason; most were learnt from a real Envoy 1.40 (DESIGN §6 "Starting, stopping, outliving"). The token
is not in it: a bootstrap is readable through Envoy's admin interface.
"""

from typing import Any, Final, TypeAlias

import msgspec

from pilothouse.agent.settings import AgentSettings, Listen, is_ip
from pilothouse.model.proxy import CaptureMode

Json: TypeAlias = dict[str, Any]

XDS_CLUSTER: Final = "xds-grpc"
"""Istio's name for it; tools look for it."""
ISTIO_VERSION: Final = "1.31.0"
"""The Istio whose behaviour is reproduced. Clients and tools choose features by it."""
ADS: Final[Json] = {
    "ads": {},
    "resource_api_version": "V3",
    # Without it, an Envoy whose control plane is away goes LIVE with nothing after 15 s, and its /ready lies. With
    # it, Envoy stays PRE_INITIALIZING, and later a hot restart keeps the old epoch serving for as long as it takes.
    "initial_fetch_timeout": "0s",
}


def encode_bootstrap(settings: AgentSettings, version: str) -> str:
    """The bootstrap as JSON text, stable for equal settings. ``version`` is Pilothouse's own."""
    body = msgspec.json.encode(compile_bootstrap(settings, version), order="deterministic")
    return msgspec.json.format(body, indent=2).decode()


def compile_bootstrap(settings: AgentSettings, version: str) -> Json:
    """The bootstrap of ``settings``."""
    return {
        "node": node(settings, version),
        "admin": {"address": socket_address(settings.admin)},
        "dynamic_resources": dynamic_resources(),
        "static_resources": {"clusters": [xds_cluster(settings)]},
        "layered_runtime": {"layers": [RUNTIME, {"name": "admin", "admin_layer": {}}]},
        "overload_manager": {"resource_monitors": [CONNECTION_LIMIT]},
        "bootstrap_extensions": [INTERNAL_LISTENERS],
    }


def node(settings: AgentSettings, version: str) -> Json:
    """Who this Envoy is, in Istio's metadata format, so that existing tools and control planes read it."""
    return {
        "id": settings.node_id,
        "cluster": f"{settings.name}.{settings.namespace}",
        "locality": locality(settings),
        "metadata": metadata(settings, version),
    }


def locality(settings: AgentSettings) -> Json:
    """Envoy's locality without the parts that are unknown."""
    place = settings.locality
    parts = {"region": place.region, "zone": place.zone, "sub_zone": place.subzone}
    return {name: value for name, value in parts.items() if value}


def metadata(settings: AgentSettings, version: str) -> Json:
    """The node's metadata. Istio's keys hold what Istio's agent writes; ours begin with PILOTHOUSE."""
    fields: Json = {
        "NAME": settings.name,
        "WORKLOAD_NAME": settings.name,
        "NAMESPACE": settings.namespace,
        "INSTANCE_IPS": settings.address,
        "LABELS": dict(settings.labels),
        "SERVICE_ACCOUNT": settings.service_account,
        "MESH_ID": settings.mesh_id,
        "CLUSTER_ID": settings.cluster_id,
        "ISTIO_VERSION": ISTIO_VERSION,
        # Nothing is redirected: apps use the HTTP proxy port, and inbound listeners come from the registration.
        "INTERCEPTION_MODE": str(CaptureMode.NONE),
        # A workload is joined to its proxy by this id, never by IP: several workloads may share an address.
        "PILOTHOUSE_WORKLOAD_ID": settings.workload_id,
        "PILOTHOUSE_VERSION": version,
        "PILOTHOUSE_TUNNELS": "true",
    }
    if settings.network:
        fields["NETWORK"] = settings.network
    if settings.tcp:
        fields["PILOTHOUSE_TCP"] = ",".join(str(bind) for bind in settings.tcp)
    guarded = (settings.admin, settings.status, settings.readiness, settings.discovery)
    fields["PILOTHOUSE_GUARDED"] = ",".join(str(place) for place in guarded if is_ip(place.address))
    proxy = settings.http_proxy
    if proxy is not None:
        fields["HTTP_PROXY_PORT"] = str(proxy.port)  # Istio's key has no address, so ours stands beside it.
        fields["PILOTHOUSE_HTTP_PROXY_ADDRESS"] = proxy.address
    return fields


def dynamic_resources() -> Json:
    """Clusters and listeners over one aggregated delta stream; everything else follows from those."""
    return {
        "ads_config": {
            # VHDS refuses to work on a state-of-the-world stream.
            "api_type": "DELTA_GRPC",
            "transport_api_version": "V3",
            # The node is a kilobyte of metadata; one message per stream carries it.
            "set_node_on_first_message_only": True,
            "grpc_services": [
                {
                    "envoy_grpc": {
                        "cluster_name": XDS_CLUSTER,
                        # By default 0.5 s doubling to 30 s, with jitter: a proxy joins up to 22 s late.
                        "retry_policy": {"retry_back_off": {"base_interval": "0.1s", "max_interval": "1s"}},
                    }
                }
            ],
        },
        "cds_config": ADS,
        "lds_config": ADS,
    }


def xds_cluster(settings: AgentSettings) -> Json:
    """The agent's relay, or the control plane. Over HTTP/2, with pings, because one that hangs closes no connection."""
    where = settings.discovery
    address = socket_address(where) if settings.direct_xds else {"pipe": {"path": settings.relay_socket}}
    return {
        "name": XDS_CLUSTER,
        "type": "STRICT_DNS" if settings.direct_xds and not is_ip(where.address) else "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {
            "cluster_name": XDS_CLUSTER,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
        },
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": {
                    "http2_protocol_options": {"connection_keepalive": {"interval": "5s", "timeout": "5s"}}
                },
            }
        },
    }


RUNTIME: Final[Json] = {
    "name": "pilothouse",
    "static_layer": {
        # Envoy's default of 100 refuses regular expressions that Istio accepts; this is Istio's value.
        "re2.max_program_size.error_level": 32768,
    },
}

CONNECTION_LIMIT: Final[Json] = {
    # Envoy warns at each start that the number of client connections has no bound; this is Istio's "no bound".
    "name": "envoy.resource_monitors.global_downstream_max_connections",
    "typed_config": {
        "@type": "type.googleapis.com/"
        "envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig",
        "max_active_downstream_connections": 2147483645,
    },
}


INTERNAL_LISTENERS: Final[Json] = {
    # What arrives inside CONNECT is served by a listener inside Envoy, which needs no port of its own.
    "name": "envoy.bootstrap.internal_listener",
    "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.bootstrap.internal_listener.v3.InternalListener",
    },
}


def socket_address(where: Listen) -> Json:
    """A TCP address."""
    return {"socket_address": {"address": where.address, "port_value": where.port}}

"""Listeners: one recipe per kind, read from top to bottom. Nothing is decided here.

HTTP ones are a connection manager, others a TCP proxy, behind a plain TCP bind; the tunnel's is inside Envoy. They
differ in who is trusted for the client's address,
in where routes come from, and in the server's name, exactly as in istiod (istio-behaviour §2.3, §2.14, §3.1).
"""

from typing import assert_never

from envoy.config.listener.v3 import listener_pb2
from envoy.extensions.access_loggers.file.v3 import file_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2
from envoy.extensions.filters.network.tcp_proxy.v3 import tcp_proxy_pb2
from envoy.extensions.request_id.uuid.v3 import uuid_pb2

from pilothouse.compiler.filters import http_filters
from pilothouse.compiler.wire import ADS, Fields, any_of, duration, seal, wrapped
from pilothouse.resolve.view import ListenerKind, ListenerView, ServedPort
from pilothouse.xds.resource import Resource

MANAGER = "envoy.filters.network.http_connection_manager"
TCP_PROXY = "envoy.filters.network.tcp_proxy"
ACCESS_LOG_FORMAT = (
    "[%START_TIME%] "
    '"%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%" '
    "%RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %CONNECTION_TERMINATION_DETAILS% "
    '"%UPSTREAM_TRANSPORT_FAILURE_REASON%" %BYTES_RECEIVED% %BYTES_SENT% %DURATION% '
    '%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% "%REQ(X-FORWARDED-FOR)%" "%REQ(USER-AGENT)%" "%REQ(X-REQUEST-ID)%" '
    '"%REQ(:AUTHORITY)%" "%UPSTREAM_HOST%" %UPSTREAM_CLUSTER_RAW% %UPSTREAM_LOCAL_ADDRESS% '
    "%DOWNSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS% %REQUESTED_SERVER_NAME% %ROUTE_NAME%\n"
)
"""Istio's default text format, field by field, so that people and tools read it as they are used to."""


def compile_listener(view: ListenerView) -> Resource:
    """The listener of ``view``, by the recipe of its kind."""
    fields: Fields = {
        "name": view.name,
        "traffic_direction": "INBOUND" if view.kind is ListenerKind.INBOUND else "OUTBOUND",
        "filter_chains": [{"filters": [network_filter(view)]}],
        **place(view),
    }
    return seal(view.name, listener_pb2.Listener(**fields), view.origins)


def place(view: ListenerView) -> Fields:
    """Where it listens: on an address, or inside Envoy under its name."""
    if view.kind is ListenerKind.TUNNEL:
        return {"internal_listener": {}}
    return {
        "address": {"socket_address": {"address": view.address, "port_value": view.port}},
        "max_connections_to_accept_per_socket_event": wrapped(1),
    }


def network_filter(view: ListenerView) -> Fields:
    """The one network filter of a listener."""
    match view.kind:
        case ListenerKind.HTTP_PROXY | ListenerKind.TUNNEL:
            manager = http_proxy_manager(view)
        case ListenerKind.INBOUND:
            if view.served is not None and view.served.tcp:
                return tcp_proxy(view, view.served.cluster)
            manager = inbound_manager(view)
        case ListenerKind.GATEWAY:
            manager = gateway_manager(view)
        case ListenerKind.TCP:
            return tcp_proxy(view, view.cluster)
        case _:
            assert_never(view.kind)
    return {"name": MANAGER, "typed_config": any_of(http_connection_manager_pb2.HttpConnectionManager(**manager))}


def tcp_proxy(view: ListenerView, cluster: str) -> Fields:
    """Bytes to ``cluster``. An idle connection stays open, as in Istio: databases keep theirs for hours."""
    fields: Fields = {"stat_prefix": cluster, "cluster": cluster, "idle_timeout": duration(0)}
    if view.access_log:
        fields["access_log"] = [access_log()]
    return {"name": TCP_PROXY, "typed_config": any_of(tcp_proxy_pb2.TcpProxy(**fields))}


def http_proxy_manager(view: ListenerView) -> Fields:
    """The app's HTTP proxy: absolute-form requests, routed by their authority."""
    return {
        **common_manager(view, "outbound"),
        "rds": {"route_config_name": view.table, "config_source": ADS},
        "use_remote_address": wrapped(value=False),
        "http_protocol_options": {"allow_absolute_url": wrapped(value=True)},
        "http2_protocol_options": {"allow_connect": True},
        "upgrade_configs": [{"upgrade_type": "websocket"}, {"upgrade_type": "CONNECT"}],
        "local_reply_config": {"mappers": [unresolved()]},
    }


def unresolved() -> Fields:
    """The answer where a host outside the mesh has no address, or none that is forwarded to: it names the host."""
    text = (
        "pilothouse: %REQ(:AUTHORITY)% is no service of the mesh, and its name does not resolve, or only to addresses "
        "that are never forwarded to (%RESPONSE_CODE_DETAILS%)\n"
    )
    return {
        "filter": {"response_flag_filter": {"flags": ["DF"]}},
        "status_code": wrapped(502),
        "body_format_override": {"text_format_source": {"inline_string": text}},
    }


def gateway_manager(view: ListenerView) -> Fields:
    """The edge: the peer's address is the client, and nothing that a client claims about itself is believed."""
    return {
        **common_manager(view, "outbound"),
        "rds": {"route_config_name": view.table, "config_source": ADS},
        "use_remote_address": wrapped(value=True),
        "server_name": "istio-envoy",
        "forward_client_cert_details": "SANITIZE_SET",
        "set_current_client_cert_details": {"subject": wrapped(value=True), "cert": True, "dns": True, "uri": True},
        "http_protocol_options": {},
    }


def inbound_manager(view: ListenerView) -> Fields:
    """In front of the app: one route to it, written inline because it can only change with the listener."""
    if view.served is None:
        raise ValueError(f"inbound listener {view.name} serves no port")
    return {
        **common_manager(view, "inbound"),
        "route_config": inbound_routes(view.served),
        "use_remote_address": wrapped(value=False),
        "server_name": "istio-envoy",
        "forward_client_cert_details": "APPEND_FORWARD",
        "set_current_client_cert_details": {"subject": wrapped(value=True), "dns": True, "uri": True},
    }


def inbound_routes(served: ServedPort) -> Fields:
    """Everything goes to the app; a request that never reached it (a reset on reuse) is tried again."""
    never: Fields = {"max_stream_duration": {}, "grpc_timeout_header_max": {}}
    action: Fields = {"cluster": served.cluster, "timeout": {}, "max_stream_duration": never}
    if not served.http2:
        action["retry_policy"] = {"num_retries": wrapped(2), "retry_on": "reset-before-request"}
    service = served.host.partition(".")[0]
    one = {
        "name": "default",
        "match": {"prefix": "/"},
        "route": action,
        "decorator": {"operation": f"{service}.{served.namespace}:{served.service_port}/*"},
    }
    host = {"name": f"inbound|http|{served.service_port}", "domains": ["*"], "routes": [one]}
    return {"name": served.cluster, "validate_clusters": wrapped(value=False), "virtual_hosts": [host]}


def common_manager(view: ListenerView, direction: str) -> Fields:
    """What all connection managers share."""
    uuid = uuid_pb2.UuidRequestIdConfig(use_request_id_for_trace_sampling=wrapped(value=True))
    fields: Fields = {
        "stat_prefix": f"{direction}_{view.name};",
        "http_filters": http_filters(view.guard),
        "normalize_path": wrapped(value=True),
        "path_with_escaped_slashes_action": "KEEP_UNCHANGED",
        "proxy_100_continue": True,
        "stream_idle_timeout": duration(0),
        "upgrade_configs": [{"upgrade_type": "websocket"}],
        "request_id_extension": {"typed_config": any_of(uuid)},
    }
    if view.access_log:
        fields["access_log"] = [access_log()]
    return fields


def access_log() -> Fields:
    """One line per request on standard output, which the agent keeps in a file."""
    fields: Fields = {"path": "/dev/stdout"}
    fields["log_format"] = {"text_format_source": {"inline_string": ACCESS_LOG_FORMAT}}
    message = file_pb2.FileAccessLog(**fields)
    return {"name": "envoy.access_loggers.file", "typed_config": any_of(message)}

"""The only place that knows the order of HTTP filters.

A chain is a comprehension over ``HTTP_FILTERS``; a new filter is one row here and one field in the view.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from envoy.extensions.filters.http.cors.v3 import cors_pb2
from envoy.extensions.filters.http.fault.v3 import fault_pb2
from envoy.extensions.filters.http.grpc_stats.v3 import config_pb2
from envoy.extensions.filters.http.router.v3 import router_pb2
from google.protobuf.message import Message

from pilothouse.compiler.wire import Fields, any_of


@dataclass(frozen=True, slots=True)
class Row:
    """One filter: its registered name, why it stands where it stands, and its configuration."""

    name: str
    why: str
    compile: Callable[[], Message]


def grpc_stats() -> Message:
    """Statistics of gRPC calls, for all methods together."""
    return config_pb2.FilterConfig(emit_filter_state=True, stats_for_all_methods=wrapped_false())


def wrapped_false() -> Fields:
    """An explicit false."""
    return {"value": False}


HTTP_FILTERS: Final = (
    Row("envoy.filters.http.grpc_stats", "counts every call, also those answered by a later filter", grpc_stats),
    Row("envoy.filters.http.fault", "before routing; a route's own faults need it to stand here", fault_pb2.HTTPFault),
    Row("envoy.filters.http.cors", "answers preflight requests; idle without a route's policy", cors_pb2.Cors),
    Row("envoy.filters.http.router", "terminal", router_pb2.Router),
)


def http_filters() -> list[Fields]:
    """The HTTP filters of a connection manager, in order."""
    return [{"name": row.name, "typed_config": any_of(row.compile())} for row in HTTP_FILTERS]

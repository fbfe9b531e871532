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

from pilothouse.compiler.outside import FORWARD_PROXY_FILTER, OUTSIDE_GUARD, forward_proxy_filter, guard_filter
from pilothouse.compiler.wire import Fields, any_of
from pilothouse.resolve.outside import OutsideGuard


@dataclass(frozen=True, slots=True)
class Row:
    """One filter: its name, why it stands where it stands, and its configuration (None: this listener has none).

    A filter that is not ``everywhere`` runs only for virtual hosts that ask for it.
    """

    name: str
    why: str
    compile: Callable[[OutsideGuard | None], Message | None]
    everywhere: bool = True


def grpc_stats(_: OutsideGuard | None) -> Message:
    """Statistics of gRPC calls, for all methods together."""
    return config_pb2.FilterConfig(emit_filter_state=True, stats_for_all_methods=wrapped_false())


def fault(_: OutsideGuard | None) -> Message:
    """No fault but those of routes."""
    return fault_pb2.HTTPFault()


def cors(_: OutsideGuard | None) -> Message:
    """No policy but those of routes."""
    return cors_pb2.Cors()


def router(_: OutsideGuard | None) -> Message:
    """Envoy's defaults."""
    return router_pb2.Router()


def wrapped_false() -> Fields:
    """An explicit false."""
    return {"value": False}


HTTP_FILTERS: Final = (
    Row("envoy.filters.http.grpc_stats", "counts every call, also those answered by a later filter", grpc_stats),
    Row("envoy.filters.http.fault", "before routing; a route's own faults need it to stand here", fault),
    Row("envoy.filters.http.cors", "answers preflight requests; idle without a route's policy", cors),
    Row(FORWARD_PROXY_FILTER, "resolves hosts outside the mesh; others pass at once", forward_proxy_filter),
    Row(OUTSIDE_GUARD, "looks at what the row above resolved", guard_filter, everywhere=False),
    Row("envoy.filters.http.router", "terminal", router),
)


def http_filters(guard: OutsideGuard | None = None) -> list[Fields]:
    """The HTTP filters of a connection manager, in order. ``guard`` is there where requests may leave the mesh."""
    configured = ((row, row.compile(guard)) for row in HTTP_FILTERS)
    return [filter_of(row, message) for row, message in configured if message is not None]


def filter_of(row: Row, message: Message) -> Fields:
    """One HttpFilter."""
    named: Fields = {"name": row.name, "typed_config": any_of(message)}
    return named if row.everywhere else {**named, "disabled": True}

"""The aggregated discovery service: both variants over gRPC, and the list of the streams that are open.

Requests are parsed by protobuf; responses leave as the bytes that ``server.wire`` joined. What happens on a stream is
``server.stream``'s business. Knows neither the pipeline's state nor resources.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

import grpc
import grpc.aio
from envoy.service.discovery.v3 import discovery_pb2

from pilothouse.server.calls import Calls, Context, End
from pilothouse.server.stream import Dialect, StreamParts, XdsStream
from pilothouse.server.wire import (
    Headings,
    decode_delta_request,
    decode_sotw_request,
    delta_headings,
    encode_delta_response,
    encode_sotw_response,
    sotw_headings,
)
from pilothouse.xds.delta import DeltaStream
from pilothouse.xds.protocol import DeltaRequest, DeltaResponse, SotwRequest, SotwResponse
from pilothouse.xds.sotw import SotwStream

SERVICE: Final = "envoy.service.discovery.v3.AggregatedDiscoveryService"
MOST_STREAMS: Final = 10_000

MOST_REQUEST_BYTES: Final = 16 * 1024 * 1024
"""A reconnecting proxy names all that it holds: some 100 bytes per resource."""

SERVER_OPTIONS: Final[tuple[tuple[str, int], ...]] = (
    ("grpc.so_reuseport", 0),  # a second control plane on the same port must fail to start
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", 1_000),  # agents ping every five seconds
    ("grpc.max_receive_message_length", MOST_REQUEST_BYTES),
    ("grpc.max_send_message_length", -1),
)


class AdsServer:
    """Serves streams and knows which are open."""

    def __init__(self, parts: StreamParts) -> None:
        self._parts = parts
        self._open: dict[int, XdsStream[Any, Any]] = {}
        self.calls = Calls()
        self.delta_headings: Headings = delta_headings()
        self.sotw_headings: Headings = sotw_headings()
        self._delta: Dialect[DeltaRequest, DeltaResponse] = Dialect(
            "delta",
            lambda settings: DeltaStream(settings=settings),
            decode_delta_request,
            lambda response: encode_delta_response(response, self.delta_headings),
        )
        self._sotw: Dialect[SotwRequest, SotwResponse] = Dialect(
            "sotw",
            lambda settings: SotwStream(settings=settings),
            decode_sotw_request,
            lambda response: encode_sotw_response(response, self.sotw_headings),
        )

    @property
    def streams(self) -> tuple[XdsStream[Any, Any], ...]:
        """The open streams whose proxy is known, in the order in which they were introduced."""
        known = (stream for stream in self._open.values() if stream.introduced)
        return tuple(sorted(known, key=lambda stream: stream.introduced_at))

    @property
    def unsettled(self) -> Mapping[str, frozenset[str]]:
        """What broken streams left for the next stream of their proxy."""
        return self._parts.unsettled

    async def endpoints_known(self, published: Callable[[], bool]) -> None:
        """Return once ``published`` holds and every proxy has acknowledged the endpoints that it subscribes to."""
        answers = self._parts.answers
        while not (published() and all(stream.knows_endpoints for stream in self.streams)):
            await answers.after(answers.generation)

    def turn(self) -> None:
        """A publication is over: forget the bytes that it did not need."""
        self._parts.answers.put(None)
        self.delta_headings.turn()
        self.sotw_headings.turn()

    def handlers(self) -> grpc.GenericRpcHandler:
        """The service, for a gRPC server."""
        return grpc.method_handlers_generic_handler(
            SERVICE,
            {
                "DeltaAggregatedResources": grpc.stream_stream_rpc_method_handler(
                    self._serve_delta, discovery_pb2.DeltaDiscoveryRequest.FromString, None
                ),
                "StreamAggregatedResources": grpc.stream_stream_rpc_method_handler(
                    self._serve_sotw, discovery_pb2.DiscoveryRequest.FromString, None
                ),
            },
        )

    async def _serve_delta(self, _: object, context: Context) -> None:
        await self.calls.run(self._serve(XdsStream(self._delta, context, self._parts)), context)

    async def _serve_sotw(self, _: object, context: Context) -> None:
        await self.calls.run(self._serve(XdsStream(self._sotw, context, self._parts)), context)

    async def _serve(self, stream: XdsStream[Any, Any]) -> End:
        if len(self._open) >= MOST_STREAMS:
            return End(grpc.StatusCode.RESOURCE_EXHAUSTED, f"{MOST_STREAMS} streams are open")
        self._open[id(stream)] = stream
        try:
            return await stream.serve()
        finally:
            del self._open[id(stream)]

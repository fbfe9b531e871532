"""Serving from the store: the order of the control plane, an answer for what is missing, and no wait without end."""

import asyncio

import grpc.aio
from envoy.service.discovery.v3 import discovery_pb2

from pilothouse.agent.frames import decode_response
from pilothouse.agent.stored import StoredStream
from pilothouse.aio.clock import SystemClock
from pilothouse.aio.tasks import Tasks
from pilothouse.xds.protocol import DeltaResponse
from pilothouse.xds.resource import CLUSTER, ENDPOINT, LISTENER, Resource, Snapshot, resource_set
from tests.load import until

SNAPSHOT = Snapshot(
    {
        CLUSTER: (resource_set(Resource("one", "1", b"c")),),
        ENDPOINT: (resource_set(Resource("one", "1", b"e")),),
        LISTENER: (resource_set(Resource("web", "1", b"l")),),
    }
)


class FakeEnvoy:
    """The other end of the stream: requests are put, responses collected."""

    def __init__(self) -> None:
        self.requests: asyncio.Queue[object] = asyncio.Queue()
        self.got: list[DeltaResponse] = []

    async def read(self) -> object:
        return await self.requests.get()

    async def write(self, message: bytes) -> None:
        self.got.append(decode_response(message))

    def says(self, type_url: str, nonce: str = "", names: tuple[str, ...] = ()) -> None:
        self.requests.put_nowait(request(type_url, nonce, names))


def request(type_url: str, nonce: str = "", names: tuple[str, ...] = ()) -> bytes:
    message = discovery_pb2.DeltaDiscoveryRequest(
        type_url=type_url, response_nonce=nonce, resource_names_subscribe=names
    )
    return message.SerializeToString()


async def test_a_starting_envoy_gets_what_is_stored_in_the_order_of_make_before_break() -> None:
    envoy = FakeEnvoy()
    async with Tasks() as tasks:
        serving = tasks.start("serve", StoredStream(envoy, SNAPSHOT, SystemClock()).serve(request(CLUSTER)))
        await until(lambda: len(envoy.got) == 1)
        envoy.says(LISTENER)
        envoy.requests.put_nowait(b"\xff")  # passed over
        envoy.says(ENDPOINT, names=("one", "gone"))
        await until(lambda: len(envoy.got) == 2)
        assert [one.type_url for one in envoy.got] == [CLUSTER, ENDPOINT], "listeners wait for the clusters"
        assert envoy.got[1].removed == ("gone",), "what is not stored is answered"
        envoy.says(CLUSTER, envoy.got[0].nonce)
        await until(lambda: len(envoy.got) == 3)
        assert envoy.got[2].resources == (Resource("web", "1", b"l"),)
        envoy.requests.put_nowait(grpc.aio.EOF)
        await serving


async def test_clusters_that_are_never_acknowledged_hold_listeners_back_only_for_a_while() -> None:
    envoy = FakeEnvoy()
    async with Tasks() as tasks:
        tasks.start("serve", StoredStream(envoy, SNAPSHOT, SystemClock()).serve(request(CLUSTER)))
        envoy.says(LISTENER)
        await until(lambda: len(envoy.got) == 2, deadline=15)
        assert envoy.got[1].type_url == LISTENER

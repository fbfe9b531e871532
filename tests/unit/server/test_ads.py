"""Aggregated discovery over real gRPC, in both variants."""

import asyncio

from envoy.service.discovery.v3 import discovery_pb2

from pilothouse.model.world import ConfigDelta
from pilothouse.server.ads import SERVICE

from .support import CLUSTER, ENDPOINT, NODE, a_plane, names, until


async def test_a_delta_client_gets_the_state_and_then_only_what_changed() -> None:
    async with a_plane() as plane:
        plane.submit("a", "b")
        client = plane.delta()
        await client.ask()
        first = await client.answer()
        assert names(first) == ["a", "b"]
        await client.acknowledge(first)
        plane.submit("a", "c")
        second = await client.answer()
        assert names(second) == ["c"]
        await client.acknowledge(second)
        third = await client.answer()
        assert list(third.removed_resources) == ["b"]


async def test_a_client_that_connects_before_anything_is_known_waits_for_its_answer() -> None:
    async with a_plane() as plane:
        client = plane.delta()
        await client.ask()
        await until(lambda: len(plane.ads.streams) == 1)
        assert plane.counters.responses.total() == 0
        plane.submit("a")
        assert names(await client.answer()) == ["a"]


async def test_a_client_that_reconnects_with_what_is_still_true_is_sent_no_resource() -> None:
    async with a_plane() as plane:
        plane.submit("a")
        first = plane.delta()
        await first.ask()
        (resource,) = (await first.answer()).resources
        first.call.cancel()
        again = plane.delta()
        await again.ask(initial_resource_versions={"a": resource.version, "gone": "1"})
        answer = await again.answer()
        assert names(answer) == []
        await again.acknowledge(answer)
        removed = list(answer.removed_resources) or list((await again.answer()).removed_resources)
        assert removed == ["gone"]
        assert plane.counters.sent_resources["CDS"] == 1


async def test_a_stream_that_breaks_before_its_clusters_are_acknowledged_is_remembered_for_the_next() -> None:
    async with a_plane() as plane:
        plane.submit("a")
        broken = plane.delta()
        await broken.ask()
        await broken.answer()
        broken.call.cancel()
        await until(lambda: plane.ads.unsettled == {NODE: frozenset({"a"})})
        await plane.delta().ask()
        await until(lambda: not plane.ads.unsettled)


async def test_two_streams_of_one_node_are_both_served() -> None:
    async with a_plane() as plane:
        plane.submit("a")
        parent, child = plane.delta(), plane.delta()
        for client in (parent, child):
            await client.ask()
            await client.acknowledge(await client.answer())
        assert [stream.proxy.id for stream in plane.ads.streams] == [NODE, NODE]
        plane.submit("a", "b")
        assert [names(await client.answer()) for client in (parent, child)] == [["b"], ["b"]]


async def test_a_state_of_the_world_client_gets_the_whole_set_each_time() -> None:
    async with a_plane() as plane:
        plane.submit("a", "b")
        call = plane.channel.stream_stream(
            f"/{SERVICE}/StreamAggregatedResources",
            request_serializer=discovery_pb2.DiscoveryRequest.SerializeToString,
            response_deserializer=discovery_pb2.DiscoveryResponse.FromString,
        )()
        request = discovery_pb2.DiscoveryRequest(type_url=CLUSTER)
        request.node.id = NODE
        await call.write(request)
        async with asyncio.timeout(20):
            first = await call.read()
        assert isinstance(first, discovery_pb2.DiscoveryResponse)
        assert [resource.value for resource in first.resources] == [b"a", b"b"]
        acknowledgement = discovery_pb2.DiscoveryRequest(
            type_url=CLUSTER, version_info=first.version_info, response_nonce=first.nonce
        )
        await call.write(acknowledgement)
        plane.submit("a", "b", "c")
        async with asyncio.timeout(20):
            second = await call.read()
        assert isinstance(second, discovery_pb2.DiscoveryResponse)
        assert [resource.value for resource in second.resources] == [b"a", b"b", b"c"]
        assert plane.ads.streams[0].variant == "sotw"
        call.cancel()


async def test_a_thousand_bytes_are_framed_once_for_all_proxies() -> None:
    async with a_plane() as plane:
        plane.submit("a", "b", "c")
        clients = [plane.delta() for _ in range(8)]
        for client in clients:
            await client.ask()
        for client in clients:
            assert names(await client.answer()) == ["a", "b", "c"]
        assert plane.ads.delta_headings.made == 3
        assert plane.counters.sent_resources["CDS"] == 24
        for client in clients:
            client.call.cancel()


async def test_a_change_that_does_not_concern_a_client_does_not_wake_it() -> None:
    async with a_plane() as plane:
        plane.submit("a")
        client = plane.delta()
        await client.ask()
        await client.acknowledge(await client.answer())
        plane.submit("a", "b")
        await client.acknowledge(await client.answer())
        await until(lambda: plane.counters.wake_ups == 2)
        plane.pipeline.submit(ConfigDelta("files"))
        await until(lambda: plane.compiler.resolved == 3)
        plane.submit("a", "b", "c")
        assert names(await client.answer()) == ["c"]
        await until(lambda: plane.counters.responses["CDS"] == 3)
        assert plane.counters.wake_ups == 3


async def test_endpoints_are_known_once_every_subscriber_has_acknowledged_them() -> None:
    async with a_plane() as plane:
        plane.submit("a")
        client = plane.delta()
        await client.ask()
        await client.answer()
        await client.ask(ENDPOINT, resource_names_subscribe=["a"])
        endpoints = await client.answer()
        known = asyncio.ensure_future(plane.ads.endpoints_known(lambda: plane.pipeline.quiet))
        await asyncio.sleep(0)
        assert not known.done()
        await client.acknowledge(endpoints)
        async with asyncio.timeout(10):
            await known

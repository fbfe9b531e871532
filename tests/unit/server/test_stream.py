"""One stream over real gRPC: what a slow, silent, or malformed client costs."""

import grpc
import pytest

from pilothouse.xds.protocol import SyncState

from .support import CLUSTER, NODE, a_plane, names, until


async def test_the_first_request_must_carry_the_node() -> None:
    async with a_plane() as plane:
        client = plane.delta()
        await client.ask(node="")
        assert await client.end() == (
            grpc.StatusCode.INVALID_ARGUMENT,
            "the first request of a stream must carry the node",
        )


@pytest.mark.parametrize("node", ["envoy-1", "ztunnel~127.0.0.1~a.b~x"])
async def test_a_malformed_node_id_is_told_what_is_wrong(node: str) -> None:
    async with a_plane() as plane:
        client = plane.delta()
        await client.ask(node=node)
        code, details = await client.end()
        assert code is grpc.StatusCode.INVALID_ARGUMENT
        assert node in details
        assert plane.ads.streams == ()


async def test_later_requests_may_leave_the_node_out() -> None:
    async with a_plane() as plane:
        plane.submit("a")
        client = plane.delta()
        await client.ask()
        response = await client.answer()
        await client.acknowledge(response)
        await until(lambda: plane.ads.streams[0].status()[0].state is SyncState.SYNCED)


async def test_a_client_that_never_reads_is_dropped_and_counted_and_others_go_on() -> None:
    async with a_plane(write_timeout=0.2, padding=1024 * 1024) as plane:
        plane.submit(*(f"s{n:02}" for n in range(16)))
        stuck, alive = plane.delta(), plane.delta()
        await stuck.ask(node=NODE)
        await until(lambda: plane.counters.write_timeouts == 1)
        await until(lambda: plane.ads.streams == ())
        plane.submit("a")
        await alive.ask()
        assert names(await alive.answer()) == ["a"]
        stuck.call.cancel()


async def test_offers_to_a_client_that_does_not_read_wait_in_one_place() -> None:
    async with a_plane(padding=1024 * 1024) as plane:
        plane.submit(*(f"s{n:02}" for n in range(16)))
        client = plane.delta()
        await client.ask()
        await until(lambda: bool(plane.ads.streams) and len(plane.ads.streams[0]._outbox) == 1)
        stream = plane.ads.streams[0]
        for number in range(30):
            plane.submit(f"only-{number}")
            await until(
                lambda wanted=number: plane.pipeline.mesh is not None and f"only-{wanted}" in plane.pipeline.mesh.layer
            )
        assert len(stream._outbox) == 1
        assert stream.offered is not None
        await until(lambda: stream.offered is not None and stream.offered.find(CLUSTER, "only-29") is not None)
        first = await client.answer()
        assert len(first.resources) == 16
        await client.acknowledge(first)
        second = await client.answer()
        assert names(second) == ["only-29"], "the twenty-nine between were never sent"


async def test_no_answer_within_the_deadline_is_noticed_without_any_further_event() -> None:
    async with a_plane(ack_deadline=0.1) as plane:
        plane.submit("a")
        client = plane.delta()
        await client.ask()
        await client.answer()
        await until(lambda: plane.ads.streams[0].status()[0].state is SyncState.STUCK)


async def test_a_client_that_leaves_is_forgotten() -> None:
    async with a_plane() as plane:
        plane.submit("a")
        for polite in (True, False):
            client = plane.delta()
            await client.ask()
            await client.answer()
            assert len(plane.ads.streams) == 1
            if polite:
                await client.call.done_writing()
            else:
                client.call.cancel()
            await until(lambda: plane.ads.streams == ())
            assert plane.pipeline._subscribers == {}


async def test_a_refusal_is_counted_and_shown_with_who_made_the_resource() -> None:
    async with a_plane() as plane:
        plane.submit("a")
        client = plane.delta()
        await client.ask()
        await client.acknowledge(await client.answer(), error="Error adding cluster a: no")
        await until(lambda: plane.counters.refusals["CDS"] == 1)
        (refusal,) = plane.ads.streams[0].status()[0].refusals
        assert (refusal.name, str(refusal.origins[0])) == ("a", "test: a")


async def test_types_that_nobody_knows_are_ignored() -> None:
    async with a_plane() as plane:
        plane.submit("a")
        client = plane.delta()
        await client.ask("type.googleapis.com/istio.mesh.v1alpha1.Nothing")
        await client.ask(CLUSTER)
        assert (await client.answer()).type_url == CLUSTER

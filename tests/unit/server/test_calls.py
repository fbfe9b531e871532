"""How calls end: with a reason, also when the control plane stops."""

import asyncio

import grpc
import grpc.aio

from pilothouse.server.calls import CLIENT_LEFT, Calls, Context, End

from .support import LOCAL, until


async def ended_with(calls: Calls, *, stop: bool, end: End | None) -> tuple[grpc.StatusCode, str]:
    """Call a handler that returns ``end``, or waits for ever; stop meanwhile if asked to."""
    begun = asyncio.Event()

    async def work() -> End:
        begun.set()
        if end is None:
            await asyncio.Event().wait()
        return end or CLIENT_LEFT

    async def serve(_: object, context: Context) -> None:
        await calls.run(work(), context)

    server = grpc.aio.server()
    handler = grpc.stream_stream_rpc_method_handler(serve, None, None)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("a.B", {"C": handler}),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=LOCAL) as channel:
        call = channel.stream_stream("/a.B/C")()
        async with asyncio.timeout(20):
            if stop:
                await begun.wait()
                assert len(calls) == 1
                calls.close()
            code, details = await call.code(), await call.details() or ""
        await server.stop(0.5)
    await until(lambda: len(calls) == 0)
    return code, details


async def test_a_call_ends_with_the_status_and_text_that_its_work_gives() -> None:
    end = End(grpc.StatusCode.INVALID_ARGUMENT, "that is no node")
    assert await ended_with(Calls(), stop=False, end=end) == (grpc.StatusCode.INVALID_ARGUMENT, "that is no node")
    assert await ended_with(Calls(), stop=False, end=CLIENT_LEFT) == (grpc.StatusCode.OK, "")


async def test_a_stop_tells_open_calls_that_it_is_one() -> None:
    assert await ended_with(Calls(), stop=True, end=None) == (grpc.StatusCode.UNAVAILABLE, "the control plane stops")


async def test_calls_that_come_during_a_stop_are_turned_away() -> None:
    calls = Calls()
    calls.close()
    assert (await ended_with(calls, stop=False, end=CLIENT_LEFT))[0] is grpc.StatusCode.UNAVAILABLE

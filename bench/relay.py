"""Measure the relay: ``python -m bench.relay [--updates 500] [--hosts 20]``.

A control plane of raw frames in a process of its own, the relay, and a client in the place of Envoy, over real
sockets: each update is one delta response and its acknowledgement. The same is measured without the relay; the
difference of the medians is what the relay costs per update. Printed, asserted nowhere.
"""

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import grpc
import grpc.aio

from pilothouse.agent.admin import read_memory
from pilothouse.agent.frames import decode_response, encode_response
from pilothouse.agent.relay import METHOD, SERVICE, Relay
from pilothouse.agent.settings import AgentSettings
from pilothouse.agent.upstream import PATH
from pilothouse.xds.framing import text_field
from pilothouse.xds.protocol import DeltaResponse
from pilothouse.xds.resource import VIRTUAL_HOST, Resource

HOST_BYTES: Final = 600
"""A virtual host of bookinfo."""


def update(number: int, hosts: int) -> bytes:
    """One response that changes ``hosts`` virtual hosts."""
    body = bytes(HOST_BYTES)
    changed = tuple(Resource(f"web/host-{n}", str(number), body) for n in range(hosts))
    return encode_response(DeltaResponse(VIRTUAL_HOST, f"n{number}", changed))


def request(nonce: str = "") -> bytes:
    """A subscription, or the acknowledgement of ``nonce``."""
    return text_field(2, VIRTUAL_HOST) + text_field(6, nonce)


async def serve(updates: int, hosts: int) -> None:
    """The control plane: prints its port, and answers each request with the next update."""

    async def stream(requests: Any, context: Any) -> None:
        number = 0
        async for _ in requests:
            number += 1
            await context.write(update(number % updates, hosts))

    server = grpc.aio.server()
    handler: grpc.RpcMethodHandler[bytes, bytes] = grpc.stream_stream_rpc_method_handler(stream)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, {METHOD: handler}),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()
    await server.wait_for_termination()


async def round_trips(target: str, updates: int) -> list[float]:
    """Milliseconds from an acknowledgement to the next update, per update."""
    took = []
    async with grpc.aio.insecure_channel(target) as channel:
        call: Any = channel.stream_stream(PATH)()
        nonce = ""
        for _ in range(updates):
            began = time.perf_counter()
            await call.write(request(nonce))
            frame = await call.read()
            took.append((time.perf_counter() - began) * 1000)
            nonce = decode_response(frame).nonce
        call.cancel()
    return took


def tell(what: str, took: Sequence[float]) -> None:
    """One line."""
    ordered = sorted(took)
    late = ordered[int(len(ordered) * 0.99)]
    sys.stdout.write(f"{what:<12} median {statistics.median(ordered):6.2f} ms   99 % below {late:6.2f} ms\n")


def no_crash(name: str, error: BaseException) -> None:
    """A crash of the relay ends the benchmark."""
    raise RuntimeError(f"{name} crashed") from error


async def measure(updates: int, hosts: int) -> None:
    """Both ways, on this machine, one after the other."""
    command = ("-m", "bench.relay", "--serve", "--updates", str(updates), "--hosts", str(hosts))
    control = await asyncio.create_subprocess_exec(sys.executable, *command, stdout=asyncio.subprocess.PIPE)
    try:
        if control.stdout is None:
            raise RuntimeError("the control plane has no output")
        port = int(await control.stdout.readline())
        with tempfile.TemporaryDirectory() as folder:
            settings = AgentSettings(name="bench", token="bench", state_dir=folder, discovery_port=port)
            direct = await round_trips(f"127.0.0.1:{port}", updates)
            relay = Relay(settings)
            async with relay.serving(no_crash):
                relayed = await round_trips(f"unix:{settings.relay_socket}", updates)
                await relay.kept.flush()
                store = relay.state.store
            size = (Path(folder) / "last-good").stat().st_size
    finally:
        control.kill()
        await control.wait()
    sys.stdout.write(f"{updates} updates of {hosts} virtual hosts, {len(update(1, hosts))} bytes each\n")
    tell("direct", direct)
    tell("relayed", relayed)
    added = statistics.median(relayed) - statistics.median(direct)
    sys.stdout.write(
        f"the relay adds {added:.2f} ms at the median; stored: {store.resources} resources, {size} bytes\n"
    )
    sys.stdout.write(f"resident: {read_memory('self').rss_kib / 1024:.1f} MiB (relay and client in one process)\n")


def main() -> None:
    """Read the arguments and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--updates", type=int, default=500)
    parser.add_argument("--hosts", type=int, default=20)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    asyncio.run(serve(given.updates, given.hosts) if given.serve else measure(given.updates, given.hosts))


if __name__ == "__main__":
    main()

"""The first signal asks a command to end, the second one ends it."""

import asyncio
import signal
import sys

import pytest

SCRIPT = """
import asyncio, sys
from pilothouse.cli.signals import run_until_signalled

async def work(stop):
    print("begun", flush=True)
    await stop.wait()
    print("asked", flush=True)
    if sys.argv[1] == "stubborn":
        await asyncio.Event().wait()
    return 3

sys.exit(run_until_signalled(work))
"""


async def start(manner: str) -> asyncio.subprocess.Process:
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", SCRIPT, manner, stdout=asyncio.subprocess.PIPE)
    assert await said(process) == "begun"
    return process


async def said(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None
    async with asyncio.timeout(20):
        return (await process.stdout.readline()).decode().strip()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_one_signal_lets_the_work_end_with_its_own_status(number: signal.Signals) -> None:
    process = await start("obedient")
    process.send_signal(number)
    assert await said(process) == "asked"
    assert await asyncio.wait_for(process.wait(), 20) == 3


async def test_a_second_signal_ends_it_at_once() -> None:
    process = await start("stubborn")
    process.send_signal(signal.SIGINT)
    assert await said(process) == "asked"
    ended = asyncio.ensure_future(process.wait())
    async with asyncio.timeout(20):
        # A signal right after the first is taken for its echo, so it is sent until it counts.
        while not ended.done():
            process.send_signal(signal.SIGINT)
            await asyncio.wait((ended,), timeout=0.1)
    assert ended.result() == 130

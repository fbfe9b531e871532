"""One sidecar after the other leaves on command, under load: a rolling restart of all reviews fails no request."""

import asyncio
from pathlib import Path

import pytest

from pilothouse.agent.control import Request, ask_agent
from tests.e2e.looking import Mesh, eventually
from tests.e2e.test_edits_under_load import reviews_load

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(240)]


async def test_stopping_the_agents_of_all_reviews_in_turn_fails_no_request(mesh: Mesh) -> None:
    async def all_endpoints() -> bool:
        return (await mesh.running.status()).endpoints == 6

    await eventually(all_endpoints, what="an endpoint for each workload")
    async with reviews_load(mesh) as load:
        for name in ("reviews-v1", "reviews-v2", "reviews-v3"):
            before = mesh.pid(f"{name} sidecar")
            state_dir = Path(mesh.running.plan.folder) / "state" / name
            replies = await asyncio.to_thread(lambda where: list(ask_agent(where, Request("stop"), 60)), state_dir)
            assert replies[-1].ok, replies

            async def back(name: str = name, before: int = before) -> bool:
                # The mesh starts an agent that left again.
                return mesh.pid(f"{name} sidecar") not in (0, before) and await all_endpoints()

            await eventually(back, 30, f"{name} again")
            await mesh.running.wait_converged(15)
            await load.more(50)
    print(f"agent stop of all reviews in turn: {load.requests} requests, {sum(load.failures.values())} failed")
    assert load.failures == {}


async def test_a_killed_agent_of_the_gateway_fails_no_request(mesh: Mesh) -> None:
    async with reviews_load(mesh) as load:
        before = mesh.kill("gateway")

        async def back() -> bool:
            return mesh.pid("gateway") not in (0, before)

        await eventually(back, 30)
        await mesh.works()
        await load.more(100)
    print(f"agent of the gateway killed: {load.requests} requests, {sum(load.failures.values())} failed")
    assert load.failures == {}

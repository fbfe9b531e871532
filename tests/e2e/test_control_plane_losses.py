"""A control plane that hangs or is killed under load: no request fails, and no proxy loses an endpoint for it."""

import asyncio
import http.client
import os
import re
import signal

import pytest

from pilothouse.agent.settings import Listen
from tests.e2e.looking import Mesh, eventually
from tests.load import Load

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(240)]
HANG_SECONDS = 20.0
"""Six leases: every agent's silence would have been noticed, were it the agents'."""
MEMBERS = re.compile(r"cluster\.(outbound\|.*)\.membership_(change|total): (\d+)")


def fetch(where: Listen, path: str) -> str:
    connection = http.client.HTTPConnection(where.address, where.port, timeout=10)
    try:
        connection.request("GET", path)
        return connection.getresponse().read().decode()
    finally:
        connection.close()


async def memberships(mesh: Mesh) -> dict[str, dict[str, int]]:
    """Per proxy: how many members each of its clusters has, and how often that changed, as its Envoy counts."""
    found = {}
    for proxy in (await mesh.running.status()).proxies:
        assert proxy.agent is not None
        assert proxy.agent.envoy is not None
        host, _, port = proxy.agent.envoy.admin_address.rpartition(":")
        stats = await asyncio.to_thread(fetch, Listen(host, int(port)), "/stats?filter=membership_(change|total)")
        found[proxy.name] = {f"{m[1]} {m[2]}": int(m[3]) for m in MEMBERS.finditer(stats)}
    return found


async def trusted(mesh: Mesh) -> bool:
    """Everybody is registered, and nobody is suspect."""
    status = await mesh.running.status()
    return status.ready and status.workloads == 6 and status.endpoints == 6 and not status.suspects


def page_load(mesh: Mesh) -> Load:
    return Load(mesh.running.plan.page_url, clients=2, expects=lambda status, body: "data-version" in body)


async def test_a_control_plane_that_hangs_and_wakes_up_costs_no_request_and_no_endpoint(mesh: Mesh) -> None:
    await eventually(lambda: trusted(mesh), what="a calm mesh")
    before, pid = await memberships(mesh), mesh.pid("control-plane")
    assert sum("reviews" in name for name in before["productpage-v1"]) >= 2, "the counters are there"
    async with page_load(mesh) as load:
        os.kill(pid, signal.SIGSTOP)
        try:
            # The length of the hang is what is tested; the load goes on meanwhile.
            await asyncio.sleep(HANG_SECONDS)
        finally:
            os.kill(pid, signal.SIGCONT)
        await eventually(lambda: trusted(mesh), what="all agents trusted again")
        await load.more(100)
    print(f"hang of {HANG_SECONDS:.0f} s: {load.requests} requests, {sum(load.failures.values())} failed")
    assert mesh.pid("control-plane") == pid
    assert await memberships(mesh) == before, "no proxy was told of fewer endpoints, nor of more"
    assert load.failures == {}


@pytest.mark.parametrize("time", ["first", "second"])
async def test_a_control_plane_that_is_killed_comes_back_with_every_endpoint(mesh: Mesh, time: str) -> None:
    await eventually(lambda: trusted(mesh), what="a calm mesh")
    before = await memberships(mesh)
    async with page_load(mesh) as load:
        pid = mesh.kill("control-plane")

        async def replaced() -> bool:
            return mesh.pid("control-plane") not in (0, pid)

        await eventually(replaced, 30)
        await mesh.works()
        await eventually(lambda: trusted(mesh), what="all agents back")
        await mesh.running.wait_converged(20)
        await load.more(100)
    print(f"{time} kill -9: {load.requests} requests, {sum(load.failures.values())} failed")
    assert await memberships(mesh) == before, "no load assignment shrank, not even for a moment"
    assert load.failures == {}
    # Debug data, metrics and status agree about what was said.
    metrics = await asyncio.to_thread(fetch, mesh.running.plan.admin, "/metrics")
    assert "pilothouse_suspects 0" in metrics
    assert 'pilothouse_xds_sent_resources{type="eds"} 0\n' in metrics, "an unchanged world is not sent again"


async def test_an_agent_that_hangs_is_shown_as_suspect_and_keeps_its_traffic(mesh: Mesh) -> None:
    await eventually(lambda: trusted(mesh), what="a calm mesh")
    before, pid = await memberships(mesh), mesh.pid("reviews-v1 sidecar")

    async def suspected() -> bool:
        suspects = (await mesh.running.status()).suspects
        return [suspect.services for suspect in suspects] == [("reviews.service.mesh",)]

    async with page_load(mesh) as load:
        os.kill(pid, signal.SIGSTOP)
        try:
            await eventually(suspected, 20, "the silence being noticed")
            await load.more(50)
        finally:
            os.kill(pid, signal.SIGCONT)
        await eventually(lambda: trusted(mesh), what="the agent trusted again")
    print(f"hang of an agent: {load.requests} requests, {sum(load.failures.values())} failed")
    assert await memberships(mesh) == before
    assert load.failures == {}

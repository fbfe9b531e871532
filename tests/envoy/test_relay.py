"""Drills of the relay with real Envoys: what a control plane that is away, hangs or comes back costs in requests."""

import contextlib
import os
import signal
import time
from pathlib import Path

import pytest
from msgspec import structs

from pilothouse.agent.relay import Relay
from pilothouse.aio.clock import SystemClock
from pilothouse.xds.protocol import SyncState
from pilothouse.xds.resource import VIRTUAL_HOST
from tests.envoy.relaying import Wire, a_site, an_agent, an_envoy_of
from tests.envoy.steering import a_cluster, a_host, a_listener, a_route, a_snapshot, a_table, an_assignment
from tests.load import Load, until

pytestmark = pytest.mark.envoy


def tell(drill: str, load: Load) -> None:
    print(f"\n{drill}: {load.requests} requests, {sum(load.failures.values())} failed {dict(load.failures)}")


@contextlib.asynccontextmanager
async def a_running_site(tmp_path: Path):
    """A site whose Envoy serves, and whose configuration is on disk."""
    async with a_site(tmp_path) as site:
        await site.back(site.snapshot())
        async with an_agent(site.settings):
            await site.answers()
            await site.control.synced()
            await site.stored()
            yield site


async def envoy_pid(site) -> int:
    pid: int = (await site.state())["process"]["pid"]
    return pid


async def test_acknowledgements_and_refusals_reach_the_control_plane_through_the_relay(tmp_path):
    async with a_running_site(tmp_path) as site:
        relay = await site.relay_says(source="live", live_streams=1, refused=0)
        assert relay["store"]["resources"] == 6
        broken = a_host("web", "broken", a_route("one"), domains=("app",))
        good = site.snapshot()
        hosts = [a_host("web", "app", a_route("one")), broken]
        site.control.publish(
            a_snapshot(
                clusters=[a_cluster("one")],
                endpoints=[an_assignment("one", site.upstream)],
                listeners=[a_listener(site.port, "web")],
                routes=[a_table("web")],
                hosts=hosts,
            )
        )
        status = await site.control.reaches(VIRTUAL_HOST, SyncState.REFUSED)
        assert [one.name for one in status.refusals] == ["web/broken"]
        relay = await site.relay_says(refused=1)
        assert relay["store"]["resources"] == 6, "what was refused is not kept"
        site.control.publish(good)
        await site.control.synced()


async def test_an_envoy_that_is_killed_while_the_control_plane_is_away_serves_again_within_a_second(tmp_path):
    async with a_running_site(tmp_path) as site:
        await site.control.stop()
        async with site.load(pause=0.01) as load:
            await load.more(50)
            assert load.failures == {}
            killed = time.perf_counter()
            os.kill(await envoy_pid(site), signal.SIGKILL)
            await until(lambda: bool(load.failures), what="a failed request")
            await site.answers()
            gap = time.perf_counter() - killed
            failed = dict(load.failures)
            await load.more(200)
        tell(f"kill -9 of Envoy without a control plane, back after {gap:.2f} s", load)
        assert dict(load.failures) == failed, "no request fails after it is back"
        await site.relay_says(source="stored", stored_streams=1)
        envoy = (await site.state())["envoy"]
        assert envoy["source"] == "stored"
        assert 0 <= SystemClock().wall() - envoy["stored_at"] < 60


async def test_a_host_that_starts_without_a_control_plane_serves_from_its_state_folder_and_catches_up(tmp_path):
    async with a_running_site(tmp_path) as site:
        pass
    await site.control.stop()
    async with a_site(tmp_path, rebooted=site) as site, an_agent(site.settings):
        await site.answers()
        await site.relay_says(source="stored", stored_streams=1)
        async with site.load() as load:
            await load.more(100)
            control = await site.back(site.snapshot())
            await control.synced()
            await site.relay_says(source="live", stored_streams=0, live_streams=1)
            # The probe's clusters, and the endpoints of what it left unacknowledged.
            assert sum(control.counters.sent_resources.values()) <= 3
            control.publish(site.snapshot(clusters=("two", "one")))
            await control.synced()
            await load.more(100)
        tell("control plane away at the start, then back with a change", load)
        assert load.failures == {}
        control.publish(site.snapshot(answer="new"))
        await site.answers("new")


async def test_a_restarted_control_plane_costs_no_request_and_its_next_change_arrives(tmp_path):
    async with a_running_site(tmp_path) as site:
        async with site.load() as load:
            await load.more(100)
            await site.control.stop()
            await site.relay_says(live_streams=0, waiting_streams=1)
            await load.more(200)
            control = await site.back(site.snapshot())
            await control.synced()
            assert sum(control.counters.sent_resources.values()) == 0, "an unchanged world is not sent again"
            control.publish(site.snapshot(clusters=("two", "one")))
            await control.synced()
            await load.more(100)
        tell("control plane stopped and started", load)
        assert load.failures == {}


async def test_a_control_plane_that_hangs_costs_no_request_and_is_taken_up_again(tmp_path):
    async with a_site(tmp_path) as site, Wire(site.control.port).open() as wire:
        site.settings = structs.replace(site.settings, discovery_port=wire.port)
        await site.back(site.snapshot())
        async with an_agent(site.settings):
            await site.answers()
            await site.stored()
            async with site.load() as load:
                wire.hangs = True
                site.control.publish(site.snapshot(clusters=("two", "one")))
                hung = time.perf_counter()
                relay = await site.relay_says(30.0, live_streams=0, waiting_streams=1)
                print(f"\nthe stream was given up after {time.perf_counter() - hung:.1f} s: {relay['lost_reason']}")
                assert relay["lost"] == 1
                await load.more(200)
                wire.hangs = False
                await site.relay_says(live_streams=1)
                await site.control.synced()
                site.control.publish(site.snapshot(clusters=("three", "two")))
                await site.control.synced()
            tell("control plane hung until its stream was given up", load)
            assert load.failures == {}


async def test_an_envoy_that_is_killed_while_the_control_plane_hangs_serves_from_the_store(tmp_path):
    async with a_site(tmp_path) as site, Wire(site.control.port).open() as wire:
        site.settings = structs.replace(site.settings, discovery_port=wire.port)
        await site.back(site.snapshot())
        async with an_agent(site.settings):
            await site.answers()
            await site.stored()
            wire.hangs = True
            killed = time.perf_counter()
            pid = await envoy_pid(site)
            os.kill(pid, signal.SIGKILL)
            await site.relay_says(source="stored", stored_streams=1)
            await site.answers()
            print(f"\nkill -9 of Envoy while the control plane hangs: back after {time.perf_counter() - killed:.2f} s")
            async with site.load() as load:
                wire.hangs = False
                await site.relay_says(source="live", live_streams=1)
                site.control.publish(site.snapshot(clusters=("two", "one")))
                await site.control.synced()
                await load.more(100)
            tell("control plane goes on after it hung", load)
            assert load.failures == {}


async def test_a_damaged_store_is_set_aside_and_envoy_waits_for_the_control_plane(tmp_path):
    async with a_running_site(tmp_path) as site:
        pass
    await site.control.stop()
    path = Path(site.settings.state_dir) / "last-good"
    body = bytearray(path.read_bytes())
    body[len(body) // 2] ^= 1
    path.write_bytes(body)
    async with a_site(tmp_path, rebooted=site) as site, an_agent(site.settings):
        relay = await site.relay_says(waiting_streams=1, resources=0)
        assert "checksum does not fit" in relay["store"]["problem"]
        assert [p.name for p in path.parent.glob("last-good.bad-*")]
        await site.back(site.snapshot())
        await site.answers()
        await site.stored()
        await site.relay_says(source="live", problem="", resources=6)


async def test_a_disk_that_takes_nothing_is_told_and_costs_no_request(tmp_path):
    async with a_running_site(tmp_path) as site:
        in_the_way = Path(site.settings.state_dir) / ".last-good.new"
        in_the_way.mkdir()
        async with site.load() as load:
            site.control.publish(site.snapshot(clusters=("two", "one")))
            await site.control.synced()
            relay = await site.relay_says(failed_writes=1)
            assert "could not be stored" in relay["store"]["problem"]
            await load.more(100)
        tell("a disk that takes nothing", load)
        assert load.failures == {}
        in_the_way.rmdir()
        await site.relay_says(problem="", writes=2)


async def test_a_relay_that_lost_its_store_is_sent_again_what_envoy_holds(tmp_path):
    async with a_site(tmp_path) as site, contextlib.AsyncExitStack() as relaying:
        await site.back(site.snapshot())
        relay = Relay(site.settings)
        await relaying.enter_async_context(relay.serving(no_crash))
        async with an_envoy_of(site.settings), site.load_when_it_answers() as load:
            await until(lambda: relay.state.store.writes > 0, what="the store on disk")
            await relaying.aclose()
            (Path(site.settings.state_dir) / "last-good").unlink()
            again = Relay(site.settings)
            async with again.serving(no_crash):
                await until(lambda: again.state.store.resources == 6, what="a store that is whole again")
                await load.more(100)
        tell("a relay that was restarted without its store", load)
        assert load.failures == {}


def no_crash(name: str, error: BaseException) -> None:
    raise AssertionError(name) from error


async def test_many_changes_follow_each_other_through_the_relay_without_a_failed_request(tmp_path):
    async with a_running_site(tmp_path) as site:
        async with site.load() as load:
            for turn in range(20):
                site.control.publish(site.snapshot(clusters=("one", "two") if turn % 2 else ("two", "three")))
                await site.control.synced()
            await load.more(100)
        tell("20 subset swaps", load)
        assert load.failures == {}

"""What a real Envoy does with our side of the conversation: order, acknowledgement, refusal, silence, virtual hosts.

Each test is a fact about stock Envoy on which the stream machines rely (ARCHITECTURE.md, "What Envoy expects").
"""

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
from envoy.config.cluster.v3 import cluster_pb2

from pilothouse.compiler.wire import seal
from pilothouse.resolve.policy import ConnectionPool, RingHash, TrafficPolicy
from pilothouse.resolve.view import MatchKind, RequestMatch, TextMatch
from pilothouse.xds.protocol import SyncState
from pilothouse.xds.resource import CLUSTER, ENDPOINT, LISTENER, ROUTE, VIRTUAL_HOST, Resource
from tests.envoy.steering import (
    ORIGIN,
    ControlPlane,
    RealEnvoy,
    a_cluster,
    a_host,
    a_listener,
    a_route,
    a_snapshot,
    a_table,
    an_answer,
    an_assignment,
    an_envoy,
    an_upstream,
    free_port,
)
from tests.load import Load

pytestmark = pytest.mark.envoy
SLOW_TO_CONNECT = TrafficPolicy(pool=ConnectionPool(connect_timeout_ms=7_000))


def a_cluster_that_fails_late(name: str) -> Resource:
    """A hash ring whose minimum is above its maximum: Envoy notices when it makes the ring, and tells nobody."""
    message = cluster_pb2.Cluster.FromString(a_cluster(name, TrafficPolicy(balancing=RingHash(1024))).body)
    message.ring_hash_lb_config.maximum_ring_size.value = 10
    return seal(name, message, ORIGIN, follows=((ENDPOINT, name),))


async def eventually_no_cluster_warms(envoy: RealEnvoy) -> None:
    async with asyncio.timeout(5):
        while await envoy.names("dynamic_warming_clusters"):
            await asyncio.sleep(0.02)


@dataclass
class Scene:
    control: ControlPlane
    envoy: RealEnvoy
    port: int
    upstream: int

    def snapshot(self, *, clusters=("one",), policy=None, hosts=None, drop=()):
        """One listener and one table in front of clusters that all lead to the same app."""
        return a_snapshot(
            clusters=[a_cluster(c, policy) for c in clusters],
            endpoints=[an_assignment(c, self.upstream) for c in clusters],
            listeners=[a_listener(self.port, "web")],
            routes=[a_table("web")],
            hosts=hosts if hosts is not None else [a_host("web", "app", a_route(clusters[0]))],
        )


@pytest.fixture(params=["direct", "relayed"])
async def scene(request: pytest.FixtureRequest) -> AsyncIterator[Scene]:
    """The same facts hold whether Envoy speaks with the control plane or with its agent's relay."""
    control = ControlPlane(free_port())
    await control.start()
    relayed = request.param == "relayed"
    async with an_upstream("the app") as upstream, an_envoy(control.port, relayed=relayed) as envoy:
        yield Scene(control, envoy, free_port(), upstream)
    await control.stop()


async def test_a_first_snapshot_serves_traffic_and_is_acknowledged_in_every_type(scene):
    scene.control.publish(scene.snapshot())

    assert await scene.envoy.answers(scene.port, 200) == "the app"
    await scene.control.synced()


async def test_a_changed_cluster_is_acknowledged_at_once_because_its_endpoints_follow_unasked(scene):
    scene.control.publish(scene.snapshot())
    await scene.control.synced()
    asked_before = scene.control.counters.responses["EDS"]

    scene.control.publish(scene.snapshot(policy=SLOW_TO_CONNECT))

    await scene.control.synced(deadline=1.5)
    assert scene.control.counters.responses["EDS"] == asked_before + 1


async def test_without_its_endpoints_a_changed_cluster_warms_until_it_is_called_stuck(scene):
    scene.control.publish(scene.snapshot())
    await scene.control.synced()
    lonely = dataclasses.replace(a_cluster("one", SLOW_TO_CONNECT), follows=())
    snapshot = scene.snapshot()

    layers = {**snapshot.layers, **a_snapshot(clusters=[lonely]).layers}
    scene.control.publish(dataclasses.replace(snapshot, layers=layers))

    status = await scene.control.reaches(CLUSTER, SyncState.STUCK)
    assert status.outstanding == ("one",)
    assert (await scene.envoy.get(scene.port))[0] == 200, "the old cluster goes on serving"


async def test_a_new_cluster_serves_before_its_route_arrives_under_load(scene):
    scene.control.publish(scene.snapshot())
    await scene.envoy.answers(scene.port, 200)

    async with Load(f"http://127.0.0.1:{scene.port}/", headers={"host": "app"}) as load:
        for number in range(20):
            cluster = f"cluster-{number}"
            scene.control.publish(scene.snapshot(clusters=(cluster,)))
            await scene.control.synced()
        await load.more(200)

    assert load.failures == {}
    assert await scene.envoy.names("dynamic_active_clusters") == {"cluster-19", "BlackHoleCluster"}


async def test_a_refused_virtual_host_stands_alone_and_its_neighbours_get_in(scene):
    broken = RequestMatch(path=TextMatch(MatchKind.REGEX, "missing ): (a"))
    hosts = [
        a_host("web", "app", a_route("one")),
        a_host("web", "bad", dataclasses.replace(an_answer(200, "bad"), match=broken)),
        a_host("web", "good", an_answer(200, "good")),
    ]
    scene.control.publish(scene.snapshot(hosts=hosts))

    status = await scene.control.reaches(VIRTUAL_HOST, SyncState.REFUSED)
    assert [r.name for r in status.refusals] == ["web/bad"]
    assert status.refusals[0].origins
    assert await scene.envoy.answers(scene.port, 200, host="good") == "good"
    assert await scene.envoy.answers(scene.port, 200) == "the app"


async def test_a_refused_virtual_host_leaves_its_last_good_version_serving(scene):
    scene.control.publish(scene.snapshot(hosts=[a_host("web", "app", an_answer(200, "first"))]))
    await scene.envoy.answers(scene.port, 200)
    broken = RequestMatch(path=TextMatch(MatchKind.REGEX, "("))

    scene.control.publish(
        scene.snapshot(hosts=[a_host("web", "app", dataclasses.replace(an_answer(200, "second"), match=broken))])
    )
    await scene.control.reaches(VIRTUAL_HOST, SyncState.REFUSED)
    assert await scene.envoy.get(scene.port) == (200, "first")

    scene.control.publish(scene.snapshot(hosts=[a_host("web", "app", an_answer(200, "third"))]))
    await scene.control.synced()
    assert await scene.envoy.get(scene.port) == (200, "third")


async def test_one_of_two_hosts_with_one_domain_is_refused_and_the_other_serves(scene):
    hosts = [
        a_host("web", "left", an_answer(200, "left"), domains=("app",)),
        a_host("web", "right", an_answer(200, "right"), domains=("app",)),
    ]
    scene.control.publish(scene.snapshot(hosts=hosts))

    status = await scene.control.reaches(VIRTUAL_HOST, SyncState.REFUSED)
    assert len(status.refusals) == 1
    assert "Duplicate" in status.refusals[0].reason
    assert await scene.envoy.answers(scene.port, 200) in ("left", "right")


async def test_a_refused_cluster_does_not_hold_back_the_others(scene):
    bad = TrafficPolicy(balancing=RingHash(minimum_size=2**40))
    snapshot = a_snapshot(
        clusters=[a_cluster("one"), a_cluster("bad", bad)],
        endpoints=[an_assignment("one", scene.upstream), an_assignment("bad", scene.upstream)],
        listeners=[a_listener(scene.port, "web")],
        routes=[a_table("web")],
        hosts=[a_host("web", "app", a_route("one"))],
    )
    scene.control.publish(snapshot)

    status = await scene.control.reaches(CLUSTER, SyncState.REFUSED)
    assert [r.name for r in status.refusals] == ["bad"]
    assert "must be less than" in status.refusals[0].reason
    assert await scene.envoy.answers(scene.port, 200) == "the app"


async def test_a_cluster_that_fails_late_is_refused_by_name_and_does_not_stay_behind_warming(scene):
    good = scene.snapshot()
    mixed = dataclasses.replace(
        good,
        layers={
            **good.layers,
            **a_snapshot(
                clusters=[a_cluster("one"), a_cluster_that_fails_late("late")],
                endpoints=[an_assignment("one", scene.upstream), an_assignment("late", scene.upstream)],
            ).layers,
        },
    )
    scene.control.publish(mixed)

    status = await scene.control.reaches(CLUSTER, SyncState.REFUSED)
    assert [r.name for r in status.refusals] == ["late"]
    assert await scene.envoy.answers(scene.port, 200) == "the app"
    await eventually_no_cluster_warms(scene.envoy)

    scene.control.publish(good)
    await scene.control.synced()


async def test_a_listener_that_cannot_bind_is_refused_alone(scene):
    async with an_upstream("holds the port") as taken:
        snapshot = a_snapshot(
            listeners=[a_listener(scene.port, "web"), a_listener(taken, "web")],
            routes=[a_table("web")],
            hosts=[a_host("web", "app", an_answer(200, "ok"))],
        )
        scene.control.publish(snapshot)

        status = await scene.control.reaches(LISTENER, SyncState.REFUSED)
        assert [r.name for r in status.refusals] == [f"127.0.0.1_{taken}"]
        assert "in use" in status.refusals[0].reason
        assert await scene.envoy.answers(scene.port, 200) == "ok"


async def test_virtual_hosts_of_a_route_that_is_subscribed_later_arrive_unasked(scene):
    first = scene.snapshot(hosts=[a_host("web", "app", an_answer(200, "web"))])
    scene.control.publish(first)
    await scene.control.synced()
    second_port = free_port()
    second = a_snapshot(
        listeners=[a_listener(scene.port, "web"), a_listener(second_port, "api")],
        routes=[a_table("web"), a_table("api")],
        hosts=[a_host("web", "app", an_answer(200, "web")), a_host("api", "app", an_answer(200, "api"))],
    )

    scene.control.publish(second)

    assert await scene.envoy.answers(second_port, 200) == "api"
    await scene.control.synced()


async def test_a_table_without_any_host_opens_its_listener_all_the_same(scene):
    scene.control.publish(a_snapshot(listeners=[a_listener(scene.port, "web")], routes=[a_table("web")], hosts=[]))

    await scene.envoy.answers(scene.port, 404)


async def test_a_domain_that_moves_between_hosts_is_never_unanswered(scene):
    def moved(name: str):
        return scene.snapshot(hosts=[a_host("web", name, an_answer(200, name), domains=("app",))])

    scene.control.publish(moved("left"))
    await scene.envoy.answers(scene.port, 200)
    async with Load(f"http://127.0.0.1:{scene.port}/", headers={"host": "app"}) as load:
        for name in ("right", "left") * 10:
            scene.control.publish(moved(name))
            await scene.control.synced()
        await load.more(100)

    assert load.failures == {}


async def test_after_a_restart_with_an_unchanged_world_no_resource_is_sent(scene):
    scene.control.publish(scene.snapshot())
    await scene.control.synced()
    async with Load(f"http://127.0.0.1:{scene.port}/", headers={"host": "app"}) as load:
        await scene.control.stop()
        again = ControlPlane(scene.control.port, snapshot=scene.snapshot())
        await again.start()
        await again.synced()
        await load.more(100)

    assert sum(again.counters.sent_resources.values()) == 0
    assert load.failures == {}
    await again.stop()


async def test_what_was_deleted_during_a_disconnect_is_gone_afterwards(scene):
    scene.control.publish(scene.snapshot(clusters=("one", "two")))
    await scene.control.synced()
    await scene.control.stop()
    again = ControlPlane(scene.control.port, snapshot=scene.snapshot(hosts=[a_host("web", "other", a_route("one"))]))
    await again.start()
    await again.synced()

    assert await scene.envoy.names("dynamic_active_clusters") == {"one", "BlackHoleCluster"}
    await scene.envoy.answers(scene.port, 404)
    assert await scene.envoy.answers(scene.port, 200, host="other") == "the app"
    await again.stop()


async def test_a_cluster_that_changed_during_a_disconnect_is_acknowledged_at_once(scene):
    scene.control.publish(scene.snapshot())
    await scene.control.synced()
    await scene.control.stop()
    again = ControlPlane(scene.control.port, snapshot=scene.snapshot(policy=SLOW_TO_CONNECT))
    await again.start()

    await again.synced(deadline=5)
    assert again.counters.sent_resources["CDS"] == 1
    await again.stop()


async def test_endpoint_changes_reach_envoy_without_any_other_type(scene):
    scene.control.publish(scene.snapshot())
    await scene.control.synced()
    before = dict(scene.control.counters.responses)
    async with an_upstream("another app") as other:
        snapshot = scene.snapshot()
        moved = {ENDPOINT: a_snapshot(endpoints=[an_assignment("one", other)]).layers[ENDPOINT]}
        scene.control.publish(dataclasses.replace(snapshot, layers={**scene.control.snapshot.layers, **moved}))

        while (await scene.envoy.get(scene.port))[1] != "another app":
            pass
        changed = {t for t, n in scene.control.counters.responses.items() if n != before.get(t, 0)}
        assert changed == {"EDS"}


async def test_routes_are_not_named_before_they_are_asked_for(scene):
    scene.control.publish(scene.snapshot())
    await scene.control.synced()
    assert scene.control.counters.sent_resources["RDS"] == 1
    assert scene.control.status(ROUTE).resources == 1


async def test_a_change_that_fails_late_leaves_the_last_good_cluster_serving_and_nothing_warming(scene):
    scene.control.publish(scene.snapshot())
    await scene.envoy.answers(scene.port, 200)
    late = a_cluster_that_fails_late("one")
    layers = {**scene.snapshot().layers, **a_snapshot(clusters=[late]).layers}
    scene.control.publish(dataclasses.replace(scene.snapshot(), layers=layers))

    status = await scene.control.reaches(CLUSTER, SyncState.REFUSED)
    assert [r.name for r in status.refusals] == ["one"]
    await eventually_no_cluster_warms(scene.envoy)
    assert await scene.envoy.get(scene.port) == (200, "the app")

    scene.control.publish(scene.snapshot(policy=SLOW_TO_CONNECT))
    await scene.control.synced(deadline=3)

"""Whatever happens to the world: reuse equals fresh, order does not matter, and every snapshot is closed."""

import os
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations
from pathlib import Path

from envoy.config.route.v3 import route_components_pb2
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pilothouse.compiler.mesh import MeshCompiler
from pilothouse.kit.origin import Origin
from pilothouse.model.proxy import Proxy
from pilothouse.model.world import Delta, World, fold
from pilothouse.resolve.classify import ProxyClass, classify
from pilothouse.resolve.view import BLACK_HOLE
from pilothouse.xds.resource import CLUSTER, ENDPOINT, ROUTE, VIRTUAL_HOST, ResourceSet, Snapshot
from tests.closure import routes_of, violations
from tests.properties.mesh_worlds import HISTORIES, NAMESPACES, PROXIES, Change, Files, delta_of
from tests.worlds import a_gateway, a_sidecar, compile_snapshot, compile_snapshots, content_of

ROOT = Path(__file__).resolve().parents[2]
SHARED = (CLUSTER, ENDPOINT, ROUTE, VIRTUAL_HOST)
STABLE = settings(
    derandomize=True, database=None, deadline=None, max_examples=50, suppress_health_check=list(HealthCheck)
)


def deltas_of(history: Iterable[Change]) -> list[Delta]:
    files = Files()
    return [delta_of(change, files) for change in history]


def held(snapshot: Snapshot) -> dict[tuple[str, str], tuple[bytes, tuple[Origin, ...], tuple[tuple[str, str], ...]]]:
    """Everything about every resource."""
    return {(k, r.name): (r.body, r.origins, r.follows) for k in snapshot.layers for r in snapshot.resources(k)}


@STABLE
@given(HISTORIES)
def test_reuse_equals_fresh(history: list[Change]) -> None:
    world, compiler = World(), MeshCompiler()
    for delta in deltas_of(history):
        world = fold(world, (delta,))
        reused = compile_snapshots(world, PROXIES, compiler)
        fresh = compile_snapshots(world, PROXIES)
        assert [held(snapshot) for snapshot in reused] == [held(snapshot) for snapshot in fresh]


@STABLE
@given(HISTORIES, st.integers(1, 4))
def test_reuse_equals_fresh_when_proxies_come_and_go(history: list[Change], stride: int) -> None:
    world, compiler = World(), MeshCompiler()
    for number, delta in enumerate(deltas_of(history)):
        world = fold(world, (delta,))
        present = [proxy for n, proxy in enumerate(PROXIES) if (number + n) % stride == 0]
        reused = compile_snapshots(world, present, compiler)
        assert [held(s) for s in reused] == [held(s) for s in compile_snapshots(world, present)]


@STABLE
@given(HISTORIES)
def test_state_of_the_world_says_the_same_whether_reused_or_fresh(history: list[Change]) -> None:
    world, compiler = World(), MeshCompiler()
    for delta in deltas_of(history):
        world = fold(world, (delta,))
        for snapshot in compile_snapshots(world, PROXIES, compiler):
            fresh = MeshCompiler().sotw(snapshot)
            assert held(compiler.sotw(snapshot)) == held(fresh)
            assert VIRTUAL_HOST not in fresh.layers


@STABLE
@given(HISTORIES)
def test_every_snapshot_is_closed_under_references(history: list[Change]) -> None:
    world, compiler = World(), MeshCompiler()
    for delta in deltas_of(history):
        world = fold(world, (delta,))
        for proxy, snapshot in zip(PROXIES, compile_snapshots(world, PROXIES, compiler), strict=True):
            assert violations(snapshot) == [], proxy.name


def source_of(delta: Delta) -> str:
    return getattr(delta, "source", "workloads")


@STABLE
@given(HISTORIES, st.randoms(use_true_random=False))
def test_order_of_deltas_from_different_sources_does_not_matter(history: list[Change], random: "st.Random") -> None:
    deltas = deltas_of(history)
    queues = {source: [d for d in deltas if source_of(d) == source] for source in sorted(map(source_of, deltas))}
    mixed: list[Delta] = []
    while any(queues.values()):
        mixed.append(random.choice([q for q in queues.values() if q]).pop(0))
    one, other = fold(World(), deltas), fold(World(), mixed)
    left, right = compile_snapshots(one, PROXIES), compile_snapshots(other, PROXIES)
    assert [held(s) for s in left] == [held(s) for s in right]


@STABLE
@given(HISTORIES)
def test_unchanged_world_gives_the_same_objects(history: list[Change]) -> None:
    world, compiler = fold(World(), deltas_of(history)), MeshCompiler()
    before = compile_snapshots(world, PROXIES, compiler)
    compiled = dict(compiler.compiled)
    after = compile_snapshots(fold(world, deltas_of(history)[-1:]), PROXIES, compiler)
    assert all(new is old for new, old in zip(after, before, strict=True))
    assert compiler.compiled == compiled


LABELS = st.sampled_from(({}, {"tier": "gold"}, {"pod": "a"}, {"pod": "b"}, {"tier": "gold", "pod": "c"}))


@st.composite
def proxies(draw: st.DrawFn) -> Proxy:
    labels, namespace = draw(LABELS), draw(st.sampled_from((*NAMESPACES, "elsewhere", "other")))
    made = draw(st.sampled_from((a_sidecar, a_gateway)))
    return made(draw(st.sampled_from(("ingressgateway", "x", "y"))), namespace, **labels)


def outbound(snapshot: Snapshot) -> list[dict[str, bytes]]:
    """The shared layers, by name."""
    layers: list[ResourceSet] = [snapshot.layers[kind][0] for kind in SHARED]
    return [{r.name: r.body for r in layer.values()} for layer in layers]


def class_of(world: World, proxy: Proxy) -> ProxyClass:
    return classify(proxy, MeshCompiler().resolve(world).consulted[proxy.role])


@STABLE
@given(HISTORIES, st.lists(proxies(), min_size=2, max_size=6))
def test_equal_class_keys_mean_equal_output(history: list[Change], fleet: list[Proxy]) -> None:
    world = fold(World(), deltas_of(history))
    described = [(class_of(world, proxy), outbound(compile_snapshot(world, proxy))) for proxy in fleet]
    for (key, content), (other_key, other_content) in combinations(described, 2):
        if key == other_key:
            assert content == other_content


def everything() -> Sequence[str]:
    """Digests of a rich world's snapshots. Run in other processes, too."""
    found: list[str] = []

    @settings(STABLE, max_examples=8)
    @given(HISTORIES)
    def collect(history: list[Change]) -> None:
        world = fold(World(), deltas_of(history))
        found.extend(content_of(snapshot) for snapshot in compile_snapshots(world, PROXIES))

    collect()
    return found


def digests_with(seed: str) -> str:
    code = "from tests.properties.test_compile import everything; print('\\n'.join(everything()))"
    places = os.pathsep.join((str(ROOT), str(Path(__file__).parent)))
    environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": places}
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    return run.stdout


def test_bytes_do_not_depend_on_the_order_of_hashes() -> None:
    first, second = digests_with("1"), digests_with("2")
    assert len(first.splitlines()) > len(PROXIES)
    assert first == second


def kinds_of(route: route_components_pb2.Route) -> Iterator[str]:
    """What is remarkable about a route."""
    answer = route.direct_response.body.inline_string
    yield from (
        text for text in ("defines the subset", "is known here", "has no port", "has to name") if text in answer
    )
    if route.route.hash_policy:
        yield "hash"
    shares = route.route.weighted_clusters.clusters
    if any("|v1|" in name for name in (route.route.cluster, *(share.name for share in shares))):
        yield "subset"
    if shares:
        yield "split"
    if any(share.name == BLACK_HOLE for share in shares):
        yield "missing share"


def test_histories_reach_the_interesting_places() -> None:
    """The strategies are worth something only if routes, rules and gateways meet."""
    seen: set[str] = set()

    @settings(STABLE, max_examples=150)
    @given(HISTORIES)
    def collect(history: list[Change]) -> None:
        world = fold(World(), deltas_of(history))
        for proxy, snapshot in zip(PROXIES, compile_snapshots(world, PROXIES), strict=True):
            for name, route in routes_of(snapshot):
                table = name.partition("/")[0] if "/" in name else "inbound"
                seen.update((proxy.role, table, *kinds_of(route)))

    collect()
    expected = {"defines the subset", "is known here", "has no port", "subset", "hash", "split", "missing share"}
    assert expected | {"inbound", "http_proxy", "http.8080", "http.8081"} <= seen

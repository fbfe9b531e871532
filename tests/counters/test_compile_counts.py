"""How much is compiled for a change: exact numbers, whatever the number of proxies (DESIGN §5).

Times depend on the machine; these do not, so they gate.
"""

import gc
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

import pytest

from pilothouse.compiler.mesh import ROUNDS_BETWEEN_TIDYING, MeshCompiler
from pilothouse.model.proxy import Place, Proxy, TcpBind
from pilothouse.model.service import Port, ServiceDelta
from pilothouse.model.world import ConfigDelta, WorkloadDelta, World, fold
from pilothouse.resolve.view import AssignmentView, ClusterView, InboundView, ListenerView, VirtualHostView
from pilothouse.xds.resource import CLUSTER, ENDPOINT, LISTENER, ROUTE, VIRTUAL_HOST, Snapshot
from tests.worlds import (
    HTTP,
    ServiceBuilder,
    a_gateway,
    a_service,
    a_sidecar,
    a_workload,
    compile_snapshots,
    objects_of,
    services_of,
    world_of,
)

ADMIN = Port(9081, "admin")
SHARED = (CLUSTER, ENDPOINT, ROUTE, VIRTUAL_HOST)
REVIEWS = a_service("reviews").with_ports(HTTP, ADMIN).with_endpoints("v1", "v2", "v3")
OTHERS = tuple(a_service(name).with_endpoints("v1") for name in ("productpage", "details", "ratings"))
TEXT = """
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: reviews}
spec:
  host: reviews
  trafficPolicy: {loadBalancer: {simple: RANDOM}}
  subsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews}
spec:
  hosts: [reviews]
  http:
  - route: [{destination: {host: reviews, subset: v1}}]
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: edge}
spec:
  selector: {istio: ingressgateway}
  servers:
  - port: {number: 8080, name: http, protocol: HTTP}
    hosts: [shop.example.com]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: ratings}
spec:
  hosts: [ratings]
  http:
  - route: [{destination: {host: ratings}}]
"""
RATINGS = "  - route: [{destination: {host: ratings}}]"
"""The last route of the text: what is written behind it moves no line of another object."""


class Mesh:
    """A compiler with its proxies; ``after`` says what a change of the world compiles."""

    def __init__(self, world: World, proxies: Sequence[Proxy]) -> None:
        self.compiler = MeshCompiler()
        self.world = world
        self.proxies = proxies
        self.snapshots = compile_snapshots(world, proxies, self.compiler)

    def after(self, *batch: ServiceDelta | ConfigDelta) -> dict[str, int]:
        """What folding ``batch`` compiles, by type; types without any are left out."""
        before = Counter(self.compiler.compiled)
        self.world = fold(self.world, batch)
        self.snapshots = compile_snapshots(self.world, self.proxies, self.compiler)
        return {kind: n for kind, n in sorted((self.compiler.compiled - before).items()) if n}


def endpoints_only(service: ServiceBuilder) -> ServiceDelta:
    return ServiceDelta(service.registry, (), ((service.key, service.endpoints),))


def sidecars(count: int) -> list[Proxy]:
    return [a_sidecar(f"productpage-{n}", app="productpage", pod=f"p{n}") for n in range(count)]


FLEETS: Iterable[Callable[[], list[Proxy]]] = (
    lambda: sidecars(1),
    lambda: [*sidecars(100), a_gateway()],
)


@pytest.fixture(params=FLEETS, ids=["one proxy", "a hundred and a gateway"])
def mesh(request: pytest.FixtureRequest) -> Mesh:
    return Mesh(world_of(TEXT, REVIEWS, *OTHERS), request.param())


def test_new_endpoint_of_a_subset_compiles_that_subset_and_the_whole_per_port(mesh: Mesh) -> None:
    assert mesh.after(endpoints_only(REVIEWS.with_endpoints("v2"))) == {"EDS": 2 * (1 + 1)}


def test_new_endpoint_of_no_subset_compiles_the_whole_per_port(mesh: Mesh) -> None:
    assert mesh.after(endpoints_only(REVIEWS.with_endpoints("v3"))) == {"EDS": 2 * (1 + 0)}


def test_endpoint_that_changes_subsets_compiles_both(mesh: Mesh) -> None:
    moved = a_service("reviews").with_ports(HTTP, ADMIN).with_endpoints("v1", "v1", "v3")
    assert mesh.after(endpoints_only(moved)) == {"EDS": 2 * (1 + 2)}


def test_last_endpoint_that_leaves_compiles_an_empty_assignment_and_nothing_else(mesh: Mesh) -> None:
    assert mesh.after(endpoints_only(OTHERS[0].with_endpoints())) == {}
    nobody = a_service("details")
    assert mesh.after(endpoints_only(nobody)) == {"EDS": 1}


def test_endpoints_of_a_dns_service_compile_its_clusters() -> None:
    entry = """
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: partner}}
spec:
  hosts: [api.partner.example.com]
  resolution: DNS
  ports: [{{number: 80, name: http, protocol: HTTP}}, {{number: 81, name: admin, protocol: HTTP}}]
  endpoints: [{{address: {address}}}]
"""
    mesh = Mesh(world_of(entry.format(address="a.example.com"), REVIEWS), sidecars(10))
    changed = mesh.after(objects_of(entry.format(address="b.example.com")))
    assert changed["CDS"] == 2
    assert "EDS" not in changed


def test_changed_route_compiles_the_virtual_hosts_that_it_names(mesh: Mesh) -> None:
    tea = "  - match: [{uri: {exact: /tea}}]\n    directResponse: {status: 418}\n"
    assert mesh.after(objects_of(TEXT.replace(RATINGS, tea + RATINGS))) == {"VHDS": 1}


def test_changed_route_of_a_service_with_two_ports_compiles_both_virtual_hosts(mesh: Mesh) -> None:
    assert mesh.after(objects_of(TEXT.replace("subset: v1}}]", "subset: v2}}]"))) == {"VHDS": 2}


def test_changed_policy_compiles_the_clusters_of_its_host(mesh: Mesh) -> None:
    """And its virtual hosts, because routes say what is hashed; here their bytes stay the same."""
    hosts = bodies(mesh.snapshots[0], VIRTUAL_HOST)
    assert mesh.after(objects_of(TEXT.replace("RANDOM", "ROUND_ROBIN"))) == {"CDS": 2 * (1 + 2), "VHDS": 2}
    assert bodies(mesh.snapshots[0], VIRTUAL_HOST) == hosts


def test_new_subset_compiles_the_clusters_of_its_host_and_its_own_assignments(mesh: Mesh) -> None:
    more = TEXT.replace("{version: v2}}]", "{version: v2}}, {name: v3, labels: {version: v3}}]")
    assert mesh.after(objects_of(more)) == {"CDS": 2 * (1 + 3), "EDS": 2, "VHDS": 2}


def test_new_service_compiles_itself(mesh: Mesh) -> None:
    assert mesh.after(*services_of(REVIEWS, *OTHERS, a_service("stock").with_endpoints("v1"))) == {
        "CDS": 1,
        "EDS": 1,
        "VHDS": 1,
    }


def test_object_of_no_consequence_compiles_nothing(mesh: Mesh) -> None:
    unused = """
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: unused}
spec:
  selector: {istio: nobody}
  servers:
  - port: {number: 9999, name: http, protocol: HTTP}
    hosts: ["*"]
"""
    assert mesh.after(objects_of(TEXT + unused)) == {}


def bodies(snapshot: Snapshot, kind: str) -> dict[str, bytes]:
    return {resource.name: resource.body for resource in snapshot.resources(kind)}


def layers_of(snapshot: Snapshot, *kinds: str) -> list[int]:
    return [id(layer) for kind in kinds for layer in snapshot.layers[kind]]


def test_unchanged_world_compiles_nothing_and_gives_the_same_snapshots(mesh: Mesh) -> None:
    before = mesh.snapshots
    assert mesh.after() == {}
    assert mesh.after(objects_of(TEXT), *services_of(REVIEWS, *OTHERS)) == {}
    assert all(new is old for new, old in zip(mesh.snapshots, before, strict=True))


def test_same_objects_read_again_compile_nothing(mesh: Mesh) -> None:
    """A file that was touched gives equal objects, which are other objects."""
    assert mesh.after(objects_of(TEXT)) == {}


def test_route_change_leaves_all_other_layers_alone(mesh: Mesh) -> None:
    before = mesh.snapshots[0]
    mesh.after(objects_of(TEXT.replace("subset: v1}}]", "subset: v2}}]")))
    unchanged = (CLUSTER, ENDPOINT, LISTENER, ROUTE)
    assert layers_of(mesh.snapshots[0], *unchanged) == layers_of(before, *unchanged)
    assert layers_of(mesh.snapshots[0], VIRTUAL_HOST) != layers_of(before, VIRTUAL_HOST)


def test_endpoint_change_leaves_all_other_layers_alone(mesh: Mesh) -> None:
    before = mesh.snapshots[0]
    mesh.after(endpoints_only(REVIEWS.with_endpoints("v2")))
    unchanged = (CLUSTER, LISTENER, ROUTE, VIRTUAL_HOST)
    assert layers_of(mesh.snapshots[0], *unchanged) == layers_of(before, *unchanged)


def classes(snapshots: Iterable[Snapshot]) -> Counter[tuple[int, ...]]:
    """How many proxies share each set of outbound layers."""
    return Counter(tuple(id(s.layers[kind][0]) for kind in SHARED) for s in snapshots)


def test_thousand_proxies_without_selectors_are_one_class() -> None:
    mesh = Mesh(world_of(TEXT, REVIEWS, *OTHERS), sidecars(1000))
    assert list(classes(mesh.snapshots).values()) == [1000]
    assert mesh.compiler.compiled == {"CDS": 2 * 3 + 3, "EDS": 2 * 3 + 3, "RDS": 1, "VHDS": 1 + 2 + 3, "LDS": 1000 + 1}


def test_selector_that_matches_three_makes_two_classes() -> None:
    gold = "  - match: [{sourceLabels: {tier: gold}}]\n    directResponse: {status: 418}\n"
    world = world_of(TEXT.replace(RATINGS, gold + RATINGS), REVIEWS, *OTHERS)
    golden = [a_sidecar(f"golden-{n}", tier="gold") for n in range(3)]
    mesh = Mesh(world, [*sidecars(997), *golden])
    assert sorted(classes(mesh.snapshots).values()) == [3, 997]
    different = {kind for kind in SHARED if mesh.snapshots[0].layers[kind][0] is not mesh.snapshots[-1].layers[kind][0]}
    assert different == {VIRTUAL_HOST}
    assert mesh.compiler.compiled["VHDS"] == 1 + 2 + 3 + 1


def test_new_selector_compiles_the_virtual_host_of_its_rule_for_each_class() -> None:
    proxies = [*sidecars(10), a_sidecar("golden", tier="gold"), a_gateway()]
    mesh = Mesh(world_of(TEXT, REVIEWS, *OTHERS), proxies)
    gold = "  - match: [{sourceLabels: {tier: gold}}]\n    directResponse: {status: 418}\n"
    assert mesh.after(objects_of(TEXT.replace(RATINGS, gold + RATINGS))) == {"VHDS": 2}


def test_namespace_that_no_object_names_makes_no_class() -> None:
    proxies = [a_sidecar("productpage", namespace=f"team-{n}") for n in range(50)]
    mesh = Mesh(world_of(TEXT, REVIEWS, *OTHERS), proxies)
    assert list(classes(mesh.snapshots).values()) == [50]


def test_tidying_compiles_nothing(mesh: Mesh) -> None:
    before = mesh.snapshots
    assert [mesh.after() for _ in range(2 * ROUNDS_BETWEEN_TIDYING)] == [{}] * (2 * ROUNDS_BETWEEN_TIDYING)
    assert [layers_of(s, *SHARED, LISTENER) for s in mesh.snapshots] == [
        layers_of(s, *SHARED, LISTENER) for s in before
    ]


VIEWS = (ClusterView, AssignmentView, VirtualHostView, InboundView, ListenerView)


def alive(kinds: tuple[type, ...]) -> int:
    gc.collect()
    return sum(isinstance(found, kinds) for found in gc.get_objects())


def test_what_is_no_longer_served_is_forgotten() -> None:
    mesh = Mesh(world_of("", REVIEWS), sidecars(1))

    def views_after(rounds: range) -> int:
        for n in rounds:
            mesh.world = fold(mesh.world, [WorkloadDelta((a_workload("productpage-0", ("productpage", 9000 + n)),))])
            mesh.after(*services_of(REVIEWS, a_service(f"new-{n}").with_endpoints("v1")))
        for _ in range(2 * ROUNDS_BETWEEN_TIDYING):
            mesh.after()
        return alive(VIEWS)

    few = views_after(range(10))
    assert views_after(range(10, 60)) == few


def test_changes_across_a_tidying_compile_what_they_always_do(mesh: Mesh) -> None:
    growing = REVIEWS
    for _ in range(ROUNDS_BETWEEN_TIDYING + 2):
        growing = growing.with_endpoints("v3")
        assert mesh.after(endpoints_only(growing)) == {"EDS": 2}


def test_proxy_that_comes_later_compiles_only_its_listeners(mesh: Mesh) -> None:
    mesh.proxies = [*mesh.proxies, a_sidecar("details", bind="127.0.0.9")]
    assert mesh.after() == {"LDS": 1}


def test_tcp_listeners_and_tunnels_compile_in_the_own_part_only() -> None:
    """The tunnel's listener is one for all proxies that agree in its guard; TCP listeners are each proxy's own."""
    bind = TcpBind("reviews.service.mesh", 9080, Place("127.0.0.1", 7000))
    mesh = Mesh(world_of(TEXT, REVIEWS, *OTHERS), [*sidecars(10), a_sidecar("client", tcp=(bind,))])
    assert mesh.compiler.compiled["LDS"] == 11 + 1 + 1
    assert list(classes(mesh.snapshots).values()) == [11]
    assert mesh.after(endpoints_only(REVIEWS.with_endpoints("v2"))) == {"EDS": 4}
    tea = "  - match: [{uri: {exact: /tea}}]\n    directResponse: {status: 418}\n"
    assert mesh.after(objects_of(TEXT.replace(RATINGS, tea + RATINGS))) == {"VHDS": 1}


def test_tcp_listener_comes_and_goes_with_its_service() -> None:
    bind = TcpBind("stock.service.mesh", 9080, Place("127.0.0.1", 7000))
    mesh = Mesh(world_of(TEXT, REVIEWS, *OTHERS), [a_sidecar("client", tcp=(bind,))])
    stock = a_service("stock").with_endpoints("v1")
    assert mesh.snapshots[0].find(LISTENER, "127.0.0.1_7000") is None
    compiled = mesh.after(*services_of(REVIEWS, *OTHERS, stock))
    assert mesh.snapshots[0].find(LISTENER, "127.0.0.1_7000") is not None
    assert {kind: compiled[kind] for kind in ("CDS", "EDS", "VHDS")} == {"CDS": 1, "EDS": 1, "VHDS": 1}
    mesh.after(*services_of(REVIEWS, *OTHERS))
    assert mesh.snapshots[0].find(LISTENER, "127.0.0.1_7000") is None

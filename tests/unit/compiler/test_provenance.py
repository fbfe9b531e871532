"""Which line made this route, this cluster, this listener? Every compiled part says so."""

from pilothouse.kit.origin import BuiltIn, FileOrigin, RegistryOrigin
from pilothouse.xds.resource import CLUSTER, ENDPOINT, LISTENER, VIRTUAL_HOST
from tests.worlds import a_gateway, a_service, a_sidecar, compile_snapshot, world_of

RULES = """
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: reviews}
spec:
  host: reviews.service.mesh
  trafficPolicy:
    connectionPool: {tcp: {maxConnections: 7}}
  subsets:
  - {name: v1, labels: {version: v1}}
  - {name: v2, labels: {version: v2}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews}
spec:
  hosts: [reviews.service.mesh]
  http:
  - match:
    - uri: {prefix: /a}
    - uri: {prefix: /b}
    route: [{destination: {host: reviews.service.mesh, subset: v2}}]
  - route: [{destination: {host: reviews.service.mesh, subset: v1}}]
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: front}
spec:
  selector: {istio: ingressgateway}
  servers:
  - port: {number: 8080, name: http, protocol: HTTP}
    hosts: ["*"]
"""
WORLD = world_of(RULES, a_service("reviews").with_endpoints("v1", "v2"), a_service("details").with_endpoints("v1"))


def lines_of(origins) -> list[int]:
    return [origin.line for origin in origins if isinstance(origin, FileOrigin)]


def line(text: str) -> int:
    return next(number for number, found in enumerate(RULES.splitlines(), 1) if text in found)


def test_each_route_of_a_virtual_host_names_its_own_line():
    host = compile_snapshot(WORLD, a_sidecar("productpage")).find(VIRTUAL_HOST, "http_proxy/reviews.service.mesh:9080")
    assert lines_of(host.parts) == [line("prefix: /a"), line("prefix: /b"), line("subset: v1}}]")]


def test_a_default_route_names_the_registry_that_made_the_service():
    host = compile_snapshot(WORLD, a_sidecar("productpage")).find(VIRTUAL_HOST, "http_proxy/details.service.mesh:9080")
    assert [type(origin) for origin in host.parts] == [BuiltIn, RegistryOrigin], "the tunnel's route stands first"


def test_a_cluster_of_a_subset_names_the_subset_then_the_policy_then_the_service():
    cluster = compile_snapshot(WORLD, a_sidecar("productpage")).find(CLUSTER, "outbound|9080|v2|reviews.service.mesh")
    assert lines_of(cluster.origins) == [line("name: v2"), line("trafficPolicy:") + 1]
    assert isinstance(cluster.origins[-1], RegistryOrigin)


def test_a_load_assignment_names_the_instances():
    found = compile_snapshot(WORLD, a_sidecar("productpage")).find(ENDPOINT, "outbound|9080||reviews.service.mesh")
    assert len({origin.instance for origin in found.origins if isinstance(origin, RegistryOrigin)}) == 2


def test_a_gateways_listener_names_the_server():
    listener = compile_snapshot(WORLD, a_gateway()).find(LISTENER, "0.0.0.0_8080")
    assert lines_of(listener.origins) == [line("port: {number: 8080")]

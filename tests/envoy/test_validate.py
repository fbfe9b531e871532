"""Everything that any test compiled is shown to a real Envoy, which must accept it.

The last test of a session (``conftest`` puts it there) folds what ``tests.worlds`` recorded into static bootstraps.
Before that, Envoy is shown to refuse a broken resource of each kind, so that its silence means something.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.core.v3 import extension_pb2
from envoy.config.endpoint.v3 import endpoint_pb2
from envoy.config.listener.v3 import listener_pb2
from envoy.config.route.v3 import route_components_pb2, route_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import Message

from pilothouse.xds.resource import (
    CLUSTER,
    ENDPOINT,
    LISTENER,
    ROUTE,
    VIRTUAL_HOST,
    Resource,
    ResourceSet,
    Snapshot,
)
from tests.closure import violations
from tests.envoy.static_bootstrap import folded
from tests.envoy.validation import refusal
from tests.worlds import RECORDED, a_service, a_sidecar, compile_snapshot, world_of

pytestmark = pytest.mark.envoy

BATCH = 50
"""Snapshots per bootstrap: one run of Envoy costs 50 ms, and 1 ms more for each snapshot."""

SOUND = compile_snapshot(
    world_of(
        """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews}
spec:
  hosts: [reviews]
  http:
  - match: [{uri: {regex: "/[a-z]+"}}]
    route: [{destination: {host: reviews}}]
  - match: [{uri: {exact: /tea}}]
    directResponse: {status: 418, body: {string: teapot}}
  - route: [{destination: {host: reviews}}]
""",
        a_service("reviews").with_endpoints("v1"),
    ),
    a_sidecar("productpage"),
)
"""A snapshot that Envoy accepts, to be broken in one place each."""
REVIEWS = "http_proxy/reviews.service.mesh:9080"
CLUSTER_NAME = "outbound|9080||reviews.service.mesh"
LISTENER_NAME = "127.0.0.1_15001"
MESSAGES: dict[str, type[Message]] = {
    CLUSTER: cluster_pb2.Cluster,
    ENDPOINT: endpoint_pb2.ClusterLoadAssignment,
    LISTENER: listener_pb2.Listener,
    ROUTE: route_pb2.RouteConfiguration,
    VIRTUAL_HOST: route_components_pb2.VirtualHost,
}


def with_message(type_url: str, name: str, message: Message) -> Snapshot:
    """The sound snapshot with one resource replaced."""
    new = Resource(name, "broken", message.SerializeToString())
    layers = {
        kind: tuple(ResourceSet({n: new if (kind, n) == (type_url, name) else r for n, r in s.items()}) for s in sets)
        for kind, sets in SOUND.layers.items()
    }
    return Snapshot(layers)


def parsed(type_url: str, name: str) -> Any:
    found = SOUND.find(type_url, name)
    assert found is not None
    return MESSAGES[type_url].FromString(found.body)


def broken_cluster() -> Snapshot:
    cluster = parsed(CLUSTER, CLUSTER_NAME)
    cluster.connect_timeout.seconds = -1
    return with_message(CLUSTER, CLUSTER_NAME, cluster)


def broken_endpoints() -> Snapshot:
    assignment = parsed(ENDPOINT, CLUSTER_NAME)
    assignment.endpoints[0].lb_endpoints[0].endpoint.address.socket_address.address = "not-an-address"
    return with_message(ENDPOINT, CLUSTER_NAME, assignment)


def broken_listener() -> Snapshot:
    listener = parsed(LISTENER, LISTENER_NAME)
    manager = http_connection_manager_pb2.HttpConnectionManager()
    listener.filter_chains[0].filters[0].typed_config.Unpack(manager)
    unknown = AnyMessage()
    unknown.Pack(extension_pb2.TypedExtensionConfig(name="x"))
    manager.http_filters[0].name = "not.a.filter"
    manager.http_filters[0].typed_config.CopyFrom(unknown)
    listener.filter_chains[0].filters[0].typed_config.Pack(manager)
    return with_message(LISTENER, LISTENER_NAME, listener)


def broken_route() -> Snapshot:
    routes = parsed(ROUTE, "http_proxy")
    routes.max_direct_response_body_size_bytes.value = 1
    return with_message(ROUTE, "http_proxy", routes)


def broken_virtual_host() -> Snapshot:
    host = parsed(VIRTUAL_HOST, REVIEWS)
    host.routes[0].match.safe_regex.regex = "/[a-z+"
    return with_message(VIRTUAL_HOST, REVIEWS, host)


def dangling_virtual_host() -> Snapshot:
    host = parsed(VIRTUAL_HOST, REVIEWS)
    host.routes[1].route.cluster = "outbound|9080||gone.service.mesh"
    return with_message(VIRTUAL_HOST, REVIEWS, host)


def twice_the_same_domain() -> Snapshot:
    host = parsed(VIRTUAL_HOST, REVIEWS)
    host.domains.append("*")
    return with_message(VIRTUAL_HOST, REVIEWS, host)


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (broken_cluster(), "Expected positive duration"),
        (broken_endpoints(), "malformed IP address"),
        (broken_listener(), "not.a.filter"),
        (broken_route(), "maximum is 1"),
        (broken_virtual_host(), "missing ]"),
        (dangling_virtual_host(), "unknown cluster"),
        (twice_the_same_domain(), "Only a single wildcard domain"),
    ],
    ids=["cluster", "endpoints", "listener", "route", "virtual-host", "reference", "domain"],
)
def test_harness_refuses_what_is_broken(broken: Snapshot, reason: str, tmp_path: Path) -> None:
    assert reason in refusal(folded([broken]), tmp_path)
    assert not refusal(folded([SOUND]), tmp_path)


def test_broken_snapshot_is_found_in_a_batch(tmp_path: Path) -> None:
    assert "missing ]" in refusal(folded([SOUND, broken_virtual_host(), SOUND]), tmp_path)


def test_snapshot_without_an_assignment_is_not_folded() -> None:
    layers = {kind: sets for kind, sets in SOUND.layers.items() if kind != ENDPOINT}
    with pytest.raises(ValueError, match="has no load assignment"):
        folded([Snapshot(layers)])


def test_snapshot_without_its_table_is_not_folded() -> None:
    layers = {kind: sets for kind, sets in SOUND.layers.items() if kind != ROUTE}
    with pytest.raises(ValueError, match="which does not exist"):
        folded([Snapshot(layers)])


def test_snapshot_with_a_table_that_nobody_asks_for_is_not_folded() -> None:
    layers = {kind: sets for kind, sets in SOUND.layers.items() if kind != LISTENER}
    with pytest.raises(ValueError, match="used by no listener"):
        folded([Snapshot(layers)])


def batches(snapshots: Sequence[Snapshot]) -> Iterator[Sequence[Snapshot]]:
    for start in range(0, len(snapshots), BATCH):
        yield snapshots[start : start + BATCH]


def refused_in(snapshots: Sequence[Snapshot], folder: Path) -> list[str]:
    """What Envoy says of each snapshot that it refuses, one by one, with what the snapshot holds."""
    found = []
    for snapshot in snapshots:
        reason = refusal(folded([snapshot]), folder)
        if reason:
            names = sorted(
                f"{kind.rpartition('.')[2]} {r.name}" for kind in snapshot.layers for r in snapshot.resources(kind)
            )
            found.append("\n".join((reason, *names)))
    return found


def test_every_snapshot_of_this_session_is_accepted(tmp_path: Path) -> None:
    """Envoy does not see a route to a cluster of another snapshot of its batch, so closure is looked at first."""
    snapshots = list(RECORDED.seen.values())
    dangling = [violation for snapshot in snapshots for violation in violations(snapshot)]
    assert not dangling, "\n".join(dangling)
    for batch in batches(snapshots):
        reason = refusal(folded(batch), tmp_path)
        assert not reason, "\n\n".join((reason, *refused_in(batch, tmp_path)))
    print(f"{len(snapshots)} distinct snapshots were accepted")

"""Whether a snapshot refers only to what it holds (DESIGN: reference closure is ours to keep).

Envoy accepts a route to an unknown cluster in silence and answers 503, so every snapshot of every test is looked at.
"""

from collections import Counter
from collections.abc import Iterator

from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.listener.v3 import listener_pb2
from envoy.config.route.v3 import route_components_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2

from pilothouse.xds.resource import CLUSTER, ENDPOINT, LISTENER, ROUTE, SHORT_NAMES, VIRTUAL_HOST, Snapshot


def violations(snapshot: Snapshot) -> list[str]:
    """What a snapshot refers to and does not hold, what it holds twice, and tables that would keep Envoy waiting."""
    return [
        *twice(snapshot),
        *unknown_clusters(snapshot),
        *clusters_without_assignment(snapshot),
        *assignments_without_cluster(snapshot),
        *unfollowed(snapshot),
        *tables(snapshot),
    ]


def twice(snapshot: Snapshot) -> Iterator[str]:
    for kind in snapshot.layers:
        counted = Counter(r.name for r in snapshot.resources(kind))
        yield from (f"{SHORT_NAMES[kind]} {name} is there {n} times" for name, n in counted.items() if n > 1)


def routes_of(snapshot: Snapshot) -> Iterator[tuple[str, route_components_pb2.Route]]:
    """Every route with the name of the resource that holds it."""
    for resource in snapshot.resources(VIRTUAL_HOST):
        host = route_components_pb2.VirtualHost.FromString(resource.body)
        yield from ((resource.name, route) for route in host.routes)
    for name, manager in managers(snapshot):
        yield from ((name, route) for host in manager.route_config.virtual_hosts for route in host.routes)


def managers(snapshot: Snapshot) -> Iterator[tuple[str, http_connection_manager_pb2.HttpConnectionManager]]:
    """Every connection manager with the name of its listener."""
    for resource in snapshot.resources(LISTENER):
        for chain in listener_pb2.Listener.FromString(resource.body).filter_chains:
            for one in chain.filters:
                manager = http_connection_manager_pb2.HttpConnectionManager()
                if one.typed_config.Unpack(manager):
                    yield resource.name, manager


def unknown_clusters(snapshot: Snapshot) -> Iterator[str]:
    for owner, route in routes_of(snapshot):
        named = [route.route.cluster] if route.route.cluster else []
        named += [share.name for share in route.route.weighted_clusters.clusters]
        yield from (f"{owner} names the unknown cluster {n}" for n in named if snapshot.find(CLUSTER, n) is None)


def clusters_without_assignment(snapshot: Snapshot) -> Iterator[str]:
    for resource in snapshot.resources(CLUSTER):
        cluster = cluster_pb2.Cluster.FromString(resource.body)
        if cluster.type != cluster_pb2.Cluster.EDS:
            continue
        if snapshot.find(ENDPOINT, cluster.eds_cluster_config.service_name) is None:
            yield f"the cluster {resource.name} has no load assignment"
        if (ENDPOINT, cluster.eds_cluster_config.service_name) not in resource.follows:
            yield f"the cluster {resource.name} is not followed by its load assignment"


def assignments_without_cluster(snapshot: Snapshot) -> Iterator[str]:
    for resource in snapshot.resources(ENDPOINT):
        if snapshot.find(CLUSTER, resource.name) is None:
            yield f"the load assignment {resource.name} belongs to no cluster"


def unfollowed(snapshot: Snapshot) -> Iterator[str]:
    for kind in snapshot.layers:
        for resource in snapshot.resources(kind):
            for other, name in resource.follows:
                below = name.endswith("/") and any(r.name.startswith(name) for r in snapshot.resources(other))
                if not below and snapshot.find(other, name) is None:
                    yield f"{SHORT_NAMES[kind]} {resource.name} is followed by {name}, which does not exist"


def tables(snapshot: Snapshot) -> Iterator[str]:
    """Each table is asked for and exists, has a virtual host, and no domain twice; each virtual host has a table."""
    asked = {m.rds.route_config_name for _, m in managers(snapshot) if m.HasField("rds")}
    known = {r.name for r in snapshot.resources(ROUTE)}
    yield from (f"the table {name} does not exist" for name in sorted(asked - known))
    yield from (f"nobody asks for the table {name}" for name in sorted(known - asked))
    for resource in snapshot.resources(ROUTE):
        if (VIRTUAL_HOST, f"{resource.name}/") not in resource.follows:
            yield f"the table {resource.name} is not followed by its virtual hosts"
    domains: dict[str, list[str]] = {name: [] for name in known}
    for resource in snapshot.resources(VIRTUAL_HOST):
        table = resource.name.partition("/")[0]
        host = route_components_pb2.VirtualHost.FromString(resource.body)
        if table not in known:
            yield f"the virtual host {resource.name} belongs to no table"
        domains.setdefault(table, []).extend(domain.lower() for domain in host.domains)
    for table, found in domains.items():
        if not found:
            yield f"the table {table} has no virtual host, so Envoy waits for its first"
        yield from (f"{table} has the domain {d} {n} times" for d, n in Counter(found).items() if n > 1)

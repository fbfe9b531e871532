"""Simulated Envoys for the properties of the stream machines: one per variant, with Envoy's habits.

They subscribe, warm clusters and withhold acknowledgements as ``reference`` Envoys do: an acknowledgement of clusters
comes when all of them have endpoints; a changed cluster does not ask for its endpoints again; listeners decide which
routes are subscribed; one request serves all virtual hosts.
"""

from collections import deque
from collections.abc import Iterable

from pilothouse.xds.delta import DeltaStream
from pilothouse.xds.protocol import DeltaRequest, DeltaResponse, SotwRequest, SotwResponse
from pilothouse.xds.resource import CLUSTER, ENDPOINT, LISTENER, ROUTE, VIRTUAL_HOST, Resource, Snapshot
from pilothouse.xds.settings import StreamSettings
from pilothouse.xds.sotw import SotwStream

TYPES = (CLUSTER, ENDPOINT, LISTENER, ROUTE, VIRTUAL_HOST)
BY_NAME = (ENDPOINT, ROUTE)


def is_bad(resource: Resource) -> bool:
    return resource.version.startswith("bad")


def words(resource: Resource) -> list[str]:
    """What a body refers to: a listener's routes, a route's or virtual host's clusters."""
    return resource.body.decode().split()


class Proxy:
    """What both variants of the simulated Envoy share: resources, warming, subscriptions by name."""

    def __init__(self) -> None:
        self.held: dict[str, dict[str, Resource]] = {t: {} for t in TYPES}
        self.serving: set[str] = set()
        self.warming: set[str] = set()
        self.ever_refused: set[str] = set()
        self.subscribed: dict[str, set[str]] = {t: set() for t in BY_NAME}
        self.withheld: deque[tuple[str, frozenset[str]]] = deque()

    def take_cluster(self, cluster: Resource) -> None:
        known = self.held[CLUSTER].get(cluster.name)
        if known is not None and known.version == cluster.version:
            return
        self.held[CLUSTER][cluster.name] = cluster
        if cluster.follows:
            self.warming.add(cluster.name)
        else:
            self.serving.add(cluster.name)

    def drop_cluster(self, name: str) -> None:
        self.held[CLUSTER].pop(name, None)
        self.serving.discard(name)
        self.warming.discard(name)

    def warm(self, names: Iterable[str]) -> None:
        ready = self.warming & set(names)
        self.warming -= ready
        self.serving |= ready

    def routes_wanted(self) -> set[str]:
        return {route for listener in self.held[LISTENER].values() for route in words(listener)}

    def endpoints_wanted(self) -> set[str]:
        return {name for name, cluster in self.held[CLUSTER].items() if cluster.follows}

    def dangling(self) -> set[tuple[str, str]]:
        """(route or virtual host, cluster) pairs where a request would find no serving cluster."""
        return {
            (holder.name, cluster)
            for type_url in (ROUTE, VIRTUAL_HOST)
            for holder in self.held[type_url].values()
            for cluster in words(holder)
            if cluster not in self.serving and cluster not in self.ever_refused
        }


class DeltaProxy(Proxy):
    """An Envoy on a delta stream. ``applies_good`` is how it refuses clusters and listeners: the good ones get in."""

    def __init__(self, settings: StreamSettings, *, applies_good: bool = True) -> None:
        super().__init__()
        self.settings = settings
        self.applies_good = applies_good
        self.now = 0.0
        self.opened: list[str] = []
        self.refused = 0
        self.stream = DeltaStream(settings=settings)
        self.inbox: deque[DeltaResponse] = deque()
        self.outbox: deque[DeltaRequest] = deque()
        self.open(CLUSTER)

    def offer(self, snapshot: Snapshot) -> None:
        self.inbox.extend(self.stream.offer(snapshot, self.now))

    def deliver_request(self) -> None:
        self.inbox.extend(self.stream.receive(self.outbox.popleft(), self.now))

    def deliver_response(self) -> None:
        response = self.inbox.popleft()
        blamed = [f"{resource.name}: bad" for resource in response.resources if is_bad(resource)]
        bad = bool(blamed) or self._duplicates_domain(response)
        partly = bad and self.applies_good and response.type_url in (CLUSTER, LISTENER)
        if partly or not bad:
            self._apply(response)
        if bad:
            self.refused += 1
            error = f"Error adding/updating cluster(s) {', '.join(blamed)}" if partly else "refused"
            self.ever_refused |= {r.name for r in response.resources if response.type_url == CLUSTER and is_bad(r)}
            self.outbox.append(DeltaRequest(response.type_url, nonce=response.nonce, error=error))
            if response.type_url == CLUSTER:
                self.open(LISTENER)
        elif response.type_url == CLUSTER:
            self.withheld.append((response.nonce, frozenset(r.name for r in response.resources)))
        else:
            self.outbox.append(DeltaRequest(response.type_url, nonce=response.nonce))
        self._acknowledge_clusters()

    def expire(self) -> None:
        self.now += 10
        self.inbox.extend(self.stream.expire(self.now))

    def reconnect(self, snapshot: Snapshot | None) -> None:
        """The stream breaks; what was on its way is lost. All subscriptions come at once, with what is held."""
        self.stream = DeltaStream(settings=self.settings)
        self.inbox.clear()
        self.outbox.clear()
        self.withheld.clear()
        for type_url in self.opened:
            names = tuple(sorted(self.subscribed.get(type_url, ())))
            if type_url in BY_NAME and not names:
                continue
            versions = {name: r.version for name, r in self.held[type_url].items()}
            self.outbox.append(DeltaRequest(type_url, names, initial_versions=versions))
        if snapshot is not None:
            self.offer(snapshot)

    def settle(self) -> None:
        """Deliver until nothing moves."""
        while self.outbox or self.inbox:
            if self.outbox:
                self.deliver_request()
            else:
                self.deliver_response()

    def open(self, type_url: str) -> None:
        if type_url not in self.opened:
            self.opened.append(type_url)
            if type_url not in BY_NAME:
                self.outbox.append(DeltaRequest(type_url))

    def _duplicates_domain(self, response: DeltaResponse) -> bool:
        if response.type_url != VIRTUAL_HOST:
            return False
        after = {n: r for n, r in self.held[VIRTUAL_HOST].items() if n not in response.removed}
        after.update({r.name: r for r in response.resources})
        domains = [(n.split("/")[0], r.version.rpartition("@")[2]) for n, r in after.items()]
        return len(domains) != len(set(domains))

    def _apply(self, response: DeltaResponse) -> None:
        good = [resource for resource in response.resources if not is_bad(resource)]
        if response.type_url == CLUSTER:
            self._apply_clusters(good, response.removed)
        else:
            self._apply_others(response, good)

    def _apply_clusters(self, good: list[Resource], removed: Iterable[str]) -> None:
        for name in removed:
            self.drop_cluster(name)
        self._subscribe(ENDPOINT, self.endpoints_wanted())
        for cluster in good:
            self.take_cluster(cluster)
        self._subscribe(ENDPOINT, self.endpoints_wanted())

    def _apply_others(self, response: DeltaResponse, good: list[Resource]) -> None:
        held = self.held[response.type_url]
        for name in response.removed:
            held.pop(name, None)
            if response.type_url == ROUTE:
                self._drop_hosts(name)
        for resource in good:
            if self._listens_to(response.type_url, resource.name):
                held[resource.name] = resource
        if response.type_url == ENDPOINT:
            self.warm((*(r.name for r in good), *response.removed))
        if response.type_url == LISTENER:
            self._subscribe(ROUTE, self.routes_wanted())
            if self.subscribed[ROUTE]:
                self.open(VIRTUAL_HOST)

    def _listens_to(self, type_url: str, name: str) -> bool:
        if type_url == VIRTUAL_HOST:
            return name.split("/")[0] in self.held[ROUTE]
        return type_url not in BY_NAME or name in self.subscribed[type_url]

    def _subscribe(self, type_url: str, wanted: set[str]) -> None:
        added, dropped = wanted - self.subscribed[type_url], self.subscribed[type_url] - wanted
        if not added and not dropped:
            return
        self.open(type_url)
        self.subscribed[type_url] = wanted
        for name in dropped:
            self.held[type_url].pop(name, None)
            if type_url == ROUTE:
                self._drop_hosts(name)
        self.outbox.append(DeltaRequest(type_url, tuple(sorted(added)), tuple(sorted(dropped))))

    def _drop_hosts(self, route: str) -> None:
        for name in [name for name in self.held[VIRTUAL_HOST] if name.startswith(f"{route}/")]:
            del self.held[VIRTUAL_HOST][name]

    def _acknowledge_clusters(self) -> None:
        while self.withheld and not self.withheld[0][1] & self.warming:
            nonce, _ = self.withheld.popleft()
            self.outbox.append(DeltaRequest(CLUSTER, nonce=nonce))
            self.open(LISTENER)


class SotwProxy(Proxy):
    """An Envoy on a state-of-the-world stream. Routes name their clusters; there are no virtual hosts."""

    def __init__(self, settings: StreamSettings) -> None:
        super().__init__()
        self.stream = SotwStream(settings=settings)
        self.inbox: deque[SotwResponse] = deque()
        self.outbox: deque[SotwRequest] = deque()
        self.nonces: dict[str, str] = {}
        self.opened: set[str] = set()
        self._request(CLUSTER)

    def offer(self, snapshot: Snapshot) -> None:
        self.inbox.extend(self.stream.offer(snapshot, 0.0))

    def deliver_request(self) -> None:
        self.inbox.extend(self.stream.receive(self.outbox.popleft(), 0.0))

    def deliver_response(self) -> None:
        response = self.inbox.popleft()
        self.nonces[response.type_url] = response.nonce
        if response.type_url == CLUSTER:
            names = {resource.name for resource in response.resources}
            for gone in self.held[CLUSTER].keys() - names:
                self.drop_cluster(gone)
            for cluster in response.resources:
                self.take_cluster(cluster)
            self._subscribe(ENDPOINT, self.endpoints_wanted())
            self.withheld.append((response.nonce, frozenset(names)))
        else:
            self._apply(response)
            self._request(response.type_url)
        while self.withheld and not self.withheld[0][1] & self.warming:
            nonce, _ = self.withheld.popleft()
            self.outbox.append(SotwRequest(CLUSTER, (), "", nonce))
            if LISTENER not in self.opened:
                self._request(LISTENER)

    def settle(self) -> None:
        while self.outbox or self.inbox:
            if self.outbox:
                self.deliver_request()
            else:
                self.deliver_response()

    def _apply(self, response: SotwResponse) -> None:
        if response.type_url == LISTENER:
            self.held[LISTENER] = {resource.name: resource for resource in response.resources}
            self._subscribe(ROUTE, self.routes_wanted())
            return
        wanted = self.subscribed[response.type_url]
        self.held[response.type_url].update({r.name: r for r in response.resources if r.name in wanted})
        if response.type_url == ENDPOINT:
            self.warm(resource.name for resource in response.resources)

    def _subscribe(self, type_url: str, wanted: set[str]) -> None:
        if wanted != self.subscribed[type_url]:
            self.subscribed[type_url] = wanted
            self.held[type_url] = {n: r for n, r in self.held[type_url].items() if n in wanted}
            self._request(type_url)

    def _request(self, type_url: str) -> None:
        self.opened.add(type_url)
        names = tuple(sorted(self.subscribed.get(type_url, ())))
        self.outbox.append(SotwRequest(type_url, names, "", self.nonces.get(type_url, "")))

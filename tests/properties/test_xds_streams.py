"""Whatever is published and in whatever order messages arrive: the proxies converge, and nothing ever dangles."""

from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from pilothouse.xds.resource import (
    CLUSTER,
    ENDPOINT,
    LISTENER,
    ROUTE,
    SHORT_NAMES,
    VIRTUAL_HOST,
    Resource,
    Snapshot,
    resource_set,
)
from pilothouse.xds.settings import StreamSettings
from tests.properties.xds_proxies import BY_NAME, TYPES, DeltaProxy, SotwProxy, is_bad

CLUSTERS, ROUTES, LISTENERS, HOSTS = "abcd", "rs", "lm", "xyz"
STABLE = settings(
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=60,
    stateful_step_count=60,
    suppress_health_check=list(HealthCheck),
)


def made(name: str, version: str, body: str = "", follows: tuple[tuple[str, str], ...] = ()) -> Resource:
    return Resource(name, version, body.encode(), (), follows)


def some_of(names: str) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(names), unique=True, max_size=len(names)).map(sorted)


class World:
    """A snapshot that a failing example prints on a few lines."""

    def __init__(self, layers: dict[str, list[Resource]]) -> None:
        self.snapshot = Snapshot({t: (resource_set(*resources),) for t, resources in layers.items()})

    def __repr__(self) -> str:
        listed = ((t, self.snapshot.resources(t)) for t in self.snapshot.layers)
        return " ".join(f"{SHORT_NAMES[t]}=[{' '.join(f'{r.name}:{r.version}' for r in found)}]" for t, found in listed)


@st.composite
def worlds(draw: Any, *, bad: bool, hosts: bool) -> World:
    """A closed snapshot: whatever a route or virtual host names is there. ``bad`` mixes in what Envoy refuses."""
    revision = st.sampled_from(["1", "2", "bad"] if bad else ["1", "2"])
    clusters = draw(some_of(CLUSTERS))
    listeners = {name: " ".join(draw(some_of(ROUTES))) for name in draw(some_of(LISTENERS))}
    routes = sorted({route for body in listeners.values() for route in body.split()})

    def references() -> str:
        return " ".join(draw(some_of("".join(clusters)))) if clusters else ""

    def versioned(body: str) -> str:
        return f"{draw(revision)}[{body}]"

    layers: dict[str, list[Resource]] = {t: [] for t in TYPES}
    layers[CLUSTER] = [made(n, draw(revision), "cluster", follows=((ENDPOINT, n),)) for n in clusters]
    layers[ENDPOINT] = [made(n, draw(st.sampled_from("12"))) for n in clusters]
    layers[LISTENER] = [made(n, versioned(body), body) for n, body in listeners.items()]
    for route in routes:
        body = "" if hosts else references()
        follows = ((VIRTUAL_HOST, f"{route}/"),) if hosts else ()
        layers[ROUTE].append(made(route, versioned(body), body, follows))
        # Domains change owners when nothing is bad; a swap beside a bad neighbour cannot be split.
        owners = draw(some_of(HOSTS)) if hosts else []
        domains = draw(st.permutations(HOSTS)) if not bad else HOSTS
        for owner, domain in zip(owners, domains if not bad else owners, strict=False):
            body = references()
            layers[VIRTUAL_HOST].append(made(f"{route}/{owner}", f"{versioned(body)}@{domain}", body))
    return World(layers)


def wanted_by(proxy: DeltaProxy | SotwProxy, type_url: str, snapshot: Snapshot) -> dict[str, str]:
    found = {resource.name: resource.version for resource in snapshot.resources(type_url)}
    if type_url in BY_NAME:
        return {name: version for name, version in found.items() if name in proxy.subscribed[type_url]}
    if type_url == VIRTUAL_HOST:
        return {n: v for n, v in found.items() if n.split("/")[0] in proxy.held[ROUTE]}
    return found


def versions(proxy: DeltaProxy | SotwProxy, type_url: str) -> dict[str, str]:
    return {name: resource.version for name, resource in proxy.held[type_url].items()}


class DeltaMachine(RuleBasedStateMachine):
    """A good world: everything is accepted, domains move, streams break."""

    bad = False

    def __init__(self) -> None:
        super().__init__()
        self.proxy = DeltaProxy(StreamSettings())
        self.newest: Snapshot | None = None
        self.expired = False

    @initialize(applies_good=st.booleans())
    def choose(self, applies_good: bool) -> None:
        self.proxy.applies_good = applies_good

    @rule(data=st.data())
    def publish(self, data: st.DataObject) -> None:
        self.newest = data.draw(worlds(bad=self.bad, hosts=True)).snapshot
        self.proxy.offer(self.newest)
        assert self.proxy.stream.offered is self.newest

    @precondition(lambda self: self.proxy.outbox)
    @rule(count=st.integers(1, 4))
    def requests_arrive(self, count: int) -> None:
        for _ in range(min(count, len(self.proxy.outbox))):
            self.proxy.deliver_request()

    @precondition(lambda self: self.proxy.inbox)
    @rule(count=st.integers(1, 4))
    def responses_arrive(self, count: int) -> None:
        for _ in range(min(count, len(self.proxy.inbox))):
            self.proxy.deliver_response()
            self.nothing_dangles()

    @rule()
    def reconnect(self) -> None:
        self.proxy.reconnect(self.newest)

    @precondition(lambda self: self.newest is not None)
    @rule()
    def converge(self) -> None:
        self.proxy.settle()
        assert self.newest is not None
        self.holds_what_was_offered(self.newest)
        self.the_books_are_right()

    def holds_what_was_offered(self, newest: Snapshot) -> None:
        for type_url in TYPES:
            assert versions(self.proxy, type_url) == wanted_by(self.proxy, type_url, newest), type_url
        assert self.proxy.refused == 0
        assert self.proxy.stream.deadline is None
        assert self.proxy.stream.acknowledged(newest)

    def the_books_are_right(self) -> None:
        """The machine counts exactly what the client holds (hosts apart while a route of theirs is refused)."""
        counted = {status.type_url: status.resources for status in self.proxy.stream.status()}
        if self.proxy.subscribed[ROUTE] - self.proxy.held[ROUTE].keys():
            del counted[VIRTUAL_HOST]
        assert counted == {t: len(self.proxy.held[t]) for t in counted}

    @invariant()
    def nothing_dangles(self) -> None:
        if not self.expired:
            assert not self.proxy.dangling()


class RefusingMachine(DeltaMachine):
    """A world with bad resources of every type, and deadlines that pass."""

    bad = True

    @rule()
    def expire(self) -> None:
        self.expired = True
        self.proxy.expire()

    def holds_what_was_offered(self, newest: Snapshot) -> None:
        for type_url in TYPES:
            held, wanted = versions(self.proxy, type_url), wanted_by(self.proxy, type_url, newest)
            refused = {r.name for r in newest.resources(type_url) if is_bad(r)}
            assert {n: v for n, v in held.items() if n in wanted and n not in refused} == {
                n: v for n, v in wanted.items() if n not in refused
            }
            extra = held.keys() - wanted.keys()
            assert not extra or (type_url in (CLUSTER, ENDPOINT) and self.proxy.refused)
            assert not any(is_bad(resource) for resource in self.proxy.held[type_url].values())
        assert self.proxy.stream.deadline is None


class BothVariants(RuleBasedStateMachine):
    """The same snapshots for a proxy of each variant."""

    def __init__(self) -> None:
        super().__init__()
        self.delta, self.sotw = DeltaProxy(StreamSettings()), SotwProxy(StreamSettings())
        self.newest: Snapshot | None = None

    @rule(data=st.data())
    def publish(self, data: st.DataObject) -> None:
        self.newest = data.draw(worlds(bad=False, hosts=False)).snapshot
        self.delta.offer(self.newest)
        self.sotw.offer(self.newest)

    @rule(steps=st.lists(st.sampled_from(["request", "response"]), min_size=1, max_size=6), delta=st.booleans())
    def messages_arrive(self, steps: list[str], delta: bool) -> None:
        proxy = self.delta if delta else self.sotw
        for step in steps:
            if step == "request" and proxy.outbox:
                proxy.deliver_request()
            elif step == "response" and proxy.inbox:
                proxy.deliver_response()
                self.nothing_dangles()

    @precondition(lambda self: self.newest is not None)
    @rule()
    def converge(self) -> None:
        self.delta.settle()
        self.sotw.settle()
        assert self.newest is not None
        for type_url in (CLUSTER, ENDPOINT, LISTENER, ROUTE):
            assert versions(self.sotw, type_url) == wanted_by(self.sotw, type_url, self.newest), type_url
            assert versions(self.sotw, type_url) == versions(self.delta, type_url), type_url
        assert self.sotw.stream.acknowledged(self.newest)

    @invariant()
    def nothing_dangles(self) -> None:
        assert not self.sotw.dangling()
        assert not self.delta.dangling()


TestDelta = DeltaMachine.TestCase
TestDelta.settings = STABLE
TestRefusals = RefusingMachine.TestCase
TestRefusals.settings = STABLE
TestBothVariants = BothVariants.TestCase
TestBothVariants.settings = STABLE

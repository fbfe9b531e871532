"""The book: what it tells the store is what Envoy acknowledged, in any dialogue, over any number of streams."""

from collections.abc import Mapping

import pytest
from envoy.service.discovery.v3 import discovery_pb2
from hypothesis import given
from hypothesis import strategies as st

from pilothouse.agent import book as book_module
from pilothouse.agent.book import StreamBook
from pilothouse.agent.frames import DOUBTED, decode_request, encode_response
from pilothouse.agent.tally import RelayTally
from pilothouse.xds.delta import DeltaStream
from pilothouse.xds.protocol import DeltaResponse
from pilothouse.xds.resource import CLUSTER, ENDPOINT, LISTENER, ROUTE, VIRTUAL_HOST, Resource, Snapshot, resource_set


class Store:
    """A store in memory."""

    def __init__(self) -> None:
        self.types: dict[str, dict[str, Resource]] = {}
        self.told = 0

    def of(self, type_url: str) -> Mapping[str, Resource]:
        return self.types.get(type_url, {})

    def keep(self, type_url: str, held: Mapping[str, Resource]) -> None:
        self.types[type_url] = dict(held)
        self.told += 1

    def versions(self, type_url: str) -> dict[str, str]:
        return {name: one.version for name, one in self.of(type_url).items()}


def request(type_url: str, nonce: str = "", error: str | None = None, **fields: object) -> bytes:
    message = discovery_pb2.DeltaDiscoveryRequest(type_url=type_url, response_nonce=nonce, **fields)
    if error is not None:
        message.error_detail.message = error
    return message.SerializeToString()


def response(type_url: str, nonce: str, *names: str, removed: tuple[str, ...] = (), version: str = "1") -> bytes:
    resources = tuple(Resource(name, version, name.encode()) for name in names)
    return encode_response(DeltaResponse(type_url, nonce, resources, removed))


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def book(store: Store) -> StreamBook:
    return StreamBook(store, RelayTally())


def test_nothing_is_kept_before_its_acknowledgement(store: Store, book: StreamBook) -> None:
    book.request(request(CLUSTER))
    book.respond(response(CLUSTER, "n1", "a"))
    assert store.told == 0
    book.request(request(CLUSTER, "n1"))
    assert store.of(CLUSTER) == {"a": Resource("a", "1", b"a")}


def test_a_refused_response_is_not_kept(store: Store, book: StreamBook) -> None:
    book.request(request(VIRTUAL_HOST))
    book.respond(response(VIRTUAL_HOST, "n1", "web/a"))
    book.request(request(VIRTUAL_HOST, "n1", error="missing ): (a"))
    assert store.told == 0


def test_neighbours_of_a_cluster_that_is_refused_by_name_are_kept_because_envoy_applied_them(
    store: Store, book: StreamBook
) -> None:
    book.request(request(CLUSTER))
    book.respond(response(CLUSTER, "n1", "a", "b"))
    book.request(request(CLUSTER, "n1", error="Error adding/updating cluster(s) b: no such thing"))
    assert store.versions(CLUSTER) == {"a": "1"}


def test_removals_and_unsubscriptions_are_honoured_also_below_a_route(store: Store, book: StreamBook) -> None:
    for type_url, names in ((ROUTE, ("web",)), (VIRTUAL_HOST, ("web/a", "other/a")), (ENDPOINT, ("x", "y"))):
        book.request(request(type_url))
        book.respond(response(type_url, "n1", *names))
        book.request(request(type_url, "n1"))
    book.request(request(ROUTE, resource_names_unsubscribe=["web"]))
    assert store.versions(ROUTE) == {}
    assert store.versions(VIRTUAL_HOST) == {"other/a": "1"}
    book.respond(response(ENDPOINT, "n2", removed=("y",)))
    book.request(request(ENDPOINT, "n2"))
    assert store.versions(ENDPOINT) == {"x": "1"}


def test_a_new_envoy_brings_out_of_the_store_what_is_gone_from_the_mesh(store: Store, book: StreamBook) -> None:
    store.types[CLUSTER] = {"old": Resource("old", "1", b"")}
    book.request(request(CLUSTER))
    assert store.versions(CLUSTER) == {"old": "1"}, "until the control plane has said what there is"
    book.respond(response(CLUSTER, "n1", "a"))
    book.request(request(CLUSTER, "n1"))
    assert store.versions(CLUSTER) == {"a": "1"}


def test_what_envoy_holds_and_the_store_does_not_is_asked_for_again(store: Store, book: StreamBook) -> None:
    store.types[CLUSTER] = {"same": Resource("same", "1", b""), "other": Resource("other", "1", b"")}
    versions = {"same": "1", "other": "2", "unknown": "1"}
    sent = decode_request(book.request(request(CLUSTER, initial_resource_versions=versions)))
    assert sent.initial_versions == {"same": "1", "other": DOUBTED, "unknown": DOUBTED}


def test_an_unchanged_world_tells_the_store_nothing(store: Store, book: StreamBook) -> None:
    store.types[CLUSTER] = {"a": Resource("a", "1", b"")}
    frame = request(CLUSTER, initial_resource_versions={"a": "1"})
    assert book.request(frame) == frame
    book.respond(response(CLUSTER, "n1"))
    book.request(request(CLUSTER, "n1"))
    assert store.told == 0


def test_frames_that_cannot_be_read_pass_and_are_counted(store: Store) -> None:
    tally = RelayTally()
    book = StreamBook(store, tally)
    assert book.request(b"\xff") == b"\xff"
    book.respond(b"\xff")
    assert tally.unreadable == 2


def test_too_many_unanswered_responses_are_noticed(book: StreamBook) -> None:
    for number in range(book_module.MOST_UNANSWERED + 1):
        assert not book.overfull
        book.respond(response(CLUSTER, f"n{number}", "a"))
    assert book.overfull


NAMES = st.sampled_from("abcd")
WORLDS = st.lists(st.dictionaries(NAMES, st.sampled_from("12"), max_size=4), min_size=1, max_size=6)


@given(st.sampled_from([CLUSTER, LISTENER]), WORLDS, st.data())
def test_the_store_replays_to_what_envoy_acknowledged(
    type_url: str, worlds: list[dict[str, str]], data: st.DataObject
) -> None:
    """A proxy that takes, refuses by name, refuses whole or reconnects, against the control plane's own machine."""
    store, held = Store(), dict[str, Resource]()
    machine, book = DeltaStream(), StreamBook(store, RelayTally())
    pending = list(machine.receive(decode_request(book.request(request(type_url))), 0.0))
    for number, world in enumerate(worlds):
        layer = resource_set(*(Resource(name, version, name.encode()) for name, version in world.items()))
        if data.draw(st.booleans(), label="reconnect"):
            machine, book, pending = DeltaStream(), StreamBook(store, RelayTally()), []
            versions = {name: one.version for name, one in held.items()}
            first = book.request(request(type_url, initial_resource_versions=versions))
            pending += machine.receive(decode_request(first), float(number))
        pending += machine.offer(Snapshot({type_url: (layer,)}), float(number))
        while pending:
            offered = pending.pop(0)
            book.respond(encode_response(offered))
            error = answer(offered, held, data)
            reply = decode_request(book.request(request(type_url, offered.nonce, error)))
            pending += machine.receive(reply, float(number))
        if held or store.told:
            assert store.of(type_url) == held


def answer(offered: DeltaResponse, held: dict[str, Resource], data: st.DataObject) -> str | None:
    """What a proxy does with a response: its new state, and its error."""
    names = [one.name for one in offered.resources]
    verdict = data.draw(st.sampled_from(["taken", "taken", "named", "whole"]), label="verdict")
    if verdict == "whole" and names:
        return "missing ): (a"
    blamed = data.draw(st.sampled_from(names), label="blamed") if verdict == "named" and names else None
    for name in offered.removed:
        held.pop(name, None)
    held.update({one.name: one for one in offered.resources if one.name != blamed})
    return None if blamed is None else f"Error adding/updating cluster(s) {blamed}: why"

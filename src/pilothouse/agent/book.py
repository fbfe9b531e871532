"""What does Envoy hold by this stream? Follows the frames of one live stream and tells the store what to keep.

Pure but for the store that it is given. Between the relay's two pumps: every request and every response passes here.
A response counts when Envoy answers its nonce without an error; of a refused response of clusters or listeners, what
the refusal does not name counts too, because Envoy applied it and the control plane does not send it again.
"""

from collections.abc import Callable, Mapping
from typing import Final, Protocol

from pilothouse.agent.frames import decode_request, decode_response, doubt_versions, response_key
from pilothouse.agent.tally import RelayTally
from pilothouse.xds.framing import MalformedFrame
from pilothouse.xds.protocol import DeltaRequest, DeltaResponse
from pilothouse.xds.reasons import names_in
from pilothouse.xds.resource import CLUSTER, LISTENER, ROUTE, VIRTUAL_HOST, Resource

MOST_UNANSWERED: Final = 1024
MOST_UNANSWERED_BYTES: Final = 64 * 1024 * 1024
_APPLIES_THE_REST: Final = frozenset({CLUSTER, LISTENER})


class Kept(Protocol):
    """The store, as a book sees it."""

    def of(self, type_url: str) -> Mapping[str, Resource]:
        """What is kept of a type, by name."""

    def keep(self, type_url: str, held: Mapping[str, Resource]) -> None:
        """From now on, this is what Envoy acknowledged of the type."""


class StreamBook:
    """One live stream. ``overfull``: too much is unanswered to go on."""

    def __init__(self, kept: Kept, tally: RelayTally) -> None:
        self._kept = kept
        self._tally = tally
        self._held: dict[str, dict[str, Resource]] = {}
        self._told: set[str] = set()
        self._unanswered: dict[tuple[str, str], bytes] = {}
        self._unanswered_bytes = 0

    @property
    def overfull(self) -> bool:
        """Whether Envoy owes so many answers that keeping them would fill the memory. A new stream starts anew."""
        return len(self._unanswered) > MOST_UNANSWERED or self._unanswered_bytes > MOST_UNANSWERED_BYTES

    def respond(self, frame: bytes) -> None:
        """A response passes to Envoy. What is in it is read when Envoy has answered: until then it must not wait."""
        try:
            key = response_key(frame)
        except MalformedFrame:
            self._tally.unreadable += 1
            return
        self._unanswered[key] = frame
        self._unanswered_bytes += len(frame)

    def request(self, frame: bytes) -> bytes:
        """A request passes to the control plane; returns what to send.

        It is the same frame, except when a stream begins with resources that the store does not have in the version
        that Envoy has: the control plane is asked for those again, so that the store becomes whole.
        """
        try:
            request = decode_request(frame)
        except MalformedFrame:
            self._tally.unreadable += 1
            return frame
        if request.nonce:
            try:
                self._answered(request)
            except MalformedFrame:
                self._tally.unreadable += 1
        if request.type_url not in self._held:
            doubted = self._begin(request)
            if doubted:
                frame = doubt_versions(frame, doubted)
        if request.unsubscribe:
            self._unsubscribed(request)
        return frame

    def _begin(self, request: DeltaRequest) -> frozenset[str]:
        """The first request of a type. Returns the names whose bytes are not known."""
        kept = self._kept.of(request.type_url)
        held = {n: kept[n] for n, v in request.initial_versions.items() if n in kept and kept[n].version == v}
        self._held[request.type_url] = held
        return frozenset(name for name in request.initial_versions if name not in held)

    def _answered(self, request: DeltaRequest) -> None:
        passed = self._unanswered.pop((request.type_url, request.nonce), None)
        if passed is None:
            return
        self._unanswered_bytes -= len(passed)
        response = decode_response(passed)
        blamed: frozenset[str] = frozenset()
        if request.error is not None:
            self._tally.refused += 1
            names = [*(one.name for one in response.resources), *response.removed]
            blamed = frozenset(names_in(request.error, names) if request.type_url in _APPLIES_THE_REST else ())
            if not blamed:
                return
        self._apply(response, blamed)

    def _apply(self, response: DeltaResponse, without: frozenset[str]) -> None:
        held = self._held.setdefault(response.type_url, {})
        for name in response.removed:
            if name not in without:
                held.pop(name, None)
        for resource in response.resources:
            if resource.name not in without:
                held[resource.name] = resource
        self._tell(response.type_url, changed=bool(response.resources or response.removed))

    def _unsubscribed(self, request: DeltaRequest) -> None:
        """Envoy dropped these names by itself; with a route, the virtual hosts below it."""
        self._drop(request.type_url, lambda name: name in request.unsubscribe)
        if request.type_url == ROUTE:
            below = tuple(f"{name}/" for name in request.unsubscribe)
            self._drop(VIRTUAL_HOST, lambda name: name.startswith(below))

    def _drop(self, type_url: str, dropped: Callable[[str], bool]) -> None:
        held = self._held.get(type_url, {})
        gone = [name for name in held if dropped(name)]
        for name in gone:
            del held[name]
        if gone:
            self._tell(type_url, changed=True)

    def _tell(self, type_url: str, *, changed: bool) -> None:
        """Let the store know, if anything changed; the first time also what it holds beyond what Envoy has."""
        held = self._held[type_url]
        if type_url not in self._told:
            self._told.add(type_url)
            changed = changed or self._kept.of(type_url).keys() != held.keys()
        if changed:
            self._kept.keep(type_url, held)

"""One connected xDS stream: a machine, a reader, a writer, and at most one snapshot that waits.

Between gRPC and the stream machines of ``xds``, the same for both variants. The pipeline offers synchronously; the
writer takes its time; while it writes, the newest offer waits in one place, so a slow proxy costs nothing and a proxy
that does not read at all is dropped at a deadline. It decides nothing about order: that is the machine's.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Generic, Protocol, TypeVar

import grpc
import grpc.aio
import structlog

from pilothouse.aio.cell import Cell
from pilothouse.aio.clock import Clock
from pilothouse.aio.tasks import Tasks
from pilothouse.model.proxy import Proxy
from pilothouse.server.calls import CLIENT_LEFT, Context, End
from pilothouse.server.counters import Counters
from pilothouse.server.pipeline import Subscriber, Variant
from pilothouse.server.wire import decode_proxy
from pilothouse.xds.protocol import SyncState, TypeStatus
from pilothouse.xds.resource import ENDPOINT, SHORT_NAMES, Resource, Snapshot
from pilothouse.xds.settings import StreamSettings

log = structlog.get_logger(__name__)

MOST_WAITING: Final = 64
"""Responses that may wait for the writer before the reader pauses: requests must not fill our memory."""
MOST_UNSETTLED: Final = 10_000
"""Proxies whose broken streams are remembered."""
FIRST_MESSAGE_SECONDS: Final = 15.0
"""A client that opens a stream and says nothing is not a proxy."""


class Request(Protocol):
    """What the stream itself reads of a request."""

    @property
    def type_url(self) -> str:
        """The type that is asked for or answered."""

    @property
    def error(self) -> str | None:
        """Why a response was refused, or None."""


class Response(Protocol):
    """What the stream itself reads of a response."""

    @property
    def type_url(self) -> str:
        """The type that it carries."""

    @property
    def resources(self) -> tuple[Resource, ...]:
        """What it carries."""


Q = TypeVar("Q", bound=Request)
R = TypeVar("R", bound=Response)
Asked = TypeVar("Asked", contravariant=True)
Answer = TypeVar("Answer", covariant=True)


class Machine(Protocol[Asked, Answer]):
    """``xds.delta.DeltaStream`` and ``xds.sotw.SotwStream`` alike. ``now`` is monotonic seconds."""

    @property
    def deadline(self) -> float | None:
        """When ``expire`` must be called."""

    @property
    def offered(self) -> Snapshot | None:
        """The newest snapshot that was offered."""

    def receive(self, request: Asked, now: float) -> Sequence[Answer]:
        """Take a request."""

    def offer(self, snapshot: Snapshot, now: float) -> Sequence[Answer]:
        """Serve this snapshot from now on."""

    def expire(self, now: float) -> Sequence[Answer]:
        """Stop waiting for late answers."""

    def status(self) -> tuple[TypeStatus, ...]:
        """Where each type stands."""

    @property
    def unsettled(self) -> frozenset[str]:
        """Load assignments that the client may still wait for."""

    def distrust(self, names: Iterable[str]) -> None:
        """Send these even if the client says that it holds them."""


@dataclass(frozen=True, slots=True)
class Dialect(Generic[Q, R]):
    """One variant of the protocol: its machine, and the way from and to bytes."""

    variant: Variant
    machine: Callable[[StreamSettings], Machine[Q, R]]
    decode: Callable[[Any], Q]
    encode: Callable[[R], bytes]


class Audience(Protocol):
    """Whom a stream tells that its proxy is there: the pipeline."""

    def join(self, subscriber: Subscriber) -> None:
        """The proxy is known."""

    def leave(self, subscriber: Subscriber) -> None:
        """The stream has ended."""


@dataclass(frozen=True, slots=True)
class StreamParts:
    """What all streams of a server share. ``unsettled`` is what broken streams left, by proxy: see ``distrust``.
    ``answers`` changes with every request that a proxy sends."""

    audience: Audience
    clock: Clock
    counters: Counters
    settings: StreamSettings
    write_timeout: float = 20.0
    unsettled: dict[str, frozenset[str]] = field(default_factory=dict)
    answers: Cell[None] = field(default_factory=lambda: Cell(None))


class XdsStream(Generic[Q, R]):
    """A stream from its first message to its end. ``serve`` is its life; all else is called by others meanwhile."""

    def __init__(self, dialect: Dialect[Q, R], context: Context, parts: StreamParts) -> None:
        self._dialect = dialect
        self._context = context
        self._parts = parts
        self._machine = dialect.machine(parts.settings)
        self._outbox: deque[R] = deque()
        self._pending: tuple[Snapshot, float] | None = None
        self._changed_at: float | None = None
        self._wake = asyncio.Event()
        self._room = asyncio.Event()
        self._proxy: Proxy | None = None
        self.connected_at = parts.clock.wall()
        """Wall-clock seconds since when the stream is open."""
        self.introduced_at = 0.0
        """Monotonic seconds since when its proxy is known: of two streams of a node the later one is the newer."""

    @property
    def introduced(self) -> bool:
        """Whether the stream has said whose it is."""
        return self._proxy is not None

    @property
    def proxy(self) -> Proxy:
        """Who is connected. Only a stream that was introduced has one."""
        if self._proxy is None:
            raise LookupError("the stream has not said whose it is")
        return self._proxy

    @property
    def variant(self) -> Variant:
        """Which kind of stream it is."""
        return self._dialect.variant

    @property
    def offered(self) -> Snapshot | None:
        """The newest snapshot that was offered, written or not."""
        return self._pending[0] if self._pending is not None else self._machine.offered

    def status(self) -> tuple[TypeStatus, ...]:
        """Where each type stands."""
        return self._machine.status()

    @property
    def knows_endpoints(self) -> bool:
        """Whether the proxy has acknowledged the newest endpoints of all that it subscribes to."""
        if self._pending is not None or self._outbox:
            return False
        states = [status.state for status in self.status() if status.type_url == ENDPOINT]
        return all(state in (SyncState.SYNCED, SyncState.NOT_SENT) for state in states)

    def offer(self, snapshot: Snapshot, since: float) -> None:
        """Serve this from now on: at once, or when the writer has written what it has."""
        if self._outbox:
            self._pending = (snapshot, since)
        else:
            self._send(self._machine.offer(snapshot, self._now()), since)

    async def serve(self) -> End:
        """Read and write until the client leaves, or has to."""
        async with Tasks() as tasks:
            reader = tasks.start("xds reader", self._read())
            writer = tasks.start("xds writer", self._write())
            try:
                done, _ = await asyncio.wait((reader, writer), return_when=asyncio.FIRST_COMPLETED)
            finally:
                if self._proxy is not None:
                    self._parts.audience.leave(self)
                    self._note_unsettled(self._proxy)
            first = done.pop()
            if first.cancelled() or first.exception() is not None:
                return End(grpc.StatusCode.INTERNAL, "the control plane failed; its log says why")
            end: End = first.result()
            return end

    async def _read(self) -> End:
        """Take requests. Pauses while too many responses wait for the writer."""
        try:
            async with asyncio.timeout(FIRST_MESSAGE_SECONDS):
                message = await self._context.read()
        except TimeoutError:
            return End(grpc.StatusCode.DEADLINE_EXCEEDED, "no request arrived")
        while message is not grpc.aio.EOF:
            if self._proxy is None:
                refused = self._introduce(message)
                if refused is not None:
                    return refused
            self._take(self._dialect.decode(message))
            while len(self._outbox) > MOST_WAITING:
                self._room.clear()
                await self._room.wait()
            message = await self._context.read()
        return CLIENT_LEFT

    def _introduce(self, message: Any) -> End | None:
        """Learn from the first message whose stream this is."""
        if not message.HasField("node"):
            return End(grpc.StatusCode.INVALID_ARGUMENT, "the first request of a stream must carry the node")
        try:
            self._proxy = decode_proxy(message.node)
        except ValueError as error:
            log.warning("a proxy was turned away", peer=self._context.peer(), reason=str(error))
            return End(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        self.introduced_at = self._now()
        self._machine.distrust(self._parts.unsettled.pop(self._proxy.id, frozenset()))
        log.info("proxy connected", proxy=self._proxy.id, variant=self.variant, peer=self._context.peer())
        self._parts.audience.join(self)
        return None

    def _note_unsettled(self, proxy: Proxy) -> None:
        """Remember, for the proxy's next stream, what this one may have failed to bring."""
        names = self._machine.unsettled
        if names and len(self._parts.unsettled) < MOST_UNSETTLED:
            self._parts.unsettled[proxy.id] = names

    def _take(self, request: Q) -> None:
        if request.error is not None:
            kind = SHORT_NAMES.get(request.type_url, "other")
            self._parts.counters.refusals[kind] += 1
            log.warning("proxy refused configuration", proxy=self.proxy.id, type=kind, reason=request.error[:2000])
        self._send(self._machine.receive(request, self._now()))
        self._parts.answers.put(None)

    def _send(self, responses: Sequence[R], since: float | None = None) -> None:
        """Hand responses to the writer, if there are any. It is not woken for nothing."""
        if not responses:
            return
        self._outbox.extend(responses)
        if since is not None and self._changed_at is None:
            self._changed_at = since
        self._wake.set()

    async def _write(self) -> End:
        """Write what there is, serve the offer that waits, and keep the machine's deadline."""
        counters = self._parts.counters
        while True:
            await self._rest()
            counters.wake_ups += 1
            while self._outbox:
                response = self._outbox[0]
                body = self._dialect.encode(response)
                try:
                    async with asyncio.timeout(self._parts.write_timeout):
                        await self._context.write(body)
                except TimeoutError:
                    return self._dropped()
                except grpc.aio.BaseError:
                    return CLIENT_LEFT  # while we wrote
                self._outbox.popleft()
                self._room.set()
                kind = SHORT_NAMES.get(response.type_url, "other")
                counters.responses[kind] += 1
                counters.sent_bytes[kind] += len(body)
                counters.sent_resources[kind] += len(response.resources)
            if self._changed_at is not None:
                counters.convergence.observe(max(0.0, self._now() - self._changed_at))
                self._changed_at = None
            if self._pending is not None:
                (snapshot, since), self._pending = self._pending, None
                self._send(self._machine.offer(snapshot, self._now()), since)

    async def _rest(self) -> None:
        """Sleep until there is something to do, or the machine's deadline has come.

        A deadline only begins with a response, so whoever sets one wakes the writer; one that has been met since
        costs a look at the clock.
        """
        while not self._outbox and self._pending is None:
            self._wake.clear()
            deadline = self._machine.deadline
            wait = None if deadline is None else max(0.0, deadline - self._now())
            try:
                async with asyncio.timeout(wait):
                    await self._wake.wait()
            except TimeoutError:
                self._send(self._machine.expire(self._now()))

    def _dropped(self) -> End:
        self._parts.counters.write_timeouts += 1
        who = self._proxy.id if self._proxy is not None else "a client"
        log.warning("proxy does not read and is disconnected", proxy=who, seconds=self._parts.write_timeout)
        return End(grpc.StatusCode.DEADLINE_EXCEEDED, f"no message was read for {self._parts.write_timeout:g} s")

    def _now(self) -> float:
        return self._parts.clock.monotonic()

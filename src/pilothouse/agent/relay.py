"""Envoy's way to its control plane: a Unix socket below, and for each of its streams one to the control plane above.

An Envoy that comes with nothing while no control plane answers is served from the last good configuration, until one
does. An Envoy that comes with configuration waits with what it has: the store cannot know better than it. When the
control plane ends a stream, or comes back, Envoy's stream is ended: Envoy connects again within a second and names
what it holds, which is the protocol's own way to go on without a gap.
"""

import asyncio
import os
import stat
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final, TypeAlias

import grpc
import grpc.aio
import structlog

from pilothouse.agent.book import StreamBook
from pilothouse.agent.frames import decode_request
from pilothouse.agent.last_good import LastGood
from pilothouse.agent.passing import Passing
from pilothouse.agent.settings import AgentSettings
from pilothouse.agent.stored import StoredStream
from pilothouse.agent.tally import RelayState, RelayTally, Source
from pilothouse.agent.upstream import Upstream, UpstreamCall, UpstreamLost
from pilothouse.aio.backoff import Backoff, BackoffPolicy
from pilothouse.aio.clock import Clock, SystemClock
from pilothouse.aio.tasks import Tasks
from pilothouse.kit.errors import PilothouseError
from pilothouse.xds.framing import MalformedFrame

log = structlog.get_logger(__name__)

SERVICE: Final = "envoy.service.discovery.v3.AggregatedDiscoveryService"
METHOD: Final = "DeltaAggregatedResources"
PATIENCE_SECONDS: Final = 1.0
"""How long a starting Envoy waits for a control plane's first word before it gets the stored configuration."""
LATE_PATIENCE_SECONDS: Final = 15.0
"""The same for a control plane that has just shown that it answers, only late: or it would never get its turn."""
LATE_SECONDS: Final = 30.0
CONFIRM_SECONDS: Final = 30.0
LAST_WRITE_SECONDS: Final = 5.0
"""How long a disk may hold up an agent that leaves."""
PROBES: Final = BackoffPolicy(base=0.1, most=2.0, least=0.1)

SERVER_OPTIONS: Final = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.http2.min_ping_interval_without_data_ms", 1_000),  # Envoy pings every five seconds
)

Context: TypeAlias = "grpc.aio.ServicerContext[bytes, bytes]"


class RelayUnavailable(PilothouseError):
    """The relay's socket cannot be made."""


class Relay:
    """Serves the Envoys of one agent: one, and for the moment of a hot restart two."""

    def __init__(self, settings: AgentSettings, clock: Clock | None = None) -> None:
        self._path = Path(settings.relay_socket)
        self._beside_state = self._path.parent == Path(settings.state_dir)
        self._clock = clock or SystemClock()
        self._upstream = Upstream(settings.discovery, settings.token)
        self._tally = RelayTally()
        self._late_at = float("-inf")
        self.kept = LastGood(
            Path(settings.state_dir) / "last-good",
            settings.node_id,
            most_bytes=settings.most_stored_bytes,
            clock=self._clock,
        )

    @property
    def state(self) -> RelayState:
        """What is known now."""
        return self._tally.state(self.kept.state)

    @property
    def source(self) -> tuple[str, float]:
        """Where Envoy's configuration came from, and since when a stored one is unconfirmed (wall-clock seconds)."""
        stored = self._tally.source is Source.STORED
        return self._tally.source, self.kept.state.confirmed_at if stored else 0.0

    @asynccontextmanager
    async def serving(self, on_crash: Callable[[str, BaseException], None]) -> AsyncIterator[None]:
        """Serve on the socket inside the context; at its end, write down what is not yet. Raises RelayUnavailable."""
        self.kept.load()
        server = grpc.aio.server(options=SERVER_OPTIONS)
        # Without serializers, messages are the bytes themselves; the stubs cannot infer that.
        method: grpc.RpcMethodHandler[bytes, bytes] = grpc.stream_stream_rpc_method_handler(self._handle)
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, {METHOD: method}),))
        await self._listen(server)
        try:
            async with Tasks(on_crash) as tasks:
                tasks.start("last good configuration", self.kept.run())
                tasks.start("last good confirmation", self._confirm())
                yield
        finally:
            await server.stop(None)
            await self._upstream.close()
            with suppress(TimeoutError):
                async with asyncio.timeout(LAST_WRITE_SECONDS):
                    await self.kept.flush()
            with suppress(OSError):
                self._path.unlink(missing_ok=True)
                if not self._beside_state:
                    self._path.parent.rmdir()

    async def _listen(self, server: grpc.aio.Server) -> None:
        """Only this user may connect: whoever does would speak with the agent's token."""
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not self._beside_state and not is_private(self._path.parent):
                raise PermissionError(f"{self._path.parent} is not a folder of this user alone")
            server.add_insecure_port(f"unix:{self._path}")
            self._path.chmod(0o600)
            await server.start()
        except (OSError, RuntimeError) as error:
            raise RelayUnavailable(
                f"the relay cannot listen on {self._path}: {error}; give another state folder, or --direct-xds"
            ) from error

    async def _handle(self, _: object, context: Context) -> None:
        try:
            ended = await self._serve(context)
        except grpc.aio.BaseError:
            return  # Envoy left while something was written
        if ended is not None:
            log.info("xds stream ended", code=ended.code.name, reason=str(ended))
            await context.abort(ended.code, str(ended))

    async def _serve(self, context: Context) -> UpstreamLost | None:
        """One stream of Envoy, until a side ends it; None if that was Envoy."""
        first: object = await context.read()
        if not isinstance(first, bytes):
            return None
        if self.kept.empty or not comes_with_nothing(first):
            return await self._pass_on(context, self._upstream.open(patient=True), first)
        call = self._upstream.open(patient=False)
        answer = await self._first_answer(call, first)
        if answer is not None:
            return await self._pass_on(context, call, first, answer)
        call.cancel()
        return await self._stand_in(context, first)

    async def _first_answer(self, call: UpstreamCall, first: bytes) -> bytes | None:
        """The control plane's first word on this stream; None if it does not come in time."""
        late = self._clock.monotonic() - self._late_at < LATE_SECONDS
        with suppress(UpstreamLost, TimeoutError):
            async with asyncio.timeout(LATE_PATIENCE_SECONDS if late else PATIENCE_SECONDS):
                await call.write(first)
                return await call.read()
        return None

    async def _pass_on(
        self, context: Context, call: UpstreamCall, first: bytes, answer: bytes | None = None
    ) -> UpstreamLost | None:
        """Join both streams. ``first`` has been read from Envoy, and sent already if there is an ``answer`` to it."""
        book = StreamBook(self.kept, self._tally)
        passing = Passing(context, call, book, self._tally)
        if answer is None:
            lost = await passing.run(first)
        else:
            book.request(first)
            lost = await passing.run(None, answer)
        if lost is not None:
            self._tally.lost += 1
            self._tally.lost_reason = str(lost)
        return lost

    async def _stand_in(self, context: Context, first: bytes) -> UpstreamLost | None:
        """Serve from the store until the control plane answers, or Envoy leaves."""
        log.warning("no control plane answers; Envoy is served from the last good configuration")
        self._tally.source = Source.STORED
        self._tally.stored_streams += 1
        try:
            async with Tasks() as tasks:
                serving = tasks.start("stored configuration", self._serve_stored(context, first))
                probing = tasks.start("control plane probe", self._answers(first))
                ended, _ = await asyncio.wait((serving, probing), return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._tally.stored_streams -= 1
        if serving in ended:
            return None
        self._late_at = self._clock.monotonic()
        return UpstreamLost(grpc.StatusCode.UNAVAILABLE, "the control plane answers again")

    async def _serve_stored(self, context: Context, first: bytes) -> None:
        with suppress(grpc.aio.BaseError):  # Envoy left while something was written
            await StoredStream(context, self.kept.snapshot(), self._clock).serve(first)

    async def _answers(self, first: bytes) -> None:
        """Return when the control plane has answered Envoy's first request, whatever it says.

        A connection is no proof: a control plane that hangs, or that has not loaded yet, has one too.
        """
        backoff = Backoff(PROBES)
        while True:
            call = self._upstream.open(patient=True)
            try:
                await call.write(first)
                await call.read()
            except UpstreamLost as lost:
                self._tally.lost_reason = str(lost)
                await asyncio.sleep(backoff.next_wait())
            else:
                return
            finally:
                call.cancel()

    async def _confirm(self) -> None:
        """While the control plane is in touch, keep noting so."""
        while True:
            if self._tally.live_streams:
                self.kept.touch()
            await asyncio.sleep(CONFIRM_SECONDS)


def is_private(folder: Path) -> bool:
    """Whether ``folder`` is a real folder that this user owns and nobody else may enter."""
    found = folder.lstat()
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o077


def comes_with_nothing(first: bytes) -> bool:
    """Whether the Envoy that sends this as the first request of a stream has no configuration yet."""
    try:
        return not decode_request(first).initial_versions
    except MalformedFrame:
        return False

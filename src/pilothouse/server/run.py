"""The control plane, put together: which parts exist and who feeds whom.

``pilothouse serve`` and ``pilothouse up`` call ``run_server``. Signals belong to the command line, not here.
"""

import asyncio
import contextlib
import errno
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import grpc.aio
import structlog

from pilothouse import __version__
from pilothouse.aio.clock import Clock, SystemClock
from pilothouse.aio.tasks import Tasks
from pilothouse.compiler.mesh import MeshCompiler, absent
from pilothouse.identity.tokens import load_or_create_token
from pilothouse.kit.errors import PilothouseError, PortInUse, SettingsError
from pilothouse.model.world import World
from pilothouse.registry.admission import Admission, parse_networks
from pilothouse.registry.directory import SOURCE as EMBEDDED
from pilothouse.registry.embedded import EmbeddedRegistry, EmbeddedRules
from pilothouse.registry.silence import SilenceRule
from pilothouse.registry.stored import FILE_NAME, RegistrationFile
from pilothouse.registry.upkeep import Saver, keep
from pilothouse.resolve.mesh import MeshSnapshot
from pilothouse.server.admin import AdminApi, EmbeddedUvicorn, admin_server, listen
from pilothouse.server.ads import SERVER_OPTIONS, AdsServer
from pilothouse.server.agents import AgentBoard
from pilothouse.server.counters import Counters
from pilothouse.server.pipeline import Pipeline
from pilothouse.server.ports import port_in_use
from pilothouse.server.registration import RegistrationServer
from pilothouse.server.settings import ServerSettings, refuse_exposure, split_address
from pilothouse.server.stream import StreamParts
from pilothouse.server.views import LiveState
from pilothouse.sources.accepted import FILE_NAME as ACCEPTED
from pilothouse.sources.files import SOURCE as FILES
from pilothouse.sources.files import FileSource, Keeping
from pilothouse.sources.hold import HoldRules
from pilothouse.xds.settings import StreamSettings

log = structlog.get_logger(__name__)

GRACE_SECONDS: Final = 2.0
"""How long a stop waits for answers of the admin API that are under way."""
STREAM_GRACE_SECONDS: Final = 0.5
"""How long a stop waits for streams to take their last status; all are told at once."""


@dataclass(frozen=True, slots=True)
class Bound:
    """Where a started control plane can be reached: ``HOST:PORT`` with the ports that were really bound."""

    xds_address: str
    admin_address: str
    token_file: str


@dataclass(frozen=True, slots=True)
class ControlPlane:
    """The parts of one control plane, made and connected, not yet running."""

    settings: ServerSettings
    token: str
    pipeline: Pipeline[MeshSnapshot]
    files: FileSource
    registry: EmbeddedRegistry
    saver: Saver
    ads: AdsServer
    agents: RegistrationServer
    admin: AdminApi


async def run_server(
    settings: ServerSettings, stop: asyncio.Event, started: Callable[[Bound], None] | None = None
) -> None:
    """Run until ``stop`` is set. ``started`` is called once both listeners accept connections.

    Raises SettingsError for what cannot work, PortInUse if somebody else holds a port, and PilothouseError if a part
    of the control plane crashed in a way that it cannot go on.
    """
    for exposed in refuse_exposure(settings):
        log.warning("INSECURE: this address can be reached from other machines and is not encrypted", address=exposed)
    await run_plane(assemble(settings, SystemClock()), stop, started)


async def run_plane(plane: ControlPlane, stop: asyncio.Event, started: Callable[[Bound], None] | None = None) -> None:
    """Run parts that were made. A part that crashes sets ``stop`` and ends all of them; raises as ``run_server``."""
    crashes: list[str] = []

    def crashed(name: str, error: BaseException) -> None:
        crashes.append(f"{name} crashed: {type(error).__name__}: {error}")
        stop.set()

    async with Tasks(crashed) as tasks, serving(plane, tasks) as bound:
        tasks.start("pipeline", plane.pipeline.run(plane.settings.debounce))
        tasks.start("files", plane.files.run(lambda: plane.pipeline.source_read(FILES)))
        tasks.start("registry", keep(plane.registry, plane.saver, lambda: plane.pipeline.source_read(EMBEDDED)))
        log.info("control plane started", version=__version__, xds=bound.xds_address, admin=bound.admin_address)
        if started is not None:
            started(bound)
        await stop.wait()
    if crashes:
        raise PilothouseError("; ".join(crashes))


def assemble(settings: ServerSettings, clock: Clock) -> ControlPlane:
    """Make and connect the parts. Raises SettingsError if the settings or what they name cannot be used."""
    state_dir = Path(settings.state_dir)
    try:
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(f"state_dir: {state_dir} cannot be made: {error.strerror or error}") from error
    token = load_or_create_token(settings.token_path)
    compiler, counters = MeshCompiler(), Counters()
    pipeline: Pipeline[MeshSnapshot] = Pipeline(
        compiler, clock, counters, world=World(settings=settings.mesh.values()), required=(FILES, EMBEDDED)
    )
    files = FileSource(
        Path(settings.config_folder),
        pipeline.submit,
        namespace=settings.namespace,
        keeping=Keeping(hold_rules(settings), state_dir / ACCEPTED, clock),
    )
    files.restore()
    files.check()
    known = RegistrationFile(state_dir / FILE_NAME, clock)
    registry = EmbeddedRegistry(pipeline.submit, clock, registry_rules(settings), known.read())
    saver = Saver(registry, known, clock)
    ads = AdsServer(StreamParts(pipeline, clock, counters, StreamSettings(absent=absent), settings.write_timeout))
    board = AgentBoard()
    pipeline.turned = (ads.turn,)
    pipeline.advisers = (lambda: registry.problems, lambda: known.problems)
    pipeline.remember = (saver.save,)
    live = LiveState(pipeline, ads, board, counters, clock, clock.wall(), lambda: registry.suspects)
    return ControlPlane(
        settings=settings,
        token=token,
        pipeline=pipeline,
        files=files,
        registry=registry,
        saver=saver,
        ads=ads,
        agents=RegistrationServer(
            registry,
            board,
            clock,
            token,
            lambda: ads.endpoints_known(lambda: pipeline.quiet),
        ),
        admin=AdminApi(live, lambda: compiler.compiled, {FILES: files}),
    )


def hold_rules(settings: ServerSettings) -> HoldRules:
    """When a deletion in the configuration folder is held."""
    files = settings.sources.files
    return HoldRules(files.hold, files.hold_share, files.hold_at_least, files.hold_window)


def registry_rules(settings: ServerSettings) -> EmbeddedRules:
    """The embedded registry's part of the settings. Raises SettingsError for a network that is none."""
    embedded = settings.registry.embedded
    try:
        networks = parse_networks(embedded.networks)
    except ValueError as error:
        raise SettingsError(f"registry.embedded.networks: {error}") from error
    return EmbeddedRules(
        admission=Admission(settings.domain, networks),
        silence=SilenceRule(embedded.most_silent_share),
        lease_seconds=embedded.lease_seconds,
        suspect_seconds=embedded.suspect_seconds,
        settle_seconds=embedded.settle_seconds,
        restart_seconds=embedded.restart_seconds,
    )


@contextlib.asynccontextmanager
async def serving(plane: ControlPlane, tasks: Tasks) -> AsyncIterator[Bound]:
    """Both listeners, open while the context is. Raises PortInUse or SettingsError if one cannot be had."""
    settings = plane.settings
    admin_host, _ = split_address(settings.admin_address, "admin_address")
    with open_port(settings.admin_address, "admin_address") as listener:
        server = grpc.aio.server(options=SERVER_OPTIONS)
        server.add_generic_rpc_handlers((plane.ads.handlers(), plane.agents.handlers()))
        xds_port = add_grpc_port(server, settings.xds_address)
        await server.start()
        admin = admin_server(plane.admin.application(plane.token, admin_host))
        running = tasks.start("admin", admin.serve(sockets=[listener]))
        try:
            yield Bound(
                xds_address=f"{settings.xds_address.rpartition(':')[0]}:{xds_port}",
                admin_address=f"{settings.admin_address.rpartition(':')[0]}:{listener.getsockname()[1]}",
                token_file=str(settings.token_path),
            )
        finally:
            plane.ads.calls.close()
            plane.agents.calls.close()
            await server.stop(STREAM_GRACE_SECONDS)
            await _end_admin(admin, running)


async def _end_admin(admin: EmbeddedUvicorn, running: "asyncio.Task[None]") -> None:
    admin.should_exit = True
    await asyncio.wait((running,), timeout=GRACE_SECONDS)


def open_port(address: str, setting: str) -> socket.socket:
    """A listening socket on ``address``. Raises PortInUse, or SettingsError where the address itself is wrong."""
    host, port = split_address(address, setting)
    try:
        return listen(host, port)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise port_in_use(setting, address, port) from error
        raise SettingsError(f"{setting}: cannot listen on {address}: {error.strerror or error}") from error


def add_grpc_port(server: grpc.aio.Server, address: str) -> int:
    """Bind the gRPC server. The port is tried first by ourselves, because gRPC does not say what is wrong."""
    open_port(address, "xds_address").close()
    try:
        return server.add_insecure_port(address)
    except RuntimeError as error:
        raise PortInUse(f"xds_address: cannot listen on {address}: {error}") from error

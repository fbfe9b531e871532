"""The whole control plane in one loop, on free ports, with the real compiler."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import grpc.aio
import pytest

from pilothouse.aio.clock import ManualClock, SystemClock
from pilothouse.aio.tasks import Tasks
from pilothouse.identity.tokens import read_token
from pilothouse.kit.errors import PilothouseError, PortInUse, SettingsError
from pilothouse.model.proxy import InboundPort, Workload
from pilothouse.model.registration import PATH, Accepted, EnvoyState, Register, decode_to_agent, encode
from pilothouse.model.world import Delta
from pilothouse.registry.stored import FILE_NAME, RegistrationFile
from pilothouse.server.run import Bound, assemble, run_plane, run_server
from pilothouse.server.settings import Debounce, EmbeddedSettings, RegistrySettings, ServerSettings
from pilothouse.sources.files import FileSource
from pilothouse.xds.resource import CLUSTER, ENDPOINT

from .support import LOCAL, DeltaClient, names, until

REVIEWS = "outbound|9080||reviews.service.mesh"


def settings_in(folder: Path, settle: float = 0.0, restart: float = 30.0) -> ServerSettings:
    (folder / "config").mkdir(exist_ok=True)
    return ServerSettings(
        xds_address="127.0.0.1:0",
        admin_address="127.0.0.1:0",
        config_folder=str(folder / "config"),
        state_dir=str(folder / "state"),
        debounce=Debounce(quiet=0.01, at_most=0.1),
        registry=RegistrySettings(
            embedded=EmbeddedSettings(lease_seconds=60, settle_seconds=settle, restart_seconds=restart)
        ),
    )


@asynccontextmanager
async def running(settings: ServerSettings) -> AsyncIterator[Bound]:
    """A control plane that is stopped when the context ends."""
    stop, bound = asyncio.Event(), asyncio.get_running_loop().create_future()
    async with Tasks() as tasks:
        server = tasks.start("server", run_server(settings, stop, bound.set_result))
        await asyncio.wait((server, bound), return_when=asyncio.FIRST_COMPLETED)
        if server.done():
            await server
        yield bound.result()
        stop.set()
        async with asyncio.timeout(20):
            await server


@asynccontextmanager
async def an_agent(bound: Bound, name: str, address: str) -> AsyncIterator[None]:
    """An agent that is registered and ready while the context lasts, and then breaks off."""
    token = read_token(Path(bound.token_file))
    workload = Workload(name, "default", address, (InboundPort("reviews", 9080, 19080, 9080),))
    async with grpc.aio.insecure_channel(bound.xds_address, options=LOCAL) as channel:
        call = channel.stream_stream(PATH)(metadata=(("authorization", f"Bearer {token}"),))
        await call.write(encode(Register(f"sidecar~{address}~{name}.default~mesh", 7, workload, ready=True)))
        body = await call.read()
        assert isinstance(body, bytes)
        assert isinstance(decode_to_agent(body), Accepted)
        await call.write(encode(EnvoyState(live=True, ready=True)))
        yield
        call.cancel()


@asynccontextmanager
async def two_agents(bound: Bound) -> AsyncIterator[None]:
    async with an_agent(bound, "reviews-v1", "127.0.0.11"), an_agent(bound, "reviews-v2", "127.0.0.12"):
        yield


@asynccontextmanager
async def a_client(bound: Bound) -> AsyncIterator[DeltaClient]:
    async with grpc.aio.insecure_channel(bound.xds_address, options=LOCAL) as channel:
        yield DeltaClient(channel)


def members(body: bytes) -> set[bytes]:
    """Which of the two workloads a load assignment names."""
    return {address for address in (b"127.0.0.11", b"127.0.0.12") if address in body}


async def ask_for_endpoints(client: DeltaClient) -> set[bytes]:
    """Subscribe to the reviews' endpoints, and return the first answer."""
    await client.ask(ENDPOINT, resource_names_subscribe=[REVIEWS])
    response = await client.answer()
    assert names(response) == [REVIEWS]
    return members(response.resources[0].resource.value)


async def test_a_registered_workload_becomes_a_cluster_with_endpoints(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    async with running(settings) as bound, an_agent(bound, "reviews-v1", "127.0.0.11"), a_client(bound) as client:
        await client.ask(CLUSTER)
        while REVIEWS not in names(response := await client.answer()):
            await client.acknowledge(response)
        assert await ask_for_endpoints(client) == {b"127.0.0.11"}


async def test_an_edit_of_a_file_reaches_a_proxy(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    async with running(settings) as bound, an_agent(bound, "reviews-v1", "127.0.0.11"), a_client(bound) as client:
        await client.ask(CLUSTER)
        seen: set[str] = set()
        while REVIEWS not in seen:
            response = await client.answer()
            seen |= set(names(response))
            await client.acknowledge(response)
        (tmp_path / "config" / "reviews.yaml").write_text(
            "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: reviews}\n"
            "spec: {host: reviews.service.mesh, subsets: [{name: v1, labels: {version: v1}}]}\n"
        )
        while "outbound|9080|v1|reviews.service.mesh" not in seen:
            response = await client.answer()
            seen |= set(names(response))
            await client.acknowledge(response)


def ids_on_disk(folder: Path) -> set[str]:
    """The workloads whose registrations are on disk."""
    state = RegistrationFile(folder / "state" / FILE_NAME, ManualClock()).read()
    return {known.workload.id for known in state.registrations}


async def test_a_restart_answers_nobody_before_all_earlier_agents_are_back(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    async with running(settings) as bound, two_agents(bound):
        await until(lambda: ids_on_disk(tmp_path) == {"reviews-v1", "reviews-v2"})
    async with running(settings) as bound, a_client(bound) as client, Tasks() as tasks:
        asking = tasks.start("ask", ask_for_endpoints(client))
        async with an_agent(bound, "reviews-v1", "127.0.0.11"):
            done, _ = await asyncio.wait((asking,), timeout=0.5)
            assert not done, "the wait for those who return is not over"
            async with an_agent(bound, "reviews-v2", "127.0.0.12"):
                assert await asking == {b"127.0.0.11", b"127.0.0.12"}


async def test_a_restart_serves_those_who_do_not_come_back_as_suspects(tmp_path: Path) -> None:
    settings = settings_in(tmp_path, restart=0.3)
    async with running(settings) as bound, two_agents(bound):
        await until(lambda: len(ids_on_disk(tmp_path)) == 2)
    async with running(settings) as bound, an_agent(bound, "reviews-v1", "127.0.0.11"), a_client(bound) as client:
        assert await ask_for_endpoints(client) == {b"127.0.0.11", b"127.0.0.12"}
        assert ids_on_disk(tmp_path) == {"reviews-v1", "reviews-v2"}


async def test_an_endpoint_is_on_disk_before_a_proxy_is_told_of_it(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    async with running(settings) as bound, a_client(bound) as client, an_agent(bound, "reviews-v1", "127.0.0.11"):
        await client.ask(CLUSTER)
        while REVIEWS not in names(response := await client.answer()):
            await client.acknowledge(response)
        assert ids_on_disk(tmp_path) == {"reviews-v1"}


async def test_a_state_folder_that_cannot_be_written_stops_nobody_and_is_named(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    plane, stop, bound = assemble(settings, SystemClock()), asyncio.Event(), asyncio.get_running_loop().create_future()
    (tmp_path / "state" / FILE_NAME).mkdir()  # a file cannot replace a folder, not even for root
    async with Tasks() as tasks:
        server = tasks.start("server", run_plane(plane, stop, bound.set_result))
        async with an_agent(await bound, "reviews-v1", "127.0.0.11"), a_client(bound.result()) as client:
            assert await ask_for_endpoints(client) == {b"127.0.0.11"}
            await until(lambda: [p.code.code for p in plane.pipeline.problems] == ["registrations-unsaved"])
            (tmp_path / "state" / FILE_NAME).rmdir()
            await until(lambda: plane.pipeline.problems == () and ids_on_disk(tmp_path) == {"reviews-v1"})
        stop.set()
        await server


async def test_damaged_registrations_are_set_aside_and_the_start_goes_on(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / FILE_NAME).write_bytes(b"pilothouse registrations 999 0 0123456789abcdef\n")
    plane = assemble(settings, SystemClock())
    (problem,) = plane.pipeline.problems
    assert problem.code.code == "registrations-set-aside"
    assert "format 999" in problem.message


async def test_a_port_in_use_is_told_by_name_for_either_listener(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        for changed in ({"xds_address": address}, {"admin_address": address}):
            (name,) = changed
            values = {f: getattr(settings, f) for f in settings.__struct_fields__} | changed
            with pytest.raises(PortInUse, match=f"{name} {address}.*is in use by"):
                await run_server(ServerSettings(**values), asyncio.Event())


async def test_an_address_that_is_not_this_machines_is_a_settings_error(tmp_path: Path) -> None:
    values = {f: getattr(settings_in(tmp_path), f) for f in ServerSettings.__struct_fields__}
    with pytest.raises(SettingsError, match=r"xds_address: cannot listen on 192\.0\.2\.1:15010"):
        await run_server(
            ServerSettings(**values | {"xds_address": "192.0.2.1:15010", "insecure": True}), asyncio.Event()
        )


async def test_settings_that_cannot_work_stop_the_start(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="config_folder"):
        await run_server(ServerSettings(config_folder=str(tmp_path / "gone"), state_dir=str(tmp_path)), asyncio.Event())
    settings = settings_in(tmp_path)
    values = {f: getattr(settings, f) for f in settings.__struct_fields__}
    network = RegistrySettings(embedded=EmbeddedSettings(networks=("10.0.0.0/33",)))
    with pytest.raises(SettingsError, match=r"registry\.embedded\.networks"):
        await run_server(ServerSettings(**values | {"registry": network}), asyncio.Event())
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match="state_dir"):
        await run_server(ServerSettings(**values | {"state_dir": str(tmp_path / "file" / "x")}), asyncio.Event())


async def test_a_part_that_crashes_ends_the_control_plane_with_its_name(tmp_path: Path) -> None:
    def crash(delta: Delta) -> None:
        raise RuntimeError("a bug")

    plane = assemble(settings_in(tmp_path), SystemClock())
    with pytest.raises(PilothouseError, match="files crashed: RuntimeError: a bug"):
        await run_plane(replace(plane, files=FileSource(tmp_path, crash)), asyncio.Event())


def test_parts_are_made_without_a_running_loop(tmp_path: Path) -> None:
    plane = assemble(settings_in(tmp_path), ManualClock())
    assert plane.pipeline.waits_for == ("embedded", "files")

"""Held changes over HTTP, on a control plane with a real folder."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import msgspec
import pytest

from pilothouse.aio.tasks import Tasks
from pilothouse.cli.accept import describe_held
from pilothouse.demo.query import accept_held, ask_held, ask_status
from pilothouse.identity.tokens import read_token
from pilothouse.server.readmodel import HeldStatus
from pilothouse.server.run import hold_rules, run_server
from pilothouse.server.settings import Debounce, FilesSettings, ServerSettings, SourcesSettings
from pilothouse.server.settings_file import decode_settings
from pilothouse.sources.hold import HoldRules

ROUTE = """apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: r-{number:02}}}
spec:
  hosts: [r-{number:02}.service.mesh]
  http: [{{route: [{{destination: {{host: r-{number:02}.service.mesh}}}}]}}]
"""
JSON = {"Content-Type": "application/json"}


@dataclass
class Running:
    """A control plane that answers, and its folder."""

    folder: Path
    address: str
    token: str

    async def held(self) -> tuple[HeldStatus, ...]:
        return await asyncio.to_thread(ask_held, self.address, self.token)

    async def until_held(self, count: int) -> HeldStatus:
        async with asyncio.timeout(20):
            while not (found := await self.held()) or len(found[0].objects) != count:
                await asyncio.sleep(0.02)
        return found[0]

    async def post(self, body: bytes, **headers: str) -> int:
        fields = {"Authorization": f"Bearer {self.token}", **JSON, **headers}
        url = f"http://{self.address}/api/accept"
        async with (
            aiohttp.ClientSession(trust_env=False) as session,
            session.post(url, data=body, headers=fields) as answer,
        ):
            return answer.status


@pytest.fixture
async def plane(tmp_path: Path) -> AsyncIterator[Running]:
    folder = tmp_path / "config"
    folder.mkdir()
    for number in range(20):
        (folder / f"{number:02}.yaml").write_text(ROUTE.format(number=number))
    async with running(folder, tmp_path / "state") as plane:
        yield plane


@asynccontextmanager
async def running(folder: Path, state: Path) -> AsyncIterator[Running]:
    settings = ServerSettings(
        xds_address="127.0.0.1:0",
        admin_address="127.0.0.1:0",
        config_folder=str(folder),
        state_dir=str(state),
        debounce=Debounce(quiet=0.01, at_most=0.1),
    )
    stop, bound = asyncio.Event(), asyncio.get_running_loop().create_future()
    async with Tasks() as tasks:
        server = tasks.start("server", run_server(settings, stop, bound.set_result))
        where = await bound
        plane = Running(folder, where.admin_address, read_token(Path(where.token_file)))
        async with asyncio.timeout(20):
            while (await asyncio.to_thread(ask_status, plane.address, plane.token)).objects != 20:
                await asyncio.sleep(0.02)
        yield plane
        stop.set()
        await server


def remove(folder: Path, *numbers: int) -> None:
    for number in numbers:
        (folder / f"{number:02}.yaml").unlink()


async def test_a_held_deletion_is_shown_and_let_go_by_its_name(plane: Running) -> None:
    assert await plane.held() == ()
    remove(plane.folder, *range(15))
    held = await plane.until_held(15)
    assert (held.source, held.of, held.objects[0]) == ("files", 20, "VirtualService default/r-00")
    async with asyncio.timeout(20):
        while not (status := await asyncio.to_thread(ask_status, plane.address, plane.token)).problems:
            await asyncio.sleep(0.02)
    (problem,) = status.problems
    assert (problem.code, status.objects) == ("deletion-held", 20)
    assert held.change in problem.message
    assert "pilothouse accept" in problem.remedy
    assert await asyncio.to_thread(accept_held, plane.address, plane.token, held)
    async with asyncio.timeout(20):
        while (await asyncio.to_thread(ask_status, plane.address, plane.token)).objects != 5:
            await asyncio.sleep(0.02)
    assert await plane.held() == ()


async def test_a_later_deletion_is_not_accepted_by_the_same_word(plane: Running) -> None:
    remove(plane.folder, *range(12))
    seen = await plane.until_held(12)
    remove(plane.folder, 12)
    await plane.until_held(13)
    assert not await asyncio.to_thread(accept_held, plane.address, plane.token, seen)
    assert len((await plane.held())[0].objects) == 13


async def test_the_word_needs_the_credential_and_comes_from_no_foreign_page(plane: Running) -> None:
    remove(plane.folder, *range(12))
    held = await plane.until_held(12)
    word = msgspec.json.encode({"source": "files", "change": held.change})
    assert await plane.post(word, Authorization="Bearer wrong") == 401
    assert await plane.post(word, Host="evil.example") == 403
    assert await plane.post(word, Origin="http://evil.example") == 403
    assert await plane.post(word, **{"Content-Type": "text/plain"}) == 415
    assert len((await plane.held())[0].objects) == 12


async def test_what_is_no_word_is_refused(plane: Running) -> None:
    for body, status in (
        (b"", 400),
        (b"{", 400),
        (b"[]", 400),
        (b'{"source": "files"}', 400),
        (b'{"source": "files", "change": ""}', 409),
        (b'{"source": "files", "change": "0011223344556677"}', 409),
        (b'{"source": "consul", "change": "x"}', 404),
        (b'{"source": "files", "change": "' + b"x" * 100_000 + b'"}', 400),
    ):
        assert await plane.post(body) == status, body[:60]


def test_the_settings_say_when_a_deletion_is_held() -> None:
    assert hold_rules(ServerSettings()) == HoldRules()
    text = "sources:\n  files: {hold: false, hold_share: 0.25, hold_at_least: 3, hold_window: 1m}\n"
    settings = decode_settings(text, "mesh.yaml")
    assert settings.sources == SourcesSettings(
        files=FilesSettings(hold=False, hold_share=0.25, hold_at_least=3, hold_window=60)
    )
    assert hold_rules(settings) == HoldRules(enabled=False, share=0.25, at_least=3, window=60)


def test_the_first_objects_are_named_and_the_others_counted() -> None:
    held = HeldStatus("files", "abc", tuple(f"Gateway default/g-{n:02}" for n in range(12)), 15, 0.0)
    lines = describe_held(held).splitlines()
    assert lines[0] == "12 of 15 objects from files are held (change abc):"
    assert (len(lines), lines[-1]) == (12, "  and 2 more")

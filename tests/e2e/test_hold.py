"""The configuration folder of a running mesh is emptied by accident, under constant load."""

import asyncio
import sys
from pathlib import Path

import pytest

from pilothouse.demo.query import NotAnswering
from tests.e2e.looking import Mesh, eventually
from tests.load import Load

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="module")]
EXTRA = 24

SPARE = """apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: spare-{number:02}}}
spec:
  hosts: [spare-{number:02}.example.com]
  ports: [{{number: 80, name: http, protocol: HTTP}}]
  resolution: STATIC
  endpoints: [{{address: 127.44.77.{number}}}]
"""


async def objects_are(mesh: Mesh, count: int) -> bool:
    return (await mesh.running.status()).objects == count


async def holds(mesh: Mesh, count: int) -> bool:
    """Whether the status names a hold of so many objects."""
    problems = (await mesh.running.status()).problems
    return any(p.code == "deletion-held" and f" {count} of " in p.message for p in problems)


async def run_accept(mesh: Mesh) -> str:
    """``pilothouse accept``, as a person runs it."""
    plan = mesh.running.plan
    command = ("-m", "pilothouse.cli.main", "accept", "--address", str(plan.admin), "--token-file", plan.token_file)
    done = await asyncio.create_subprocess_exec(sys.executable, *command, stdout=asyncio.subprocess.PIPE)
    told, _ = await done.communicate()
    assert done.returncode == 0
    return told.decode()


def remove_all(folder: Path) -> dict[Path, str]:
    """``rm -rf`` of what is in the folder; what it was."""
    texts = {path: path.read_text() for path in folder.glob("*.yaml")}
    for path in texts:
        path.unlink()
    return texts


async def test_an_emptied_folder_changes_no_traffic_until_somebody_says_so(mesh: Mesh) -> None:
    folder = mesh.running.config_folder
    before = (await mesh.running.status()).objects
    for number in range(EXTRA):
        (folder / f"spare-{number:02}.yaml").write_text(SPARE.format(number=number))
    total = before + EXTRA
    await eventually(lambda: objects_are(mesh, total), what="all objects are read")
    async with Load(mesh.running.plan.page_url, clients=2, pause=0.01) as load:
        texts = remove_all(folder)
        await eventually(lambda: holds(mesh, total), what="the hold of everything")
        await load.more(100)
        assert await objects_are(mesh, total)

        for path, text in texts.items():
            path.write_text(text)
        await eventually(lambda: not_held(mesh), what="the end of the hold")
        await load.more(50)

        spares = [path for path in texts if path.name.startswith("spare")]
        for path in spares:
            path.unlink()
        await eventually(lambda: holds(mesh, EXTRA), what="the hold of the spare services")
        told = await run_accept(mesh)
        assert f"{EXTRA} of {total} objects from files are held" in told
        assert f"Accepted: {EXTRA} objects are let go." in told
        await eventually(lambda: objects_are(mesh, before), what="the accepted deletion")
        await load.more(50)
        assert await run_accept(mesh) == "Nothing is held.\n"
    print(f"{load.requests} requests, {sum(load.failures.values())} failed")
    assert load.failures == {}


async def not_held(mesh: Mesh) -> bool:
    return not any(p.code == "deletion-held" for p in (await mesh.running.status()).problems)


async def test_a_control_plane_that_restarts_beside_an_emptied_folder_holds_it_too(mesh: Mesh) -> None:
    folder = mesh.running.config_folder
    before = (await mesh.running.status()).objects
    for number in range(EXTRA):
        (folder / f"spare-{number:02}.yaml").write_text(SPARE.format(number=number))
    await eventually(lambda: objects_are(mesh, before + EXTRA), what="all objects are read")
    async with Load(mesh.running.plan.page_url, clients=2, pause=0.01) as load:
        mesh.kill("control-plane")
        texts = remove_all(folder)
        await eventually(lambda: answers_with_hold(mesh, before + EXTRA), what="the restarted plane's hold")
        await mesh.works()
        await load.more(100)
        for path, text in texts.items():
            path.write_text(text)
        await eventually(lambda: not_held(mesh), what="the end of the hold")
    print(f"{load.requests} requests, {sum(load.failures.values())} failed")
    assert load.failures == {}
    for path in folder.glob("spare-*.yaml"):
        path.unlink()
    await eventually(lambda: holds(mesh, EXTRA), what="the hold of the spare services")
    await run_accept(mesh)


async def answers_with_hold(mesh: Mesh, count: int) -> bool:
    """As ``holds``, while the control plane may be away."""
    try:
        return await holds(mesh, count)
    except NotAnswering:
        return False

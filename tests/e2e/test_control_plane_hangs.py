"""The whole mesh while its control plane hangs: traffic goes on, and an Envoy that dies meanwhile comes back."""

import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.e2e.looking import Mesh, eventually, processes_about
from tests.load import Load

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(200)]

HANGS_SECONDS = 12.0
"""Longer than it takes to give a silent control plane up (10 s)."""


@asynccontextmanager
async def hanging_control_plane(mesh: Mesh) -> AsyncIterator[None]:
    pid = mesh.pid("control-plane")
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def envoy_of(mesh: Mesh, name: str) -> int:
    found = [
        pid
        for pid, command in processes_about(Path(mesh.running.plan.folder)).items()
        if f"state/{name}/envoy.json" in command and "launch.py" not in command
    ]
    return found[0] if found else 0


def tell(drill: str, load: Load) -> None:
    print(f"\n{drill}: {load.requests} requests, {sum(load.failures.values())} failed {dict(load.failures)}")


def load_of(mesh: Mesh) -> Load:
    return Load(mesh.running.plan.page_url, expects=lambda status, body: "data-version" in body)


async def test_no_request_fails_while_the_control_plane_hangs_and_goes_on(mesh: Mesh) -> None:
    await mesh.works()
    async with load_of(mesh) as load:
        began = time.perf_counter()
        async with hanging_control_plane(mesh):
            while time.perf_counter() - began < HANGS_SECONDS:
                await load.more(20)
        await mesh.running.wait_converged(30)
        await load.more(50)
    tell(f"SIGSTOP of the control plane for {HANGS_SECONDS:g} s", load)
    assert not load.failures


async def test_an_envoy_that_is_killed_while_the_control_plane_hangs_comes_back_by_itself(mesh: Mesh) -> None:
    await mesh.running.wait_converged(30)
    before = envoy_of(mesh, "reviews-v3")
    async with load_of(mesh) as load, hanging_control_plane(mesh):
        killed = time.perf_counter()
        os.kill(before, signal.SIGKILL)

        async def serves_again() -> bool:
            return envoy_of(mesh, "reviews-v3") not in (0, before) and (await mesh.page()).version == "v3"

        await eventually(serves_again, 20, "reviews-v3")
        gap = time.perf_counter() - killed
        failed = sum(load.failures.values())
        await load.more(100)
        tell(f"kill -9 of one Envoy of three while the control plane hangs, seen back after {gap:.2f} s", load)
        assert sum(load.failures.values()) == failed
    await mesh.running.wait_converged(30)
    await mesh.works()

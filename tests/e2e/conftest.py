"""One mesh of real processes for all tests of a module that look at it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from pilothouse.demo.up import MeshOptions, RunningMesh
from tests.e2e.looking import START_SECONDS, Mesh, free_base_port


@pytest.fixture(scope="module")
def runtime_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("run")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh(runtime_root: Path) -> AsyncIterator[Mesh]:
    """One mesh for the tests of a module, which leave it working."""
    events: list[str] = []
    options = MeshOptions(port=free_base_port(), root=runtime_root)
    async with RunningMesh(options, on_event=events.append) as running:
        await running.start()
        await running.wait_ready(START_SECONDS)
        yield Mesh(running, events)

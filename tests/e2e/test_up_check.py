"""The talk on a real mesh: real processes, real Envoys, real requests through the gateway."""

import asyncio
import re
import sys
from pathlib import Path

import aiohttp
import pytest

from pilothouse.demo.check import Ground, Place, play_row
from pilothouse.demo.check_rows import ROWS
from pilothouse.demo.plan import DOMAIN, GATEWAY_NAME
from tests.e2e.looking import START_SECONDS, Mesh, free_base_port

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(260)]

COMMAND = (sys.executable, "-m", "pilothouse.cli.main", "up", "--check")
ROW = re.compile(r"^([a-z-]+) +(passed|FAILED) ", re.MULTILINE)
CHECK_SECONDS = 150.0


def entries(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


async def run_check(root: Path, *arguments: str) -> tuple[int, str]:
    """The exit status and the output of the real command."""
    command = (*COMMAND, "--port", str(free_base_port()), *arguments)
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(root), "XDG_RUNTIME_DIR": str(root)}
    process = await asyncio.create_subprocess_exec(
        *command, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    try:
        output, _ = await asyncio.wait_for(process.communicate(), START_SECONDS + CHECK_SECONDS)
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()
    assert process.returncode is not None
    return process.returncode, output.decode()


async def test_the_talk_passes_and_the_table_says_what_envoy_saw(tmp_path: Path) -> None:
    status, output = await run_check(tmp_path)
    assert status == 0, output
    assert dict(ROW.findall(output)) == {row.name: "passed" for row in ROWS}
    assert "5 rows passed, 0 failed" in output
    for witnessed in ("upstream_rq_pending_overflow", "failed_outlier_check", "upstream_rq_timeout +1"):
        assert witnessed in output
    assert entries(tmp_path) == []


@pytest.mark.parametrize("broken", ["ejection", "canary"])
async def test_a_row_without_its_rule_fails_alone_and_so_does_the_command(tmp_path: Path, broken: str) -> None:
    status, output = await run_check(tmp_path, "--break", broken)
    assert status == 1, output
    expected = {row.name: "FAILED" if row.name == broken else "passed" for row in ROWS}
    assert dict(ROW.findall(output)) == expected, output


async def test_each_row_fails_without_its_rule_and_passes_with_it_in_any_order(mesh: Mesh) -> None:
    ground = ground_of(mesh)
    files = entries(ground.config_folder)
    async with aiohttp.ClientSession() as session:
        for row in reversed(ROWS):
            without = await play_row(row, ground, session, without_rule=True)
            assert not without.passed, without
            with_rule = await play_row(row, ground, session, without_rule=False)
            assert with_rule.passed, with_rule
            assert entries(ground.config_folder) == files


def ground_of(mesh: Mesh) -> Ground:
    plan = mesh.running.plan

    def place(name: str) -> Place:
        return Place(str(plan.envoy_admin(name)), Path(plan.log_of(name, "access.log")))

    return Ground(
        domain=DOMAIN,
        gateway_url=f"http://{plan.gateway}",
        config_folder=mesh.running.config_folder,
        gateway=place(GATEWAY_NAME),
        productpage=place("productpage-v1"),
        reviews=place("reviews-v2"),
        converged=mesh.running.wait_converged,
    )

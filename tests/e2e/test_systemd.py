"""A control plane and an agent as systemd would start them: they say when they are ready, and when they leave."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

pytestmark = [pytest.mark.e2e]
ADDRESS = "127.91.12.1"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((ADDRESS, 0))
        port: int = probe.getsockname()[1]
        return port


class Service:
    """A process of ours, and the datagrams that it sends to systemd."""

    def __init__(self, process: asyncio.subprocess.Process, heard: socket.socket) -> None:
        self.process = process
        self._heard = heard

    async def hears(self, word: str) -> str:
        """The next datagram that begins with ``word``."""
        async with asyncio.timeout(60):
            while True:
                told = (await asyncio.get_running_loop().sock_recv(self._heard, 4096)).decode()
                if told.startswith(word):
                    return told


@asynccontextmanager
async def a_service(folder: Path, *arguments: str) -> AsyncIterator[Service]:
    """``pilothouse`` with these arguments, with a socket as systemd gives."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.setblocking(False)
        heard.bind(str(folder / f"{arguments[0]}.notify"))
        environment = {**os.environ, "NOTIFY_SOCKET": str(folder / f"{arguments[0]}.notify")}
        command = (sys.executable, "-m", "pilothouse.cli.main", *arguments)
        process = await asyncio.create_subprocess_exec(*command, env=environment, cwd=folder)
        try:
            yield Service(process, heard)
        finally:
            if process.returncode is None:
                process.terminate()
            await process.wait()


async def test_control_plane_and_agent_say_when_they_are_ready_and_when_they_leave(tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    xds, admin, envoy, status, readiness, proxy = (str(free_port()) for _ in range(6))
    serve = ("serve", "--xds-address", f"{ADDRESS}:{xds}", "--admin-address", f"{ADDRESS}:{admin}")
    agent = (
        *("agent", "--name", "caller", "--address", ADDRESS, "--discovery", f"{ADDRESS}:{xds}"),
        *("--admin-port", envoy, "--status-port", status, "--readiness-port", readiness, "--http-proxy-port", proxy),
    )
    async with a_service(tmp_path, *serve) as control_plane:
        assert f"STATUS=xDS on {ADDRESS}:{xds}" in await control_plane.hears("READY=1")
        async with a_service(tmp_path, *agent) as sidecar:
            assert await sidecar.hears("READY=1") == "READY=1\nSTATUS=Envoy is ready"
            sidecar.process.send_signal(signal.SIGTERM)
            assert "STATUS=leaving" in await sidecar.hears("STOPPING=1")
            assert await sidecar.process.wait() == 0

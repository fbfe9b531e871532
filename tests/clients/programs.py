"""Clients in several languages: what a test runs, compiled once and kept outside the repository.

A toolchain that is missing fails the test that needs it: README names them as what the tests need.
"""

import asyncio
import hashlib
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
SECONDS = 60.0

URLLIB = """
import sys, urllib.request
with urllib.request.urlopen(sys.argv[1]) as answer:
    print(answer.status, answer.read().decode().strip())
"""
AIOHTTP = """
import asyncio, sys, aiohttp
async def main():
    async with aiohttp.ClientSession(trust_env=True) as session, session.get(sys.argv[1]) as answer:
        print(answer.status, (await answer.text()).strip())
asyncio.run(main())
"""
WEBSOCKET = """
import asyncio, sys, aiohttp
async def main():
    async with aiohttp.ClientSession(trust_env=True) as session, session.ws_connect(sys.argv[1]) as socket:
        await socket.send_str("ahoy")
        print(101, await socket.receive_str())
asyncio.run(main())
"""
GRPC = """
import sys, grpc
with grpc.insecure_channel(sys.argv[1]) as channel:
    call = channel.unary_unary("/test.Echo/Say", request_serializer=None, response_deserializer=None)
    print(0, call(b"ahoy", timeout=10).decode())
    stream = channel.unary_stream("/test.Echo/Count", request_serializer=None, response_deserializer=None)
    print(0, b" ".join(stream(b"3", timeout=10)).decode())
"""


@dataclass(frozen=True)
class Ended:
    """How a program ended."""

    status: int
    output: str
    errors: str


async def run(*command: str, environment: dict[str, str] | None = None) -> Ended:
    """Run a program to its end. Fails if that takes too long."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=pipe, env=environment)
    try:
        output, errors = await asyncio.wait_for(process.communicate(), SECONDS)
    except TimeoutError:
        process.kill()
        await process.wait()
        raise AssertionError(f"{command[0]} did not end within {SECONDS} s") from None
    return Ended(process.returncode or 0, output.decode().strip(), errors.decode().strip())


def tool(name: str) -> str:
    """Where a toolchain is."""
    found = shutil.which(name) or shutil.which(name, path="/usr/local/go/bin")
    assert found is not None, f"{name} is missing: README names what the tests need"
    return found


def kept(source: Path) -> Path:
    """A folder outside the repository for what is compiled from ``source``, named after its content."""
    digest = hashlib.blake2b(source.read_bytes(), digest_size=8).hexdigest()
    folder = Path(tempfile.gettempdir()) / "pilothouse-clients" / f"{source.stem}-{digest}"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


async def go_client() -> str:
    """The compiled Go client."""
    source = HERE / "client.go"
    binary = kept(source) / "client"
    if not binary.exists():
        built = await run(tool("go"), "build", "-o", str(binary), str(source))
        assert built.status == 0, built.errors
    return str(binary)


async def java_client() -> tuple[str, ...]:
    """The command of the compiled Java client."""
    source = HERE / "Client.java"
    folder = kept(source)
    if not (folder / "Client.class").exists():
        built = await run(tool("javac"), "-d", str(folder), str(source))
        assert built.status == 0, built.errors
    return (tool("java"), "-cp", str(folder), "Client")


def python(program: str) -> tuple[str, ...]:
    """A Python program as a command."""
    return (sys.executable, "-c", program)

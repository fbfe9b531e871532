"""The command line, the levers, and the process around an app."""

import asyncio
import os
import signal
import socket
import sys
from pathlib import Path

import pytest

import pilothouse_bookinfo
from pilothouse_bookinfo.serving import Settings, decode_settings, decode_slow_seconds

SOURCES = Path(pilothouse_bookinfo.__file__).parents[1]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


async def start_process(module, port, *arguments, address="127.0.0.1"):
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        f"pilothouse_bookinfo.{module}",
        "--address",
        address,
        "--port",
        str(port),
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(SOURCES)},
    )


def test_the_command_line_becomes_settings():
    arguments = ["--address", "127.44.0.3", "--port", "9082", "--version", "v3", "--domain", "service.consul"]
    settings = decode_settings("reviews", ("v1", "v2", "v3"), arguments)
    assert settings == Settings("reviews", "v3", "127.44.0.3", 9082, "service.consul")
    assert settings.label == "reviews-v3"
    assert settings.url("ratings", "/ratings/0") == "http://ratings.service.consul:9080/ratings/0"


def test_an_app_is_v1_in_service_mesh_unless_told():
    settings = decode_settings("details", (), [])
    assert (settings.version, settings.domain) == ("v1", "service.mesh")


@pytest.mark.parametrize(
    "arguments",
    [
        ["--port", "0"],
        ["--port", "65536"],
        ["--port", "http"],
        ["--version", "two"],
        ["--version", "v4"],
        ["--domain", "a/b"],
        ["--domain", "-x"],
    ],
)
def test_a_wrong_argument_is_refused(arguments, capsys):
    with pytest.raises(SystemExit) as stopped:
        decode_settings("reviews", ("v1", "v2", "v3"), arguments)
    assert stopped.value.code == 2
    assert arguments[0] in capsys.readouterr().err


@pytest.mark.parametrize("name", ["productpage", "details", "reviews", "ratings"])
async def test_every_app_is_healthy_and_signs_every_response(mesh, name):
    client = await mesh.start(name)
    for path, status in (("/health", 200), ("/nowhere", 404), ("/status/503", 503), ("/status/204", 204)):
        async with client.get(path) as response:
            assert response.status == status
            assert response.headers["x-app"] == f"{name}-v1"


@pytest.mark.parametrize("code", ["100", "600", "2000", "abc", "-200", "٢٠٠"])
async def test_a_status_that_is_none_is_refused(mesh, code):
    client = await mesh.start("details")
    async with client.get(f"/status/{code}") as response:
        assert response.status == 400


@pytest.mark.parametrize("seconds", ["soon", "-1", "nan", ""])
async def test_a_wait_that_is_none_is_refused(mesh, seconds):
    client = await mesh.start("details")
    async with client.get("/slow", params={"seconds": seconds}) as response:
        assert response.status == 400


@pytest.mark.parametrize(("told", "seconds"), [("0.5", 0.5), ("0", 0.0), ("60", 10.0), ("inf", 10.0)])
def test_slow_waits_as_told_and_at_most_ten_seconds(told, seconds):
    assert decode_slow_seconds(told) == seconds


async def test_slow_answers_200_when_it_has_waited(mesh):
    client = await mesh.start("productpage")
    async with client.get("/slow", params={"seconds": "0.01"}) as response:
        assert (response.status, await response.text()) == (200, "productpage-v1 answers after 0.01 s\n")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_the_process_with_code_0(number):
    port = free_port()
    process = await start_process("reviews", port, "--version", "v2")
    assert await process.stdout.readline() == f"reviews-v2 listens on 127.0.0.1:{port}\n".encode()
    process.send_signal(number)
    out, err = await asyncio.wait_for(process.communicate(), 30)
    assert (process.returncode, out, err) == (0, b"", b"")


async def test_a_request_in_flight_is_answered_before_the_process_ends():
    port = free_port()
    process = await start_process("ratings", port)
    await process.stdout.readline()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(
        b"GET /health HTTP/1.1\r\nHost: ratings\r\n\r\nGET /slow?seconds=0.5 HTTP/1.1\r\nHost: ratings\r\n\r\n"
    )
    await reader.readuntil(b"is serving\n")
    process.send_signal(signal.SIGTERM)
    assert b"answers after 0.5 s" in await asyncio.wait_for(reader.read(), 30)
    writer.close()
    assert await asyncio.wait_for(process.wait(), 30) == 0


async def test_a_request_that_takes_too_long_does_not_hold_the_process():
    port = free_port()
    process = await start_process("ratings", port)
    await process.stdout.readline()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /health HTTP/1.1\r\nHost: ratings\r\n\r\nGET /slow?seconds=10 HTTP/1.1\r\nHost: ratings\r\n\r\n")
    await reader.readuntil(b"is serving\n")
    process.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(reader.read(), 30) == b""
    writer.close()
    assert await asyncio.wait_for(process.wait(), 30) == 0
    assert await process.stderr.read() == b""


async def test_an_address_in_use_is_one_line_that_names_it():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        process = await start_process("details", port)
        out, err = await asyncio.wait_for(process.communicate(), 30)
    line = f"details-v1: cannot listen on 127.0.0.1:{port}: Address already in use\n"
    assert (process.returncode, out, err.decode()) == (1, b"", line)


async def test_an_address_that_is_not_ours_is_one_line_that_names_it():
    process = await start_process("details", 9081, address="192.0.2.1")
    out, err = await asyncio.wait_for(process.communicate(), 30)
    line = "details-v1: cannot listen on 192.0.2.1:9081: Cannot assign requested address\n"
    assert (process.returncode, out, err.decode()) == (1, b"", line)

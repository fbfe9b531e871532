"""Real clients in five languages against a real sidecar: who is proxied by which setting, as docs/clients.md says."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from pilothouse.agent.environment import proxy_environment
from pilothouse.model.proxy import Place
from tests.clients.programs import (
    AIOHTTP,
    GRPC,
    HERE,
    URLLIB,
    WEBSOCKET,
    Ended,
    go_client,
    java_client,
    python,
    run,
    tool,
)
from tests.envoy.proxying import Mesh, a_mesh, says

pytestmark = pytest.mark.envoy

NOTHING = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/tmp")}


@pytest.fixture
async def mesh() -> AsyncIterator[Mesh]:
    async with a_mesh() as mesh:
        yield mesh


@dataclass(frozen=True)
class Row:
    """A line of the table: how a client was told of its proxy, and what it printed."""

    told: str
    ended: Ended
    wanted: str

    @property
    def proxied(self) -> bool:
        return self.ended.status == 0 and self.wanted in self.ended.output


async def told(mesh: Mesh, names: str, *command: str, wanted: str) -> Row:
    """Run a client with only these variables of the environment that ``agent run`` sets."""
    chosen = proxy_environment(str(mesh.proxy), "", {})
    environment = NOTHING | {name: chosen[name] for name in names.split()}
    return Row(names, await run(*command, environment=environment), wanted)


async def test_which_client_honours_what(mesh: Mesh) -> None:
    """The table of docs/clients.md. A client that starts or stops honouring a variable changes the page."""
    url = f"http://{mesh.web.host}:{mesh.web.port}/x"
    answer = f"GET {mesh.web.host}:{mesh.web.port} /x"
    go, java = await go_client(), await java_client()
    curl = (tool("curl"), "-sS", "-m", "10", url)
    asked: list[tuple[str, str, tuple[str, ...], bool]] = [
        ("curl", "http_proxy", curl, True),
        ("curl", "HTTP_PROXY", curl, False),
        ("Python urllib", "http_proxy", (*python(URLLIB), url), True),
        ("Python urllib", "HTTP_PROXY", (*python(URLLIB), url), True),
        ("Python aiohttp, trust_env", "http_proxy", (*python(AIOHTTP), url), True),
        ("Python aiohttp, trust_env", "HTTP_PROXY", (*python(AIOHTTP), url), True),
        ("Go net/http", "http_proxy", (go, url), True),
        ("Go net/http", "HTTP_PROXY", (go, url), True),
        (
            "Node 20 fetch",
            "http_proxy HTTP_PROXY NODE_USE_ENV_PROXY",
            (tool("node"), str(HERE / "fetch.mjs"), url),
            False,
        ),
        ("Node 20 node:http, proxy by hand", "HTTP_PROXY", (tool("node"), str(HERE / "request.mjs"), url), True),
        ("Java HttpClient", "http_proxy HTTP_PROXY", (*java, "HttpClient", url), False),
        ("Java HttpClient", "JAVA_TOOL_OPTIONS", (*java, "HttpClient", url), True),
        ("Java HttpURLConnection", "http_proxy HTTP_PROXY", (*java, "HttpURLConnection", url), False),
        ("Java HttpURLConnection", "JAVA_TOOL_OPTIONS", (*java, "HttpURLConnection", url), True),
    ]
    grpc_target = f"{mesh.echo.host}:{mesh.echo.port}"
    rows = [(name, await told(mesh, names, *command, wanted=answer), wanted) for name, names, command, wanted in asked]
    for names, wanted in (("http_proxy", True), ("HTTP_PROXY", False), ("grpc_proxy", True)):
        row = await told(mesh, names, *python(GRPC), grpc_target, wanted="0 echo ahoy\n0 0 1 2")
        rows.append(("Python grpcio", row, wanted))
    print("\n" + "\n".join(f"{n:34} {row.told:44} {'proxied' if row.proxied else 'direct'}" for n, row, _ in rows))
    wrong = [(name, row.told, row.ended) for name, row, wanted in rows if row.proxied is not wanted]
    assert not wrong, wrong


async def test_agent_run_sets_it_right_for_every_client_and_passes_the_status_on(mesh: Mesh) -> None:
    url = f"http://{mesh.web.host}:{mesh.web.port}/x"
    clients = (
        (tool("curl"), "-sS", "-m", "10", url),
        (*python(URLLIB), url),
        (*python(AIOHTTP), url),
        (await go_client(), url),
        (*await java_client(), "HttpClient", url),
    )
    agent = (sys.executable, "-m", "pilothouse.cli.main", "agent", "run", "--proxy", str(mesh.proxy), "--")
    for client in clients:
        ended = await run(*agent, *client, environment=NOTHING)
        assert f"GET {mesh.web.host}:{mesh.web.port} /x" in ended.output, ended
        assert ended.status == 0
    grpc = await run(*agent, *python(GRPC), f"{mesh.echo.host}:{mesh.echo.port}", environment=NOTHING)
    assert grpc.output == "0 echo ahoy\n0 0 1 2", grpc
    assert (await run(*agent, "sh", "-c", "exit 7", environment=NOTHING)).status == 7


async def curl(mesh: Mesh, *arguments: str) -> Ended:
    return await run(tool("curl"), "-sS", "-m", "15", "-x", f"http://{mesh.proxy}", *arguments)


async def test_tunnels_to_mesh_hosts_are_routed_as_http_one_and_two(mesh: Mesh) -> None:
    url = f"http://{mesh.web.host}:{mesh.web.port}/inside"
    for how in ((), ("-p",), ("-p", "--http2-prior-knowledge")):
        ended = await curl(mesh, *how, url)
        assert ended.output == f"GET {mesh.web.host}:{mesh.web.port} /inside", (how, ended)
    asked = await run(
        tool("curl"), "-sS", "-m", "15", "--http2-prior-knowledge", "-H", f"host: {mesh.web.host}:{mesh.web.port}",
        f"http://{mesh.proxy}/prior",
    )  # fmt: skip
    assert asked.output == f"GET {mesh.web.host}:{mesh.web.port} /prior", asked


async def test_a_body_is_streamed_and_a_connection_serves_many_requests(mesh: Mesh) -> None:
    base = f"http://{mesh.web.host}:{mesh.web.port}"
    body = "x" * 300_000
    ended = await run(
        *python(
            "import sys, urllib.request as u\n"
            "r = u.Request(sys.argv[1], data=b'x' * 300000, method='POST')\n"
            "print(len(u.urlopen(r).read()))"
        ),
        f"{base}/stream",
        environment=NOTHING | {"http_proxy": f"http://{mesh.proxy}"},
    )
    assert ended.output == str(len(body) + 3), ended
    several = await curl(mesh, "-w", "\n%{num_connects}\n", f"{base}/1", f"{base}/2", f"{base}/3")
    assert several.output.split()[-1] == "0", "the third request used the connection of the first"


async def test_websockets_pass_both_sides(mesh: Mesh) -> None:
    environment = NOTHING | {"http_proxy": f"http://{mesh.proxy}"}
    url = f"http://{mesh.web.host}:{mesh.web.port}/ws"
    ended = await run(*python(WEBSOCKET), url, environment=environment)
    assert ended.output == "101 echo ahoy", ended


async def test_tcp_services_are_reached_by_the_listener_that_the_agent_asked_for(mesh: Mesh) -> None:
    assert await says(mesh.tcp, b"select 1\n") == b"SELECT 1\n"


async def test_tcp_services_are_reached_by_connect(mesh: Mesh) -> None:
    reader, writer = await asyncio.open_connection(mesh.proxy.address, mesh.proxy.port)
    writer.write(b"CONNECT db.service.mesh:5432 HTTP/1.1\r\nHost: db.service.mesh:5432\r\n\r\n")
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
    assert head.startswith(b"HTTP/1.1 200")
    writer.write(b"select 2\n")
    assert await asyncio.wait_for(reader.readline(), 10) == b"SELECT 2\n"
    writer.close()
    refused = await curl(mesh, "http://db.service.mesh:5432/")
    assert "not an HTTP port" in refused.output
    assert refused.output.endswith("db.service.mesh:5432")


def test_places_print_as_urls_want_them() -> None:
    assert str(Place("::1", 1)) == "[::1]:1"

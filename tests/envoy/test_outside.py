"""Hosts outside the mesh through a real sidecar: forwarded to, refused by name, and never what must not be reached."""

import pytest

from pilothouse.model.proxy import Place
from pilothouse.model.world import OutboundPolicy
from tests.clients.programs import Ended, run, tool
from tests.envoy.proxying import Mesh, a_mesh, a_name_server, a_web_app

pytestmark = pytest.mark.envoy

OUTSIDE, NEAR = "127.44.9.1", "127.0.0.9"
"""Stand for the world outside (where a name server of the test is used), and for loopback."""


async def curl(mesh: Mesh, *arguments: str) -> Ended:
    """A request through the proxy port; the answer's body, and its status in the last line."""
    return await run(
        tool("curl"), "-s", "-m", "10", "-w", "\n%{http_code}/%{http_connect}", "-x", f"http://{mesh.proxy}", *arguments
    )


async def test_hosts_outside_are_resolved_and_forwarded_to() -> None:
    async with (
        a_name_server(shop=(OUTSIDE,)) as resolver,
        a_web_app(OUTSIDE) as port,
        a_mesh(resolver=resolver) as mesh,
    ):
        plain = await curl(mesh, f"http://shop.example.com:{port}/a")
        assert plain.output == f"GET shop.example.com:{port} /a\n200/000"
        tunnelled = await curl(mesh, "-p", f"http://shop.example.com:{port}/b")
        assert tunnelled.output == f"GET shop.example.com:{port} /b\n200/200"


async def test_an_unknown_name_is_answered_by_name() -> None:
    async with a_name_server() as resolver, a_mesh(resolver=resolver) as mesh:
        ended = await curl(mesh, "http://nobody.example.com/")
        assert ended.output.startswith("pilothouse: nobody.example.com is no service of the mesh")
        assert ended.output.endswith("502/000")


async def test_names_that_resolve_to_where_they_must_not_are_refused() -> None:
    """Every answer is filtered, so a second address behind a harmless first one is no way in either."""
    async with (
        a_name_server(
            near=(NEAR,), metadata=("169.254.169.254",), nowhere=("0.0.0.0",), many=("224.0.0.1",), two=(OUTSIDE, NEAR)
        ) as resolver,
        a_web_app(NEAR) as port,
        a_mesh(resolver=resolver) as mesh,
    ):
        for name in ("near", "metadata", "nowhere", "many"):
            for how in ((), ("-p",)):
                ended = await curl(mesh, *how, f"http://{name}.example.com:{port}/")
                assert ended.output.endswith("/502" if how else "502/000"), (name, ended)
        two = await curl(mesh, f"http://two.example.com:{port}/")
        assert two.output.endswith("503/000"), "the address that may be reached refuses, the other is never tried"


@pytest.mark.parametrize(
    "authority",
    ["127.0.0.9", "0.0.0.0", "[::1]", "[::ffff:127.0.0.9]", "169.254.169.254", "2130706441", "0x7f000009", "localhost"],
)
async def test_literal_addresses_are_refused_in_every_spelling(authority: str) -> None:
    async with a_web_app(NEAR) as port, a_mesh() as mesh:
        for how in ((), ("-p",)):
            ended = await curl(mesh, *how, f"http://{authority}:{port}/")
            assert ended.output.endswith("/502" if how else "502/000"), ended


async def test_a_request_for_the_proxy_port_itself_ends_at_once() -> None:
    """Without the guard it would go round through the listener without end."""
    async with a_mesh() as mesh:
        for how in ((), ("-p",)):
            ended = await curl(mesh, *how, f"http://{mesh.proxy}/loop")
            assert ended.output.endswith("/502" if how else "502/000"), ended
        _, stats = await mesh.envoy.admin("/stats?filter=cluster.PassthroughCluster.*upstream_cx_total")
        assert stats.strip().endswith(": 0")


async def test_own_address_and_what_steers_the_proxy_are_refused_also_by_name() -> None:
    guarded = (Place("10.77.0.2", 15010),)
    names = a_name_server(own=("10.77.0.1",), plane=("10.77.0.2",), shop=(OUTSIDE,))
    async with (
        names as resolver,
        a_web_app(OUTSIDE) as port,
        a_mesh(resolver=resolver, address="10.77.0.1", guarded=guarded) as mesh,
    ):
        for authority in ("own.example.com", "10.77.0.1:9", "plane.example.com:15010", "10.77.0.2:15010"):
            for how in ((), ("-p",)):
                ended = await curl(mesh, *how, f"http://{authority}/")
                assert ended.output.endswith("/403" if how else "403/000"), (authority, ended)
        assert (await curl(mesh, f"http://shop.example.com:{port}/")).output.endswith("200/000")


async def test_registry_only_answers_with_the_name_of_the_host() -> None:
    async with a_mesh(OutboundPolicy.REGISTRY_ONLY) as mesh:
        ended = await curl(mesh, "http://shop.example.com/x")
        body = "pilothouse: no service of the mesh has the host and port of this request: shop.example.com"
        assert ended.output == f"{body}\n\n502/000"
        tunnel = await curl(mesh, "-p", "http://shop.example.com/x")
        assert tunnel.output.endswith("/502")
        assert (await curl(mesh, f"http://{mesh.web.host}:{mesh.web.port}/")).output.endswith("200/000")

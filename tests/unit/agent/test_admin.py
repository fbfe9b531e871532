"""What Envoy's admin interface says, read from bodies as Envoy 1.40 writes them, and what is said without an answer."""

import os
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web

from pilothouse.agent.admin import (
    AdminUnavailable,
    EnvoyAdmin,
    Memory,
    ServerInfo,
    decode_listeners,
    decode_memory,
    decode_server_info,
    decode_stats,
    read_memory,
)
from pilothouse.agent.settings import Listen
from tests.unit.agent.support import free_ports

LISTENERS = b"""{"listener_statuses":[
 {"name":"a","local_address":{"socket_address":{"address":"127.0.0.2","port_value":15006}},
  "additional_local_addresses":[{"socket_address":{"address":"::1","port_value":15006}}]},
 {"name":"internal","local_address":{"envoy_internal_address":{"server_listener_name":"x"}}},
 {"name":"pipe","local_address":{"pipe":{"path":"/x"}}}]}"""
STATS = b"""{"stats":[{"name":"http.in.downstream_rq_active","value":2},{"name":"text","value":"words"},
 {"histograms":{"supported_quantiles":[0,25],"computed_quantiles":[]}}]}"""
SMAPS = """55d2-7ffc ---p 00000000 00:00 0  [rollup]
Rss:               68368 kB
Pss:               23100 kB
Private_Clean:       100 kB
Private_Dirty:     15500 kB
"""


def test_listeners_are_read_with_all_their_addresses() -> None:
    assert decode_listeners(LISTENERS) == {Listen("127.0.0.2", 15006), Listen("::1", 15006)}
    assert decode_listeners(b"{}") == frozenset()


def test_stats_are_numbers_by_name() -> None:
    assert decode_stats(STATS) == {"http.in.downstream_rq_active": 2}


def test_the_server_s_state_and_version() -> None:
    body = b'{"version":"9e55/1.40.0/Clean/RELEASE/BoringSSL","state":"LIVE","uptime_current_epoch":"3s"}'
    assert decode_server_info(body) == ServerInfo("LIVE", "1.40.0")
    assert decode_server_info(b'{"version":"custom","state":"LIVE"}').version == "custom"


def test_memory_is_read_from_the_kernel_s_summary() -> None:
    assert decode_memory(SMAPS) == Memory(rss_kib=68368, pss_kib=23100, private_kib=15600)
    assert read_memory(os.getpid()).rss_kib > 0
    assert read_memory(2**22 + 1) == Memory()


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(trust_env=False) as session:
        yield session


async def test_no_answer_is_one_kind_of_error(session: aiohttp.ClientSession) -> None:
    admin = EnvoyAdmin(session, Listen("127.0.0.1", free_ports(1)[0]))
    for question in (admin.ready(), admin.server_info(), admin.listeners(), admin.stats("x"), admin.drain()):
        with pytest.raises(AdminUnavailable, match="does not answer"):
            await question


@pytest.mark.parametrize("status", [200, 500])
async def test_an_answer_that_is_not_envoy_s_is_the_same_error(session: aiohttp.ClientSession, status: int) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(text="<html>", status=status)

    app = web.Application()
    app.add_routes([web.get("/{tail:.*}", answer), web.post("/{tail:.*}", answer)])
    runner = web.AppRunner(app)
    await runner.setup()
    (port,) = free_ports(1)
    await web.TCPSite(runner, "127.0.0.1", port).start()
    admin = EnvoyAdmin(session, Listen("127.0.0.1", port))
    for question in (admin.server_info(), admin.listeners(), admin.stats("x")):
        with pytest.raises(AdminUnavailable):
            await question
    if status == 500:
        for asked in (admin.prometheus(), admin.drain()):
            with pytest.raises(AdminUnavailable):
                await asked
    await runner.cleanup()

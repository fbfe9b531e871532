"""Whether ports are free, also where Envoy itself would share them in silence."""

import asyncio
import socket
from pathlib import Path

import pytest

from pilothouse.agent.ports import require_free, why_not_bindable
from pilothouse.agent.settings import Listen, uses_of
from pilothouse.aio.tasks import Tasks
from pilothouse.kit.errors import PortInUse
from tests.unit.agent.support import a_settings, free_ports


def held(where: Listen, *, shared: bool = False) -> socket.socket:
    return socket.create_server((where.address, where.port), reuse_port=shared)


async def test_free_ports_pass(tmp_path: Path) -> None:
    await require_free(uses_of(a_settings(tmp_path)), 0)


@pytest.mark.parametrize("which", ["admin", "status", "readiness", "http_proxy", "inbound"])
async def test_each_use_is_named(tmp_path: Path, which: str) -> None:
    settings = a_settings(tmp_path, http_proxy_port=free_ports(1)[0])
    where = settings.envoy_listeners[0] if which == "inbound" else getattr(settings, which)
    with held(where), pytest.raises(PortInUse, match=f"^{where} is in use"):
        await require_free(uses_of(settings), 0)


def test_a_port_that_another_envoy_would_share_is_in_use() -> None:
    where = Listen("127.0.0.1", free_ports(1)[0])
    with held(where, shared=True):
        assert why_not_bindable(where) is not None
    assert why_not_bindable(where) is None


async def test_a_port_that_becomes_free_is_waited_for() -> None:
    where = Listen("127.0.0.1", free_ports(1)[0])
    holder = held(where)
    async with Tasks() as tasks:
        waiting = tasks.start("wait", require_free((("readiness", where),), 60.0))
        await asyncio.sleep(0)
        assert not waiting.done()
        holder.close()
        await asyncio.wait_for(waiting, 10)


async def test_an_address_of_another_machine_is_not_waited_for() -> None:
    with pytest.raises(PortInUse, match="no address of this machine"):
        await asyncio.wait_for(require_free((("readiness", Listen("192.0.2.1", 1025)),), 3600.0), 10)

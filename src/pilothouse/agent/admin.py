"""A small client of Envoy's admin interface, and what the kernel says of Envoy's memory.

Answers "is it live, what does it listen on, what do its counters say". Pure ``decode_*`` functions read the bodies;
the client only fetches. It asks loopback directly and never follows HTTP_PROXY, which the app's environment may set.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeAlias, TypeVar
from urllib.parse import quote

import aiohttp
import msgspec

from pilothouse.agent.settings import Listen
from pilothouse.kit.errors import PilothouseError

ADMIN_SECONDS: Final = 2.0
"""How long an answer may take. Envoy's main thread answers, and a large update may hold it for a while."""

ADMIN_TIMEOUT: Final = aiohttp.ClientTimeout(total=ADMIN_SECONDS)
EACH_ANEW: Final = {"Connection": "close"}
"""A kept connection would go on asking the old epoch after a hot restart has given the interface to the next one."""


class AdminUnavailable(PilothouseError):
    """Envoy's admin interface did not answer, or not as expected."""


class ServerInfo(msgspec.Struct, frozen=True):
    """What ``/server_info`` says, as far as it is used. ``state`` is LIVE, DRAINING, PRE_INITIALIZING, INITIALIZING.

    ``epoch`` tells who answers: during a hot restart, the admin interface goes over to the next epoch.
    """

    state: str
    version: str = ""
    epoch: int = 0


class _Options(msgspec.Struct):
    restart_epoch: int = 0


class _Info(msgspec.Struct):
    state: str
    version: str = ""
    command_line_options: _Options = msgspec.field(default_factory=_Options)


class Memory(msgspec.Struct, frozen=True):
    """A process's memory in KiB: resident, proportional (shared pages divided), and private."""

    rss_kib: int = 0
    pss_kib: int = 0
    private_kib: int = 0


class _SocketAddress(msgspec.Struct):
    address: str
    port_value: int = 0


class _Address(msgspec.Struct):
    socket_address: _SocketAddress | None = None


class _ListenerStatus(msgspec.Struct):
    local_address: _Address | None = None
    additional_local_addresses: list[_Address] = msgspec.field(default_factory=list)


class _Listeners(msgspec.Struct):
    listener_statuses: list[_ListenerStatus] = msgspec.field(default_factory=list)


class _Stat(msgspec.Struct):
    name: str = ""
    value: int | float | str = 0


class _Stats(msgspec.Struct):
    stats: list[_Stat] = msgspec.field(default_factory=list)


T = TypeVar("T")
Stats: TypeAlias = dict[str, int]

_VERSION_PART = re.compile(r"^[^/]*/([^/]+)/")


def decode_server_info(body: bytes) -> ServerInfo:
    """The answer of ``/server_info``; the version without commit and build."""
    info = msgspec.json.decode(body, type=_Info)
    found = _VERSION_PART.match(info.version)
    version = found.group(1) if found else info.version
    return ServerInfo(info.state, version, info.command_line_options.restart_epoch)


def decode_listeners(body: bytes) -> frozenset[Listen]:
    """Every address of the active listeners in ``/listeners?format=json``. Those that still warm are not in it."""
    listeners = msgspec.json.decode(body, type=_Listeners).listener_statuses
    addresses = [a for one in listeners for a in (one.local_address, *one.additional_local_addresses)]
    sockets = [a.socket_address for a in addresses if a is not None and a.socket_address is not None]
    return frozenset(Listen(socket.address, socket.port_value) for socket in sockets)


def decode_stats(body: bytes) -> Stats:
    """Counters and gauges in ``/stats?format=json``; histograms and texts are left out."""
    stats = msgspec.json.decode(body, type=_Stats).stats
    return {one.name: int(one.value) for one in stats if one.name and not isinstance(one.value, str)}


def decode_memory(text: str) -> Memory:
    """``/proc/PID/smaps_rollup``: lines such as ``Rss:  68368 kB``."""
    fields: dict[str, int] = {}
    for line in text.splitlines():
        name, _, rest = line.partition(":")
        words = rest.split()
        if len(words) == 2 and words[1] == "kB":
            fields[name] = int(words[0])
    private = fields.get("Private_Clean", 0) + fields.get("Private_Dirty", 0)
    return Memory(fields.get("Rss", 0), fields.get("Pss", 0), private)


def read_memory(pid: int | str) -> Memory:
    """The memory of a process; zeros where the kernel does not tell (no such process, or not Linux)."""
    try:
        return decode_memory(Path(f"/proc/{pid}/smaps_rollup").read_text())
    except OSError:
        return Memory()


class EnvoyAdmin:
    """Questions to one Envoy. Every method raises ``AdminUnavailable`` if there is no usable answer."""

    def __init__(self, session: aiohttp.ClientSession, where: Listen) -> None:
        self._session = session
        self.where = where

    async def ready(self) -> tuple[bool, str]:
        """Whether Envoy is LIVE, and the word that it says itself."""
        status, body = await self._fetch("GET", "/ready")
        return status == 200, body.decode(errors="replace").strip()

    async def server_info(self) -> ServerInfo:
        """State and version."""
        return self._decoded(decode_server_info, await self._fetch("GET", "/server_info"))

    async def listeners(self) -> frozenset[Listen]:
        """The addresses where Envoy accepts connections."""
        return self._decoded(decode_listeners, await self._fetch("GET", "/listeners?format=json"))

    async def stats(self, pattern: str) -> Stats:
        """Counters and gauges whose name matches the regular expression ``pattern``."""
        path = f"/stats?format=json&filter={quote(pattern)}"
        return self._decoded(decode_stats, await self._fetch("GET", path))

    async def prometheus(self) -> bytes:
        """Envoy's metrics in Prometheus' text format, those that were ever used."""
        status, body = await self._fetch("GET", "/stats/prometheus?usedonly")
        if status != 200:
            raise AdminUnavailable(f"Envoy answered {status} for its metrics")
        return body

    async def drain(self) -> None:
        """Begin to drain: connections are told to close after their request; the listeners stay open meanwhile."""
        status, _ = await self._fetch("POST", "/drain_listeners?graceful&skip_exit")
        if status != 200:
            raise AdminUnavailable(f"Envoy answered {status} when told to drain")

    async def _fetch(self, method: str, path: str) -> tuple[int, bytes]:
        try:
            async with self._session.request(
                method, f"http://{self.where}{path}", timeout=ADMIN_TIMEOUT, headers=EACH_ANEW
            ) as response:
                return response.status, await response.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise AdminUnavailable(f"Envoy's admin interface at {self.where} does not answer: {error}") from error

    def _decoded(self, decode: Callable[[bytes], T], answer: tuple[int, bytes]) -> T:
        status, body = answer
        if status != 200:
            raise AdminUnavailable(f"Envoy's admin interface at {self.where} answered {status}")
        try:
            return decode(body)
        except msgspec.DecodeError as error:
            raise AdminUnavailable(f"Envoy's admin interface at {self.where} answered in an unknown form") from error

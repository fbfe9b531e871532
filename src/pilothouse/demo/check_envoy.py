"""What does an Envoy itself say of the traffic that it carried?

``EnvoyWitness`` asks one Envoy's admin interface for counters, for the health of endpoints and for what
rules did to its active configuration, and reads the access log that its agent keeps. It only reads, and asks loopback
directly: our own clients never follow ``HTTP_PROXY``. What an answer proves is decided by the rows, not here.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import quote

import aiohttp
import msgspec

from pilothouse.agent.admin import AdminUnavailable, decode_stats

T = TypeVar("T")

ADMIN_SECONDS: Final = 5.0
"""How long one answer may take; a configuration dump of a busy Envoy takes a while on a small machine."""
POLL_SECONDS: Final = 0.05


@dataclass(frozen=True, slots=True)
class LogLine:
    """One request in an access log of Istio's default format. ``text`` is the line as it stands in the file."""

    method: str
    path: str
    status: int
    flags: frozenset[str]
    details: str
    user_agent: str
    authority: str
    cluster: str
    route: str
    text: str


@dataclass(frozen=True, slots=True)
class Mark:
    """A place in an access log: the file's inode (0 if there was none) and the length that it had."""

    inode: int = 0
    offset: int = 0


_LINE: Final = re.compile(
    r'\[(?P<start>[^\]]*)\] "(?P<method>\S+) (?P<path>\S+) (?P<protocol>[^"]*)" (?P<status>\d+) (?P<flags>\S+) '
    r'(?P<details>\S+) (?P<termination>.+?) "(?P<failure>[^"]*)" \d+ \d+ \d+ \S+ "(?P<forwarded>[^"]*)" '
    r'"(?P<agent>[^"]*)" "(?P<id>[^"]*)" "(?P<authority>[^"]*)" "(?P<upstream>[^"]*)" (?P<cluster>\S+) '
    r"\S+ \S+ \S+ \S+ (?P<route>.*)"
)


def decode_line(text: str) -> LogLine | None:
    """The request of one line; None for a line in another format."""
    found = _LINE.fullmatch(text.rstrip("\n"))
    if found is None:
        return None
    flags = found["flags"]
    return LogLine(
        method=found["method"],
        path=found["path"],
        status=int(found["status"]),
        flags=frozenset() if flags == "-" else frozenset(flags.split(",")),
        details=found["details"],
        user_agent=found["agent"],
        authority=found["authority"],
        cluster=found["cluster"],
        route=found["route"],
        text=found.string,
    )


def decode_effects(body: bytes) -> frozenset[str]:
    """What rules have done to the configuration that Envoy uses now, from ``/config_dump``.

    ``virtual-service/NAME`` for each VirtualService that made a route; ``CLUSTER max_connections N`` and ``CLUSTER
    outlier_detection`` for each active cluster with such a policy. Warming clusters do not count. (The DestinationRule
    that a cluster names in its metadata is only the first of those that were merged.)
    """
    sections: list[dict[str, Any]] = msgspec.json.decode(body).get("configs", [])
    return frozenset(one for section in sections for one in (*_cluster_effects(section), *_route_effects(section)))


def _cluster_effects(section: dict[str, Any]) -> Iterator[str]:
    for active in section.get("dynamic_active_clusters", ()):
        cluster = active.get("cluster", {})
        name = cluster.get("name", "")
        for threshold in cluster.get("circuit_breakers", {}).get("thresholds", ()):
            yield f"{name} max_connections {threshold.get('max_connections')}"
        if "outlier_detection" in cluster:
            yield f"{name} outlier_detection"


def _route_effects(section: dict[str, Any]) -> Iterator[str]:
    for table in section.get("dynamic_route_configs", ()):
        for host in table.get("route_config", {}).get("virtual_hosts", ()):
            for route in host.get("routes", ()):
                rule = route.get("metadata", {}).get("filter_metadata", {}).get("istio", {}).get("config", "")
                if rule:
                    yield "/".join(str(rule).split("/")[-2:])


def decode_ejected(body: bytes, cluster: str) -> frozenset[str]:
    """The ``address:port`` of each endpoint of ``cluster`` that outlier detection ejected (``/clusters``, as JSON)."""
    clusters = msgspec.json.decode(body).get("cluster_statuses", [])
    hosts = [host for one in clusters if one.get("name") == cluster for host in one.get("host_statuses", ())]
    return frozenset(_endpoint(host) for host in hosts if host.get("health_status", {}).get("failed_outlier_check"))


def _endpoint(host: dict[str, Any]) -> str:
    socket = host.get("address", {}).get("socket_address", {})
    return f"{socket.get('address', '')}:{socket.get('port_value', 0)}"


class EnvoyWitness:
    """One Envoy: its admin interface at ``admin`` (``HOST:PORT``) and its ``access_log``.

    Methods that ask Envoy raise ``AdminUnavailable`` where there is no usable answer.
    """

    def __init__(self, session: aiohttp.ClientSession, admin: str, access_log: Path) -> None:
        self._session = session
        self._admin = admin
        self._access_log = access_log

    async def counter(self, name: str) -> int:
        """The value of the counter or gauge called ``name``; 0 where Envoy has none of that name yet."""
        return (await self.counters(f"^{re.escape(name)}$")).get(name, 0)

    async def counters(self, pattern: str) -> dict[str, int]:
        """All counters and gauges whose name matches the regular expression ``pattern``."""
        return await self._ask(f"/stats?format=json&filter={quote(pattern, safe='')}", decode_stats)

    async def effects(self) -> frozenset[str]:
        """What rules have done to Envoy's active configuration, as ``decode_effects`` words it."""
        return await self._ask("/config_dump", decode_effects)

    async def ejected(self, cluster: str) -> frozenset[str]:
        """The endpoints of ``cluster`` that outlier detection keeps out."""
        return await self._ask("/clusters?format=json", lambda body: decode_ejected(body, cluster))

    async def mark(self) -> Mark:
        """The present end of the access log."""
        return await asyncio.to_thread(_end_of, self._access_log)

    async def lines(self, since: Mark) -> tuple[LogLine, ...]:
        """The requests that were logged after ``since``, oldest first, also if the log was rotated once meanwhile."""
        text = await asyncio.to_thread(_text_since, self._access_log, since)
        return tuple(line for line in map(decode_line, text.splitlines()) if line is not None)

    async def lines_where(
        self, since: Mark, wanted: Callable[[LogLine], bool], *, count: int, within: float
    ) -> tuple[LogLine, ...]:
        """The lines after ``since`` that are ``wanted``, once there are ``count`` or ``within`` seconds have passed.

        Envoy writes a line when the request has ended, and hands lines out in batches.
        """

        async def enough() -> tuple[LogLine, ...] | None:
            found = [line for line in await self.lines(since) if wanted(line)]
            return tuple(found) if len(found) >= count else None

        found = await until(enough, within)
        return found if found is not None else tuple(line for line in await self.lines(since) if wanted(line))

    async def _ask(self, path: str, decode: Callable[[bytes], T]) -> T:
        try:
            async with self._session.get(
                f"http://{self._admin}{path}", timeout=aiohttp.ClientTimeout(total=ADMIN_SECONDS)
            ) as response:
                body = await response.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise AdminUnavailable(f"Envoy's admin interface at {self._admin} does not answer: {error}") from error
        if response.status != 200:
            raise AdminUnavailable(f"Envoy's admin interface at {self._admin} answered {response.status} for {path}")
        try:
            return decode(body)
        except msgspec.DecodeError as error:
            raise AdminUnavailable(f"Envoy's admin interface at {self._admin} answered in an unknown form") from error


async def until(probe: Callable[[], Awaitable[T | None]], within: float) -> T | None:
    """The first value of ``probe`` that is not None; None if ``within`` seconds have passed. Asks at least once."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + within
    while True:
        value = await probe()
        if value is not None or loop.time() >= deadline:
            return value
        await asyncio.sleep(POLL_SECONDS)


def _end_of(path: Path) -> Mark:
    try:
        stat = path.stat()
    except FileNotFoundError:
        return Mark()
    return Mark(stat.st_ino, stat.st_size)


def _text_since(path: Path, mark: Mark) -> str:
    """What was written after ``mark``, whole lines only. The agent moves a full file to ``NAME.1``."""
    current = _end_of(path)
    if not mark.inode or current.inode == mark.inode:
        return _read_from(path, mark.offset)
    rotated = path.with_name(path.name + ".1")
    before = _read_from(rotated, mark.offset) if _end_of(rotated).inode == mark.inode else ""
    return before + _read_from(path, 0)


def _read_from(path: Path, offset: int) -> str:
    try:
        with path.open("rb") as file:
            file.seek(offset)
            body = file.read()
    except FileNotFoundError:
        return ""
    return body[: body.rfind(b"\n") + 1].decode(errors="replace")

"""Are the ports of a plan free, and if one is not, who holds it and which base port would do?

Asked before anything is started, because a mesh that comes up by halves is worse than a clear answer. It binds each
port for an instant and listens on none; on Linux it reads from ``/proc`` who listens.
"""

import errno
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from pilothouse.agent.settings import Listen
from pilothouse.demo.plan import MeshPlan
from pilothouse.kit.errors import PortInUse, SettingsError

MOST_NAMED: Final = 5
STEP: Final = 100
"""Between the base ports that are proposed: it keeps two meshes' ports apart."""
_LISTEN_STATE: Final = "0A"


def require_free_ports(plan: MeshPlan) -> None:
    """Return if every port of ``plan`` can be bound. Raises PortInUse that names those which cannot and a way out."""
    taken = [(use, where, error) for use, where in plan.uses() if (error := why_not_bindable(where)) is not None]
    if not taken:
        return
    lines = [f"{where} ({use}): {explain(where, error)}" for use, where, error in taken[:MOST_NAMED]]
    if len(taken) > MOST_NAMED:
        lines.append(f"and {len(taken) - MOST_NAMED} more")
    head = "the mesh cannot start, because ports are not free:"
    raise PortInUse("\n".join((head, *lines, way_out(plan, taken[0][2]))))


def why_not_bindable(where: Listen) -> OSError | None:
    """Why ``where`` cannot be bound now; None if it can. Connections that linger after a close do not count."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((where.address, where.port))
        except OSError as error:
            return error
    return None


def explain(where: Listen, error: OSError) -> str:
    """What stands in the way, in words."""
    match error.errno:
        case errno.EADDRINUSE:
            return f"in use by {holder(where) or 'a process of another user'}"
        case errno.EACCES:
            return "ports below 1024 are for root"
        case errno.EADDRNOTAVAIL:
            return "this machine has no such address"
        case _:
            return error.strerror or str(error)


def way_out(plan: MeshPlan, error: OSError) -> str:
    """The sentence that follows the list."""
    if error.errno == errno.EADDRNOTAVAIL:
        return "The demo needs the addresses 127.44.0.1 to .9; Linux has them, macOS needs `ifconfig lo0 alias`."
    free = next(proposals(plan), None)
    if free is None:
        return "End what holds them, or move the mesh with --port."
    return f"End what holds them, or move the whole mesh: pilothouse up --port {free}"


def proposals(plan: MeshPlan) -> Iterator[int]:
    """Base ports near the plan's where everything is free."""
    for port in range(max(plan.port, 1024) + STEP, max(plan.port, 1024) + 20 * STEP, STEP):
        try:
            other = MeshPlan.of(port, plan.folder, plan.config_folder)
        except SettingsError:
            return
        if all(why_not_bindable(where) is None for _, where in other.uses()):
            yield port


def holder(where: Listen) -> str:
    """``name (process 123)`` of who listens on ``where`` or on all addresses at its port; empty if that is not told."""
    inodes = listening_inodes(Path("/proc/net/tcp"), where)
    for pid in sorted(int(path.name) for path in Path("/proc").glob("[0-9]*")) if inodes else ():
        if any(inode in inodes for inode in socket_inodes(pid)):
            return f"{command_of(pid)} (process {pid})"
    return ""


def listening_inodes(table: Path, where: Listen) -> frozenset[str]:
    """The inodes of the listening IPv4 sockets in ``/proc/net/tcp`` that stand in the way of ``where``."""
    try:
        rows = [line.split() for line in table.read_text().splitlines()[1:]]
    except OSError:
        return frozenset()
    address = socket.inet_aton(where.address)[::-1].hex().upper()
    wanted = {f"{one}:{where.port:04X}" for one in (address, "00000000")}
    return frozenset(row[9] for row in rows if len(row) > 9 and row[1] in wanted and row[3] == _LISTEN_STATE)


def socket_inodes(pid: int) -> Iterator[str]:
    """The inodes of the sockets that a process has open; none if it may not be looked into."""
    try:
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            target = str(descriptor.readlink())
            if target.startswith("socket:["):
                yield target[8:-1]
    except OSError:
        return


def command_of(pid: int) -> str:
    """The command line of a process, shortened; its bare existence if it is not told."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        words = ""
    text = words or "a process"
    return text if len(text) <= 80 else text[:77] + "…"

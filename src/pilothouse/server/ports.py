"""Who holds a port? Read from ``/proc``, as far as this user may look.

For the one message that everybody meets: "the port is in use". Linux only; elsewhere the name is left out.
"""

from pathlib import Path
from typing import Final

from pilothouse.kit.errors import PortInUse

_LISTENING: Final = "0A"
_PROC: Final = Path("/proc")


def port_in_use(setting: str, address: str, port: int) -> PortInUse:
    """The error for a port that is taken: by whom, and the way out."""
    holder = find_listener(port)
    who = f"is in use by {holder}" if holder else "is in use"
    return PortInUse(f"port {port} ({setting} {address}) {who}: stop that process, or set {setting} to another port")


def find_listener(port: int) -> str:
    """``NAME (pid N)`` of a process that listens on a TCP port, or nothing if it cannot be seen."""
    inodes = _listening_inodes(port)
    if not inodes:
        return ""
    for process in sorted(_PROC.glob("[0-9]*"), key=lambda path: int(path.name)):
        if _holds(process, inodes):
            try:
                name = (process / "comm").read_text().strip()
            except OSError:
                name = "a process"
            return f"{name} (pid {process.name})"
    return ""


def _listening_inodes(port: int) -> frozenset[str]:
    """Inodes of the listening sockets on a port, from the kernel's tables of both families."""
    found: set[str] = set()
    for table in ("tcp", "tcp6"):
        try:
            rows = (_PROC / "net" / table).read_text().splitlines()[1:]
        except OSError:
            continue
        for row in rows:
            columns = row.split()
            if columns[3] == _LISTENING and int(columns[1].rpartition(":")[2], 16) == port:
                found.add(f"socket:[{columns[9]}]")
    return frozenset(found)


def _holds(process: Path, inodes: frozenset[str]) -> bool:
    """Whether the process has one of these sockets open."""
    try:
        return any(_target(link) in inodes for link in (process / "fd").iterdir())
    except OSError:
        return False


def _target(link: Path) -> str:
    try:
        return str(link.readlink())
    except OSError:
        return ""

"""Which processes of this user belong to a mesh, whoever their parent is by now?

A mesh marks the environment of what it starts; children inherit the mark, also those that lost their parent. Reads
``/proc`` and changes nothing. Where there is no ``/proc``, nothing is found.
"""

import os
from pathlib import Path
from typing import Final

MARKER: Final = "PILOTHOUSE_UP"
OWNER_VARIABLE: Final = "PILOTHOUSE_OWNER_PID"
"""The process with which the holders of the agents' Envoys end; they do not end with their agents."""


def marked_processes(mark: str) -> frozenset[int]:
    """The process ids whose environment carries ``mark``. Zombies have none and are not counted."""
    wanted = f"{MARKER}={mark}".encode()
    candidates = (int(path.name) for path in Path("/proc").glob("[0-9]*"))
    return frozenset(pid for pid in candidates if pid != os.getpid() and wanted in environment_of(pid))


def environment_of(pid: int) -> tuple[bytes, ...]:
    """The entries of a process's environment as it was started; none if it is gone or somebody else's."""
    try:
        return tuple(Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"))
    except OSError:
        return ()

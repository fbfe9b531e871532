"""One agent per workload: whoever holds the lock of a state directory owns it, and the kernel frees it at any end."""

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from pilothouse.kit.errors import AgentRunning, PilothouseError

LOCK: Final = "agent.lock"
WAIT_SECONDS: Final = 1.0
"""An agent that was killed is started again at once; the kernel may still be taking it apart."""


@asynccontextmanager
async def claimed(state_dir: Path) -> AsyncIterator[None]:
    """Own ``state_dir``, which is made with mode 0700. Raises ``AgentRunning`` with the process id of its owner."""
    try:
        descriptor = open_lock(state_dir)
    except OSError as error:
        raise PilothouseError(f"the state directory {state_dir} cannot be used: {error.strerror}") from error
    try:
        await lock(descriptor, state_dir)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)


def open_lock(state_dir: Path) -> int:
    """The lock file, made if need be. Raises OSError."""
    state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    return os.open(state_dir / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


async def lock(descriptor: int, state_dir: Path) -> None:
    """Take the lock, waited for ``WAIT_SECONDS`` at most. Raises ``AgentRunning``."""
    deadline = asyncio.get_running_loop().time() + WAIT_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if asyncio.get_running_loop().time() >= deadline:
                pid = os.pread(descriptor, 32, 0).decode(errors="replace").strip() or "unknown"
                raise AgentRunning(
                    f"an agent already runs for this workload: process {pid} owns {state_dir}; "
                    "end it, or give this one another --name or --state-dir"
                ) from error
            await asyncio.sleep(0.05)
        else:
            return

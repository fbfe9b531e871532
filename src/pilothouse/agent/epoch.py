"""One epoch of Envoy as a process, and what the epochs of one Envoy share.

Part of the holder: standard library only. Starts processes and reads what Envoy keeps in shared memory; which epoch
starts when is ``holder``'s business.
"""

import contextlib
import os
import selectors
import signal
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Final, TypeAlias

if TYPE_CHECKING:
    from pilothouse.agent.logs import Output
import itertools

Json: TypeAlias = dict[str, Any]

BOOTSTRAP: Final = "envoy.json"
"""What runs, and is run again after a crash."""
CANDIDATE: Final = "envoy.next.json"
"""What a hot restart tries. It becomes ``BOOTSTRAP`` when its epoch took over."""
BASE_ID: Final = "base-id"
VERSION_SECONDS: Final = 5.0
LAST_LINES: Final = 20
LEFTOVER_SECONDS: Final = 3.0
INITIALIZING: Final = ("11.104", 96)
"""The hot restart version whose shared memory is known, and where in it Envoy notes that an epoch still starts.

Envoy 1.40's ``SharedMemory``: two words, two mutexes of 40 bytes, then the flags. An epoch that dies while it starts
leaves the flag set, and Envoy refuses every further hot restart then: whoever reaps that epoch must clear it.
"""


class Life:
    """One Envoy process. ``command`` is the agent's: ``binary``, ``arguments``, ``bootstrap`` (text) and ``digest``."""

    def __init__(self, epoch: int, command: Json) -> None:
        self.epoch = epoch
        self.command = command
        self.pid = 0
        self.since = time.time()
        self.began = time.monotonic()
        self.last: deque[str] = deque(maxlen=LAST_LINES)
        self.attached = self.took_over = False
        self.outputs: list[Output] = []

    def see(self, *, initializing: bool) -> bool:
        """Whether this epoch has taken over: it was seen to start, and then to have started."""
        self.took_over = self.took_over or (self.attached and not initializing)
        self.attached = self.attached or initializing
        return self.took_over


def describe_exit(returncode: int) -> str:
    """``killed by SIGKILL`` or ``ended with exit code 1``."""
    if returncode >= 0:
        return f"ended with exit code {returncode}"
    try:
        return f"killed by {signal.Signals(-returncode).name}"
    except ValueError:
        return f"killed by signal {-returncode}"


def write_private(path: str, text: str) -> None:
    """Replace the file as a whole, readable for this user only. Raises OSError."""
    descriptor = os.open(f".{path}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    os.replace(f".{path}", path)


def spawn(argv: list[str], stdout: int, stderr: int) -> int:
    """Start ``argv`` as a child of this thread with these outputs; its process id. Raises OSError."""
    null = os.open(os.devnull, os.O_RDONLY)
    actions = [(os.POSIX_SPAWN_DUP2, null, 0), (os.POSIX_SPAWN_DUP2, stdout, 1), (os.POSIX_SPAWN_DUP2, stderr, 2)]
    try:
        defaults = [signal.SIGPIPE, signal.SIGHUP, signal.SIGTERM, signal.SIGINT]
        return os.posix_spawn(argv[0], argv, os.environ, file_actions=actions, setsigdef=defaults, setsigmask=[])
    finally:
        os.close(null)


def hot_restart_version(binary: str) -> str:
    """What ``binary --hot-restart-version`` prints; empty if it does not within ``VERSION_SECONDS``."""
    reading, writing = os.pipe()
    try:
        pid = spawn([binary, "--hot-restart-version"], writing, writing)
    except OSError:
        os.close(reading)
        return ""
    finally:
        os.close(writing)
    said, deadline = b"", time.monotonic() + VERSION_SECONDS
    with selectors.DefaultSelector() as selector:
        selector.register(reading, selectors.EVENT_READ)
        while selector.select(max(deadline - time.monotonic(), 0)) and (data := os.read(reading, 4096)):
            said += data
    os.close(reading)
    os.kill(pid, signal.SIGKILL)  # A child that has ended is a zombie until waited for: this can hit nobody else.
    os.waitpid(pid, 0)
    return said.decode(errors="replace").strip()


class SharedMemory:
    """The file in /dev/shm that Envoy makes for one base id and never removes."""

    @property
    def path(self) -> str:
        """Where Envoy writes the base id that it chose."""
        return os.path.abspath(BASE_ID)

    def read(self) -> str:
        """The base id that Envoy chose; empty if it has not told one."""
        with contextlib.suppress(OSError), open(BASE_ID) as file:
            return file.read().strip()
        return ""

    def initializing(self, version: str, *, clear: bool = False) -> bool:
        """Whether the newest epoch has not taken over yet. False where nobody knows."""
        known, offset = INITIALIZING
        if version != known:
            return False
        try:
            with open(f"/dev/shm/envoy_shared_memory_{self.read()}0", "r+b", buffering=0) as file:
                file.seek(offset)
                found = file.read(8) != bytes(8)
                if clear:
                    file.seek(offset)
                    file.write(bytes(8))
        except OSError:
            return False
        return found

    def remove(self) -> None:
        """Unlink the file and forget the base id."""
        if base_id := self.read():
            with contextlib.suppress(OSError):
                os.unlink(f"/dev/shm/envoy_shared_memory_{base_id}0")
        with contextlib.suppress(OSError):
            os.unlink(BASE_ID)


def end_leftovers(memory: SharedMemory) -> None:
    """End the Envoys of a holder that was killed, and remove what they left. They are ending by themselves."""
    if not memory.read():
        return
    names = tuple(os.path.abspath(name).encode() for name in (BOOTSTRAP, CANDIDATE))
    deadline = time.monotonic() + LEFTOVER_SECONDS
    while (left := [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if runs_with(pid, names)]) and (
        time.monotonic() < deadline
    ):
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)
    memory.remove()


def runs_with(pid: int, names: tuple[bytes, ...]) -> bool:
    """Whether the process is an Envoy that was given one of these bootstraps."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            words = file.read().split(b"\0")
    except OSError:
        return False
    return any(word == b"--config-path" and after in names for word, after in itertools.pairwise(words))

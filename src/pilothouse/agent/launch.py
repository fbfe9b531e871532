"""The last step before a command: tie this process to the one that started it, then become the command.

Run as a script of its own (``python -I -S launch.py PARENT_PID BINARY ARGUMENT...``), with the standard library only.
The kernel then kills the command when its parent dies, even by SIGKILL. It replaces itself by the command and keeps
the process id. For what must not outlive its starter, such as the processes of a mesh; Envoy is the holder's.

A script, and not ``preexec_fn``: that runs Python between fork and exec in a copy of a process that has gRPC's
threads, any of which may hold a lock. It costs 20 to 60 ms once per start.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def follow_parent(parent: int) -> None:
    """Ask the kernel for SIGKILL when the thread that forked this process ends. End at once if it already has.

    The signal follows the forking *thread*: parents fork from the thread of their event loop, which lives as long
    as they do. Other kernels than Linux have no such request; there an orphan ends with its machine or by hand.
    """
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != parent:
        raise SystemExit("the parent ended before the command was started")


def main(arguments: list[str]) -> None:
    """``arguments``: the parent's process id, the binary, and what the binary is given."""
    parent, binary, *rest = arguments
    follow_parent(int(parent))
    os.execv(binary, [binary, *rest])


if __name__ == "__main__":
    main(sys.argv[1:])

"""Owns Envoy and outlives the agent: forks it, hands it over between epochs, starts it again, and cleans up after it.

A process of its own, standard library only, run as ``python -I -S holder.py STATE_DIR LOG_DIR OWNER_PID``: it detaches
itself and returns once it listens on ``STATE_DIR/holder.sock``. There the agent sends commands, one JSON object a
line (``state``, ``start``, ``reload``, ``signal``, ``stop``), and is told every change as ``{"state": ...}``. Envoy is
forked by this process's only thread, because an Envoy with hot restart ends with the thread that forked it. It decides
nothing about traffic: which bootstrap is good, and when to leave, is the agent's business.
"""

import contextlib
import fcntl
import json
import os
import selectors
import signal
import socket
import sys
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Final, TypeAlias

if TYPE_CHECKING or __package__:
    from pilothouse.agent.epoch import (
        BOOTSTRAP,
        CANDIDATE,
        Life,
        SharedMemory,
        describe_exit,
        end_leftovers,
        hot_restart_version,
        spawn,
        write_private,
    )
    from pilothouse.agent.logs import BoundedFile, Output, detach
else:  # A script: in isolated mode its folder is on no path, and the package would bring its dependencies.
    sys.path.append(os.path.dirname(os.path.abspath(__file__)))
    from epoch import (
        BOOTSTRAP,
        CANDIDATE,
        Life,
        SharedMemory,
        describe_exit,
        end_leftovers,
        hot_restart_version,
        spawn,
        write_private,
    )
    from logs import BoundedFile, Output, detach

Json: TypeAlias = dict[str, Any]

SOCKET: Final = "holder.sock"
PIPE_BYTES: Final = 1024 * 1024
MOST_COMMAND_BYTES: Final = 1024 * 1024
LIVED_SECONDS: Final = 10.0
"""An Envoy that lived this long did not fail at its start: the next crash is followed by a start at once."""
BACKOFF: Final = (0.05, 0.1, 5.0)
"""Seconds before a start after a crash: drawn between the first and the second, doubled per failure up to the third."""
OWNERLESS_SECONDS: Final = 2.0
"""How long Envoy may take to end when the holder is told to by SIGTERM or by the end of its owner."""
MOST_CLIENTS: Final = 16


class Holder:
    """What runs, and what happens to it. The working directory is the state directory."""

    def __init__(self, log_dir: str, selector: selectors.BaseSelector) -> None:
        self._selector = selector
        self._lives: list[Life] = []
        self._wanted: Json = {}
        self._memory = SharedMemory()
        self._version = ""
        self._failures = 0
        self._restart_at = self._kill_at = float("inf")
        self._told: Json = {"starts": 0, "restarts": 0, "last_exit": "", "last_lines": [], "reload": "", "deaf": False}
        self._access_log = BoundedFile(f"{log_dir}/access.log")
        self._error_log = BoundedFile(f"{log_dir}/envoy.log")
        self._stopping = self._ending = False

    @property
    def ended(self) -> bool:
        """Whether it was told to stop and nothing is left to hold."""
        return self._stopping and not self._lives

    def state(self) -> Json:
        """What the agent is told. ``older`` are epochs that still run beside the newest; ``pid`` 0: none runs."""
        about = {"pid": 0, "epoch": 0, "since": 0.0, "binary": "", "digest": ""}
        for life in self._lives[-1:]:
            about = {"pid": life.pid, "epoch": life.epoch, "since": life.since}
            about |= {"binary": life.command["binary"], "digest": life.command["digest"]}
        older = [life.pid for life in self._lives[:-1]]
        lost = self._access_log.lost_bytes + self._error_log.lost_bytes
        return {**self._told, **about, "older": older, "holder": os.getpid(), "lost_log_bytes": lost}

    def obey(self, command: Json) -> Json:
        """Do what ``command`` says; ``{"ok": false, "reason": ...}`` if that cannot be."""
        match command["command"]:
            case "state":
                return {"ok": True}
            case "start":
                return self._start(command)
            case "reload":
                return self._reload(command)
            case "signal":
                self._signal(command["signal"])
                return {"ok": True}
            case "stop":
                self.stop(command["seconds"])
                return {"ok": True}
        return {"ok": False, "reason": f"unknown command {command['command']!r}"}

    def _start(self, command: Json) -> Json:
        """Run this at epoch 0, after whatever runs now has ended."""
        if self._stopping:
            return {"ok": False, "reason": "the holder ends"}
        self._wanted = {name: command[name] for name in ("binary", "arguments", "bootstrap", "digest")}
        self._told |= {"reload": "", "deaf": False}
        self._failures, self._restart_at = 0, 0.0
        if self._lives:
            self._end(command["seconds"])
        self.tick()
        return {"ok": True}

    def _reload(self, command: Json) -> Json:
        """Start the next epoch; the running one serves until that took over."""
        if not self._lives or self._stopping:
            return {"ok": False, "reason": "no Envoy runs"}
        current = self._lives[-1]
        self._version = hot_restart_version(f"/proc/{current.pid}/exe")  # The file may have been replaced since.
        if self._lives[:-1] and not self._has_taken_over():
            return {"ok": False, "reason": f"epoch {current.epoch} has not taken over yet"}
        offered = hot_restart_version(command["binary"])
        if not self._version or offered != self._version:
            why = f"hot restart version {offered or 'unknown'}, the running one {self._version or 'unknown'}"
            return {"ok": False, "incompatible": True, "reason": f"{command['binary']} has {why}"}
        self._adopt(current)
        wanted = {name: command[name] for name in ("binary", "arguments", "bootstrap", "digest")}
        failure = self._spawn(Life(current.epoch + 1, wanted))
        self._told["reload"] = failure
        return {"ok": not failure, "reason": failure}

    def _spawn(self, life: Life) -> str:
        """Start ``life``; why it could not be, or nothing."""
        config, identity = BOOTSTRAP, ["--use-dynamic-base-id", "--base-id-path", self._memory.path]
        if life.epoch:
            config, identity = CANDIDATE, ["--base-id", self._memory.read(), "--restart-epoch", str(life.epoch)]
        files: tuple[tuple[BoundedFile, deque[str] | None], ...]
        files = ((self._access_log, None), (self._error_log, life.last))
        pipes = [os.pipe() for _ in files]
        try:
            write_private(config, life.command["bootstrap"])
            argv = [life.command["binary"], "--config-path", os.path.abspath(config), *identity]
            life.pid = spawn([*argv, *life.command["arguments"]], pipes[0][1], pipes[1][1])
        except OSError as error:
            for reading, _ in pipes:
                os.close(reading)
            return f"could not be started: {error}"
        finally:
            for _, writing in pipes:
                os.close(writing)
        for (reading, _), (file, last) in zip(pipes, files, strict=True):
            os.set_blocking(reading, False)
            with contextlib.suppress(OSError):
                fcntl.fcntl(reading, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
            life.outputs.append(Output(reading, file, last))
            self._selector.register(reading, selectors.EVENT_READ, life.outputs[-1])
        self._lives.append(life)
        self._told["starts"] += 1
        return ""

    def copy(self, output: Output) -> None:
        """Take what Envoy wrote."""
        output.read()
        if output.at_end:
            self._close(output)

    def _close(self, output: Output) -> None:
        if output.open:
            self._selector.unregister(output.descriptor)
            output.close()

    def reap(self) -> None:
        """Take notice of every child that ended."""
        while self._lives:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            for life in [one for one in self._lives if one.pid == pid]:
                self._note_end(life, describe_exit(os.waitstatus_to_exitcode(status)))

    def _note_end(self, life: Life, how: str) -> None:
        for output in life.outputs:
            # A process that Envoy left behind may hold the pipe open: what is there now is enough.
            while output.open and output.read():
                pass
            self._close(output)
        self._has_taken_over()
        self._lives.remove(life)
        if self._ending:
            self._told |= {"last_exit": how, "last_lines": list(life.last)}
            self._signal(signal.SIGTERM)
            return
        if self._lives and life.epoch < self._lives[-1].epoch:
            if len(self._lives) == 1:
                self._adopt(self._lives[0])
            return
        if self._lives and not life.took_over:
            self._memory.initializing(self._version, clear=True)
            said = life.last[-1] if life.last else "it said nothing"
            self._told |= {"reload": f"epoch {life.epoch} {how}: {said}", "deaf": True}
            return
        self._told |= {"last_exit": how, "last_lines": list(life.last)}
        self._adopt(life)
        self._end(0.5)  # Older epochs have given their listeners away.
        self._restart_later(life)

    def _has_taken_over(self) -> bool:
        """Whether the newest epoch has the listeners, as far as can be seen."""
        return self._lives[-1].see(initializing=self._memory.initializing(self._version))

    def _adopt(self, life: Life) -> None:
        """From now on, this is what is run again after a crash."""
        self._wanted = life.command
        self._told["deaf"] = False
        if life.epoch:
            with contextlib.suppress(OSError):
                os.replace(CANDIDATE, BOOTSTRAP)

    def _restart_later(self, life: Life | None) -> None:
        if life is not None and time.monotonic() - life.began >= LIVED_SECONDS:
            self._failures = 0
        least, base, most = BACKOFF
        share = int.from_bytes(os.urandom(2), "big") / 65535  # The module random would load OpenSSL.
        wait = least + share * (min(base * 2 ** min(self._failures, 30), most) - least)
        self._failures += 1
        self._told["restarts"] += 1
        self._restart_at = time.monotonic() + wait

    def stop(self, seconds: float) -> None:
        """End every Envoy, by force after ``seconds``, and then this process."""
        self._stopping, self._restart_at = True, float("inf")
        self._end(seconds)

    def _end(self, seconds: float) -> None:
        """SIGTERM to the newest, which wants to tell its parent so; the parent follows when that has ended."""
        self._ending, self._kill_at = True, time.monotonic() + seconds
        self._signal(signal.SIGTERM)

    def _signal(self, number: int) -> None:
        for life in self._lives[-1:] if number != signal.SIGKILL else self._lives:
            os.kill(life.pid, number)  # Not waited for yet, so the id is still its own.

    def tick(self) -> float:
        """Do what is due; the seconds until there is more."""
        now = time.monotonic()
        if self._lives and now >= self._kill_at:
            self._kill_at = float("inf")
            self._signal(signal.SIGKILL)
        if not self._lives and self._wanted and now >= self._restart_at:
            self._ending, self._restart_at, self._kill_at = False, float("inf"), float("inf")
            self._memory.remove()
            if failure := self._spawn(Life(0, self._wanted)):
                self._told |= {"last_exit": failure, "last_lines": []}
                self._restart_later(None)
        due = self._kill_at if self._lives else self._restart_at
        if self._lives[:-1] and not self._has_taken_over():
            young = now - self._lives[-1].began < LIVED_SECONDS
            due = min(due, now + (0.02 if young else 0.5))
        return min(max(due - now, 0.0), 3600.0)


class Server:
    """The socket, the signals and the owner: what makes the holder move."""

    def __init__(self, log_dir: str, listening: socket.socket, owner: int) -> None:
        self._selector = selectors.DefaultSelector()
        self._holder = Holder(log_dir, self._selector)
        self._clients: dict[socket.socket, bytes] = {}
        self._listening = listening
        self._reported: Json = {}
        waking, self._woken = socket.socketpair()
        for one in (waking, self._woken, listening):
            one.setblocking(False)
        signal.set_wakeup_fd(waking.fileno(), warn_on_full_buffer=False)
        self._waking = waking
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: None)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        for source in (self._woken, listening):
            self._selector.register(source, selectors.EVENT_READ)
        self._owner = -1
        if owner:
            self._watch(owner)

    def _watch(self, owner: int) -> None:
        try:
            self._owner = os.pidfd_open(owner)
        except ProcessLookupError:
            self._holder.stop(0)
        else:
            self._selector.register(self._owner, selectors.EVENT_READ)

    def run(self) -> None:
        """Hold until told to end."""
        while not self._holder.ended:
            seconds = self._holder.tick()
            self._report()
            for key, _ in self._selector.select(seconds):
                self._serve(key.fileobj, key.data)
            self._holder.reap()
        self._report()
        with contextlib.suppress(OSError):
            os.unlink(SOCKET)
        SharedMemory().remove()

    def _serve(self, source: Any, output: Output | None) -> None:
        if output is not None:
            self._holder.copy(output)
        elif source is self._listening:
            self._accept()
        elif source is self._woken:
            if {signal.SIGTERM, signal.SIGINT} & set(self._woken.recv(4096)):
                self._holder.stop(OWNERLESS_SECONDS)
        elif source == self._owner:
            self._selector.unregister(self._owner)
            self._holder.stop(OWNERLESS_SECONDS)
        elif source in self._clients:
            self._hear(source)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            client, _ = self._listening.accept()
            client.setblocking(False)
            if len(self._clients) >= MOST_CLIENTS:
                client.close()
                return
            self._clients[client] = b""
            self._selector.register(client, selectors.EVENT_READ)
            self._tell(client, {"state": self._holder.state()})

    def _hear(self, client: socket.socket) -> None:
        """Obey every whole line that came; a client that left or talks nonsense is forgotten."""
        try:
            data = client.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        *lines, rest = (self._clients[client] + data).split(b"\n")
        if not data or len(rest) > MOST_COMMAND_BYTES:
            self._forget(client)
            return
        self._clients[client] = rest
        for line in lines:
            self._tell(client, {"answer": self._answer(line)})

    def _answer(self, line: bytes) -> Json:
        try:
            return self._holder.obey(json.loads(line))
        except (ValueError, KeyError, TypeError) as error:
            return {"ok": False, "reason": f"not a command: {error!r}"}

    def _tell(self, client: socket.socket, message: Json) -> None:
        """Say it at once or never: a client that does not read must not hold Envoy's reaping up."""
        try:
            client.sendall(json.dumps(message).encode() + b"\n")
        except OSError:
            self._forget(client)

    def _forget(self, client: socket.socket) -> None:
        if self._clients.pop(client, None) is not None:
            self._selector.unregister(client)
            client.close()

    def _report(self) -> None:
        if (state := self._holder.state()) != self._reported:
            self._reported = state
            for client in tuple(self._clients):
                self._tell(client, {"state": state})


def main(arguments: list[str]) -> None:
    """``arguments``: the state directory, the log directory, and a process to end with (0: none)."""
    state_dir, log_dir, owner = arguments
    os.umask(0o077)
    os.makedirs(state_dir, 0o700, exist_ok=True)
    # The path of a socket has room for 107 bytes, so its folder is the working directory.
    os.chdir(state_dir)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(SOCKET)
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(SOCKET)
    listening.listen(MOST_CLIENTS)
    detach(log_dir)
    end_leftovers(SharedMemory())
    Server(log_dir, listening, int(owner)).run()


if __name__ == "__main__":
    main(sys.argv[1:])

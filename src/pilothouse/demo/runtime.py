"""Where does a running mesh keep its things, and how is it found again?

One folder per gateway port, below ``$XDG_RUNTIME_DIR`` or the folder for temporary files, open to its owner only. A
lock on it tells a mesh that runs from one that was killed, and a small record tells ``pilothouse status`` where the
control plane answers. Deletes only what it wrote.
"""

import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from pilothouse.kit.errors import PilothouseError, PortInUse

CONFIG: Final = "config"
_LOCK, _RECORD = "lock", "run.json"
_OURS: Final = ("state", "logs", "check-config", "token", "mesh.yaml", _RECORD)


class RunRecord(msgspec.Struct, frozen=True):
    """What a running mesh tells those who look for it."""

    pid: int
    port: int
    admin_address: str
    token_file: str
    config_folder: str
    log_folder: str


@dataclass(frozen=True, slots=True)
class RuntimeFolder:
    """A claimed folder. ``lock`` is the descriptor that holds the claim; the kernel lets go of it with the process."""

    path: Path
    lock: int

    def announce(self, record: RunRecord) -> None:
        """Let others find this mesh."""
        write_private(self.path / _RECORD, msgspec.json.format(msgspec.json.encode(record)).decode())

    def release(self, *, keep_logs: bool, keep_config: bool) -> None:
        """Remove what this mesh wrote, and give the claim back."""
        sweep(self.path, keep=("logs",) if keep_logs else ())
        if not keep_config:
            shutil.rmtree(self.path / CONFIG, ignore_errors=True)
        (self.path / _LOCK).unlink(missing_ok=True)
        os.close(self.lock)
        for folder in (self.path, self.path.parent):
            try:
                folder.rmdir()
            except OSError:  # Something of the user's, or of another mesh, is in it.
                return


def runtime_root(environment: Mapping[str, str] | None = None) -> Path:
    """The folder that holds one folder per running mesh of this user."""
    told = (os.environ if environment is None else environment).get("XDG_RUNTIME_DIR", "")
    return Path(told or tempfile.gettempdir()) / f"pilothouse-{os.getuid()}"


def claim(root: Path, port: int) -> RuntimeFolder:
    """The folder for the mesh whose gateway is ``port``, without what an earlier mesh left there.

    Raises PortInUse if such a mesh runs, and PilothouseError if the folder cannot be made or is somebody else's.
    """
    path = root / str(port)
    try:
        for folder in (root, path):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            require_private(folder)
        descriptor = os.open(path / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise PortInUse(describe_rival(path, port)) from None
        sweep(path)
    except OSError as error:
        raise PilothouseError(f"cannot use the folder {path}: {error.strerror or error}") from error
    return RuntimeFolder(path, descriptor)


def find_runs(root: Path) -> tuple[RunRecord, ...]:
    """The meshes of this user that run now, by port."""
    records = (read_record(path) for path in root.glob(f"*/{_RECORD}") if is_claimed(path.parent))
    return tuple(sorted((record for record in records if record is not None), key=lambda record: record.port))


def read_record(path: Path) -> RunRecord | None:
    """The record in ``path``; None if it is gone, somebody else's, or not understood."""
    try:
        if path.stat().st_uid != os.getuid():
            return None
        return msgspec.json.decode(path.read_bytes(), type=RunRecord)
    except (OSError, msgspec.DecodeError):
        return None


def is_claimed(folder: Path) -> bool:
    """Whether a living process holds the claim on ``folder``."""
    try:
        with (folder / _LOCK).open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def require_private(folder: Path) -> None:
    """Raise PilothouseError unless ``folder`` is a real folder of this user that nobody else may enter."""
    seen = folder.lstat()
    if not stat.S_ISDIR(seen.st_mode) or seen.st_uid != os.getuid() or stat.S_IMODE(seen.st_mode) & 0o077:
        raise PilothouseError(f"{folder} is not a folder that only you can open: remove it, or set XDG_RUNTIME_DIR")


def describe_rival(path: Path, port: int) -> str:
    """Who holds the claim on ``path``."""
    record = read_record(path / _RECORD)
    who = f" (process {record.pid})" if record else ""
    return f"another `pilothouse up`{who} runs on port {port}: end it with Ctrl-C there, or choose another --port"


def sweep(path: Path, keep: tuple[str, ...] = ()) -> None:
    """Remove everything that a mesh writes into ``path``, but no configuration and nothing unknown."""
    for name in _OURS:
        target = path / name
        if name in keep:
            continue
        if target.is_dir() and not target.is_symlink():
            shutil.rmtree(target, ignore_errors=True)
        else:
            target.unlink(missing_ok=True)


def write_private(path: Path, text: str) -> None:
    """Write ``text`` in one step, readable for this user only. Raises OSError."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    draft.replace(path)

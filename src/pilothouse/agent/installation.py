"""The files by which systemd knows an agent: written by ``install``, and taken away again, all of them.

Writes below a root folder, so that packagers and tests can use another than ``/``. Touches no file that it has not
written: an operator's own unit of the same name is refused. What the units say is ``agent.units``' business.
"""

import os
import stat
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

from pilothouse.agent.units import MARK, UnitPlan, environment_text, unit_name, unit_text
from pilothouse.kit.errors import PilothouseError

UNITS: Final = "etc/systemd/system"
SETTINGS: Final = "etc/pilothouse"
WANTED: Final = f"{UNITS}/multi-user.target.wants"
BOOTED: Final = Path("/run/systemd/system")
"""There if and only if this machine runs systemd (sd_booted(3))."""

Systemctl: TypeAlias = Callable[..., None]
"""``systemctl`` with these arguments. Raises PilothouseError."""


@dataclass(frozen=True, slots=True)
class Installation:
    """Where the files of one workload's agent lie below ``root``."""

    root: Path
    name: str
    namespace: str

    @property
    def unit(self) -> str:
        """The unit's name."""
        return unit_name(self.name, self.namespace)

    @property
    def unit_file(self) -> Path:
        """The unit."""
        return self.root / UNITS / self.unit

    @property
    def environment_file(self) -> Path:
        """The file that names the credential."""
        return self.root / SETTINGS / f"{self.unit.removeprefix('pilothouse-').removesuffix('.service')}.env"

    @property
    def is_live(self) -> bool:
        """Whether these are the files of the systemd that runs here."""
        return self.root == Path("/") and BOOTED.is_dir()

    def texts(self, plan: UnitPlan) -> dict[Path, str]:
        """Every file that an installation consists of."""
        return {self.unit_file: unit_text(plan), self.environment_file: environment_text(plan)}

    def install(self, plan: UnitPlan, systemctl: Systemctl) -> tuple[Path, ...]:
        """Write everything; the files. Raises PilothouseError, and has then written nothing or whole files only."""
        texts = self.texts(plan)
        for path in texts:
            self._require_ours(path)
        try:
            for path, text in texts.items():
                path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
                write_whole(path, text)
        except OSError as error:
            raise PilothouseError(f"cannot write {error.filename or self.root}: {error.strerror or error}") from error
        if self.is_live:
            systemctl("daemon-reload")
        return tuple(texts)

    def uninstall(self, systemctl: Systemctl) -> tuple[Path, ...]:
        """End the service and remove everything that was written; the files. Raises PilothouseError."""
        present = [path for path in (self.unit_file, self.environment_file) if path.exists()]
        for path in present:
            self._require_ours(path)
        if self.is_live and self.unit_file in present:
            systemctl("disable", "--now", self.unit)
        try:
            for path in (*present, self.root / WANTED / self.unit):
                path.unlink(missing_ok=True)
            for folder in self._own_folders():
                if folder.is_dir() and not any(folder.iterdir()):
                    folder.rmdir()
        except OSError as error:
            raise PilothouseError(f"cannot remove {error.filename}: {error.strerror or error}") from error
        if self.is_live:
            systemctl("daemon-reload")
        return tuple(present)

    def _own_folders(self) -> Iterator[Path]:
        """Folders that go when they are empty, the inner ones first. Those of a real system's ``/etc`` stay."""
        yield self.root / SETTINGS
        if self.root != Path("/"):
            yield from (self.root / WANTED, self.root / UNITS, self.root / "etc/systemd", self.root / "etc")

    def _require_ours(self, path: Path) -> None:
        try:
            with path.open(encoding="utf-8", errors="replace") as file:
                ours = file.readline().startswith(MARK)
        except FileNotFoundError:
            return
        except OSError as error:
            raise PilothouseError(f"cannot read {path}: {error.strerror or error}") from error
        if not ours:
            raise PilothouseError(f"{path} was not written by `pilothouse agent install`: move it away first")


def write_whole(path: Path, text: str) -> None:
    """Replace ``path`` in one step, readable for everybody: no secret is in it. Raises OSError."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(text, encoding="utf-8")
    draft.chmod(0o644)
    draft.replace(path)


def run_systemctl(*arguments: str) -> None:
    """``systemctl`` of this machine. Raises PilothouseError with what it said."""
    try:
        done = subprocess.run(("systemctl", *arguments), capture_output=True, text=True, check=False, timeout=120)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PilothouseError(f"systemctl {' '.join(arguments)} failed: {error}") from error
    if done.returncode != 0:
        raise PilothouseError(f"systemctl {' '.join(arguments)} failed: {done.stderr.strip()}")


def hidden_part(path: Path, user_id: int, group_ids: frozenset[int]) -> Path | None:
    """The part of an absolute ``path`` that keeps this user from reading or passing through; None if none does."""
    for part in (*reversed(path.parents), path):
        try:
            seen = part.stat()
        except OSError:
            return part
        needed = stat.S_IXOTH if stat.S_ISDIR(seen.st_mode) else stat.S_IROTH
        if seen.st_uid == user_id:
            needed <<= 6
        elif seen.st_gid in group_ids:
            needed <<= 3
        if not seen.st_mode & needed:
            return part
    return None

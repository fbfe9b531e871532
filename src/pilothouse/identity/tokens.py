"""The local credential: one secret in a file that only its owner may read.

Whoever can read the file may register workloads, read debug data and write: that is the whole rule of local control
(DESIGN §7). Made at first start, never printed, never logged, compared in constant time.
"""

import hmac
import os
import secrets
import stat
from pathlib import Path
from typing import Final

from pilothouse.kit.errors import SettingsError

TOKEN_BYTES: Final = 32
"""256 random bits: guessing is not a way in."""

LEAST_CHARACTERS: Final = 16
"""A shorter secret in the file is taken for a mistake (an empty or a truncated file)."""


def load_or_create_token(path: Path) -> str:
    """The secret in ``path``; made first if the file does not exist (file mode 0600, its folder mode 0700).

    Two processes that start at once agree on one secret: the file appears whole or not at all, and the loser of the
    race reads the winner's. Raises SettingsError if the file is readable by others, too short, or not accessible.
    """
    try:
        if not path.exists():
            _create(path)
        return read_token(path)
    except OSError as error:
        raise SettingsError(f"cannot use the token file {path}: {error.strerror or error}") from error


def read_token(path: Path) -> str:
    """The secret in ``path``. SettingsError if the file is open to others or too short, OSError if it is missing."""
    with path.open("rb") as file:
        mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
        if mode & 0o077:
            raise SettingsError(
                f"the token file {path} is open to other users (mode {mode:04o}): "
                f"run `chmod 600 {path}`, or remove it to have a new one made"
            )
        token = file.read(4096).decode("ascii", errors="replace").strip()
    if len(token) < LEAST_CHARACTERS:
        raise SettingsError(f"the token file {path} holds no usable token: remove it to have a new one made")
    return token


def token_matches(given: str, expected: str) -> bool:
    """Whether the two are equal, in a time that does not tell where they differ. An empty secret matches nothing."""
    return bool(expected) and hmac.compare_digest(given.encode(), expected.encode())


def _create(path: Path) -> None:
    """Write a new secret beside ``path`` and link it into place, which fails if somebody else was first."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(secrets.token_urlsafe(TOKEN_BYTES) + "\n")
        try:
            os.link(draft, path)
        except FileExistsError:
            return
    finally:
        draft.unlink()

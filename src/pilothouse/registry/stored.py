"""The registrations on disk: what a control plane that was killed knew, for the one that comes after it.

One file: a line in ASCII (what it is, format version, length and digest of the rest), then MessagePack. It is replaced
as a whole, so a reader sees the old one or the new one. A file that is not exactly what was written is set aside and
named by a Problem, never guessed at. No fsync: the kernel keeps the file when the process dies, and a file that a power
failure cut short does not match its digest.
"""

import contextlib
import os
import re
from pathlib import Path
from typing import Final

import msgspec
import structlog

from pilothouse.aio.clock import Clock
from pilothouse.kit.digest import digest
from pilothouse.kit.origin import FileOrigin
from pilothouse.kit.problem import Problem, ProblemCode
from pilothouse.kit.registry_codes import REGISTRATIONS_SET_ASIDE, REGISTRATIONS_UNSAVED
from pilothouse.model.proxy import Workload
from pilothouse.model.service import ServiceKey

log = structlog.get_logger(__name__)

FILE_NAME: Final = "registrations"
VERSION: Final = 1
MOST_BYTES: Final = 64 * 1024 * 1024
MOST_SET_ASIDE: Final = 3
"""Older ones are deleted, so that a file that breaks at each start does not fill the disk."""
_HEADER: Final = re.compile(rb"pilothouse registrations (\d{1,6}) (\d{1,12}) ([0-9a-f]{16})\n")


class KnownRegistration(msgspec.Struct, frozen=True):
    """One workload, and whether it got traffic."""

    workload: Workload
    serving: bool


class KnownRemoval(msgspec.Struct, frozen=True):
    """One removal by silence that still counts for the rate rule. Its age is not kept: clocks of two runs differ."""

    service: ServiceKey
    members: int


class KnownState(msgspec.Struct, frozen=True):
    """Everything that outlives the process. Registrations are oldest first."""

    registrations: tuple[KnownRegistration, ...] = ()
    removals: tuple[KnownRemoval, ...] = ()


class Unusable(ValueError):
    """The bytes are not a state that this version wrote; the text says in which way."""


def encode_state(state: KnownState) -> bytes:
    """The file's bytes."""
    body = msgspec.msgpack.encode(state)
    return f"pilothouse registrations {VERSION} {len(body)} {seal(VERSION, body)}\n".encode() + body


def seal(version: int, body: bytes) -> str:
    """The digest in the header, which covers the version as well."""
    return digest(b"%d\n" % version + body)


def decode_state(content: bytes) -> KnownState:
    """What ``encode_state`` was given. Raises ``Unusable`` for anything else."""
    header = _HEADER.match(content)
    if header is None:
        raise Unusable("it does not begin as such a file does")
    if int(header[1]) > VERSION:
        raise Unusable(f"it has format {int(header[1])}, and this version knows formats up to {VERSION}")
    body = content[header.end() :]
    if len(body) != int(header[2]):
        raise Unusable(f"it is {'cut short' if len(body) < int(header[2]) else 'too long'}")
    if seal(int(header[1]), body) != header[3].decode():
        raise Unusable("its content does not match its digest")
    try:
        return msgspec.msgpack.decode(body, type=KnownState)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Unusable(f"its content is not what it should be: {error}") from error


class RegistrationFile:
    """The file at ``path``. What goes wrong with it stops nobody: it is a Problem until it works again."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        self._set_aside: Problem | None = None
        self._unsaved: Problem | None = None

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What is wrong with the file at present, and what was wrong with it at the start."""
        return tuple(problem for problem in (self._set_aside, self._unsaved) if problem is not None)

    def read(self) -> KnownState:
        """What was known when the file was last written; nothing if there is no file, or none that can be used."""
        try:
            with self._path.open("rb") as file:
                return decode_state(file.read(MOST_BYTES))
        except FileNotFoundError:
            return KnownState()
        except OSError as error:
            self._report_unreadable(f"it cannot be read: {error.strerror or error}")
        except Unusable as error:
            self._report_unreadable(str(error))
        return KnownState()

    def write(self, state: KnownState) -> bool:
        """Replace the file. Whether that worked; a Problem says why not."""
        draft = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            draft.write_bytes(encode_state(state))
            draft.replace(self._path)
        except OSError as error:
            with contextlib.suppress(OSError):
                draft.unlink()
            self._report_unsaved(error.strerror or str(error))
            return False
        if self._unsaved is not None:
            log.info("registrations are written again", path=str(self._path))
        self._unsaved = None
        return True

    def _report_unsaved(self, why: str) -> None:
        if self._unsaved is None:
            log.error("registrations cannot be written", path=str(self._path), why=why)
        self._unsaved = self._problem(REGISTRATIONS_UNSAVED, f"Registrations cannot be written: {why}.")

    def _report_unreadable(self, why: str) -> None:
        aside = self._path.with_name(f"{self._path.name}.bad-{int(self._clock.wall())}")
        try:
            self._path.replace(aside)
            where = f"it is kept as {aside.name}"
        except OSError as error:
            where = f"and it cannot be moved away: {error.strerror or error}"
        log.error("registrations of the last run cannot be used", path=str(self._path), why=why, now=where)
        self._set_aside = self._problem(REGISTRATIONS_SET_ASIDE, f"The file cannot be used, because {why}; {where}.")
        self._forget_oldest()

    def _forget_oldest(self) -> None:
        with contextlib.suppress(OSError):
            bad = sorted(self._path.parent.glob(f"{self._path.name}.bad-*"), key=lambda path: path.stat().st_mtime)
            for path in bad[:-MOST_SET_ASIDE]:
                path.unlink()

    def _problem(self, code: ProblemCode, message: str) -> Problem:
        return Problem(code=code, path="", message=message, origin=FileOrigin(str(self._path)))

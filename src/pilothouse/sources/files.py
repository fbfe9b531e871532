"""Configuration from a folder of YAML and JSON files, watched: one ``ConfigDelta`` per change.

Reads a file only once nobody is writing it, decodes what is new, and keeps the last good version of what cannot be
used (``sources.last_good`` has the rules). Events may be missed (network file systems send none), so everything is
compared by content every few seconds. It judges no object and never writes.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Never

import structlog
from watchfiles import awatch

from pilothouse.config.decode import decode_documents
from pilothouse.kit.codes import FILE_EMPTY, FILE_UNREADABLE, FOLDER_UNREADABLE, INTERNAL_ERROR
from pilothouse.kit.digest import digest
from pilothouse.kit.errors import SettingsError
from pilothouse.kit.origin import FileOrigin
from pilothouse.kit.problem import Problem
from pilothouse.model.world import ConfigDelta, Delta
from pilothouse.sources.folder import Content, Listing, Look, list_files, look_at_all, read
from pilothouse.sources.last_good import Decode, FileState, keep_all, merge, take_text

log = structlog.get_logger(__name__)

SOURCE: Final = "files"
QUIET_MS: Final = 200
"""How long the watch stays silent before it lets us look at the clock."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How often the folder is looked at. Seconds; tests are faster.

    ``still`` is how long a file must not change to be read, ``tries`` how often that is tried before the file is
    left for the next look. ``sweep`` is the time between two comparisons by content.
    """

    still: float = 0.02
    tries: int = 25
    sweep: float = 5.0
    step_ms: int = 20
    debounce_ms: int = 50


class FileSource:
    """One folder. ``run`` is its only task; ``look`` may also be called alone, by tests and by tools."""

    def __init__(
        self,
        folder: Path,
        sink: Callable[[Delta], None],
        *,
        namespace: str = "default",
        pace: Pace = Pace(),
        decode: Decode = decode_documents,
    ) -> None:
        """``namespace`` is that of documents that name none."""
        self._folder = folder
        self._sink = sink
        self._namespace = namespace
        self._pace = pace
        self._decode = decode
        self._files: dict[Path, FileState] = {}
        self._looks: dict[Path, Look] = {}
        self._sent: ConfigDelta | None = None

    def check(self) -> None:
        """Raises SettingsError if the folder cannot be used at start; later its loss is only a Problem."""
        if not self._folder.is_dir():
            raise SettingsError(f"config_folder: {self._folder} is not a folder; make it, or name another")
        unreadable = list_files(self._folder).unreadable
        if unreadable:
            path, reason = unreadable[0]
            raise SettingsError(f"config_folder: {path} cannot be listed: {reason}")

    async def run(self, read_once: Callable[[], None]) -> Never:
        """Watch for ever. ``read_once`` is called when the whole folder was handed to the sink for the first time."""
        await self.look(by_content=True)
        read_once()
        while True:
            with contextlib.suppress(FileNotFoundError):
                await self._watch()
            await asyncio.sleep(min(self._pace.sweep, 1.0))
            await self.look(by_content=True)

    async def _watch(self) -> None:
        """Look after each burst of events and at each sweep, until the folder is gone or cannot be watched."""
        loop = asyncio.get_running_loop()
        swept, caught_up = loop.time(), False
        try:
            async for changes in awatch(
                self._folder,
                watch_filter=None,
                step=self._pace.step_ms,
                debounce=self._pace.debounce_ms,
                rust_timeout=QUIET_MS,
                yield_on_timeout=True,
            ):
                due = loop.time() - swept >= self._pace.sweep
                if not changes and caught_up and not due:
                    continue
                # The first quiet moment catches up with what changed before the watch began.
                caught_up = True
                swept = loop.time() if due else swept
                await self.look(by_content=due)
                if not self._folder.is_dir():
                    return
        except FileNotFoundError:
            raise
        except (OSError, RuntimeError) as error:
            log.warning(
                "the folder cannot be watched and is read again instead", folder=str(self._folder), error=str(error)
            )

    async def look(self, *, by_content: bool = False) -> None:
        """Compare the folder with what is known, and hand a change to the sink.

        Without ``by_content`` only files that look different are read.
        """
        listing = await asyncio.to_thread(list_files, self._folder)
        if listing.files != tuple(sorted(self._files)) and self._files:
            listing = await self._confirm(listing)
        contents = await self._read(listing.files, by_content=by_content)
        decoded = await asyncio.to_thread(self._take, contents)
        self._files = self._still_there(listing, decoded)
        self._looks = {path: look for path, look in self._looks.items() if path in self._files}
        self._emit(listing)

    async def _confirm(self, listing: Listing) -> Listing:
        """A file that is missing for a moment is being replaced: look again before its objects are dropped."""
        if all(path in listing.files for path in self._files):
            return listing
        await asyncio.sleep(self._pace.still)
        return await asyncio.to_thread(list_files, self._folder)

    async def _read(self, paths: Iterable[Path], *, by_content: bool) -> dict[Path, Content]:
        """The content of each file that may have changed, once it holds still."""
        contents: dict[Path, Content] = {}
        looks = await asyncio.to_thread(look_at_all, paths)
        waiting = {path: look for path, look in looks.items() if by_content or look != self._looks.get(path)}
        for _ in range(self._pace.tries):
            if not waiting:
                break
            await asyncio.sleep(self._pace.still)
            found = await asyncio.to_thread(_read_all, waiting)
            contents |= {path: content for path, content in found.items() if not content.moving}
            waiting = {path: content.look for path, content in found.items() if content.moving}
        return contents

    def _take(self, contents: dict[Path, Content]) -> dict[Path, FileState]:
        """The states of the files that were read. Runs in a thread: it only reads what belongs to this look."""
        return {path: self._take_one(path, content) for path, content in contents.items()}

    def _take_one(self, path: Path, content: Content) -> FileState:
        previous = self._files.get(path, FileState(str(path)))
        if content.error:
            return keep_all(previous, FILE_UNREADABLE, f"cannot be read: {content.error}")
        self._looks[path] = content.look
        if not content.body and previous.good:
            return keep_all(previous, FILE_EMPTY, "the file is empty")
        version = digest(content.body)
        if version == previous.digest:
            return previous
        try:
            text = content.body.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            return keep_all(previous, FILE_UNREADABLE, f"not UTF-8 text (byte {error.start})")
        try:
            return take_text(previous, version, self._decode(text, str(path), self._namespace))
        except Exception as error:  # a bug must cost this file only
            log.exception("decoding failed, the last good goes on", path=str(path))
            return keep_all(previous, INTERNAL_ERROR, f"decoding failed: {type(error).__name__}: {error}")

    def _still_there(self, listing: Listing, decoded: dict[Path, FileState]) -> dict[Path, FileState]:
        """All files that count, in path order. Those below a folder that cannot be listed are still there."""
        states = {path: self._files[path] for path in listing.files if path in self._files} | decoded
        for folder, _ in listing.unreadable:
            states |= {path: state for path, state in self._files.items() if path.is_relative_to(folder)}
        return dict(sorted(states.items()))

    def _emit(self, listing: Listing) -> None:
        lost = (
            Problem(FOLDER_UNREADABLE, "", f"{reason}", FileOrigin(str(path))) for path, reason in listing.unreadable
        )
        delta = merge(SOURCE, tuple(self._files.values()), lost)
        if delta == self._sent:
            return
        self._sent = delta
        log.info("configuration read", objects=len(delta.objects), problems=len(delta.problems))
        self._sink(delta)


def _read_all(looks: dict[Path, Look | None]) -> dict[Path, Content]:
    return {path: read(path, look) for path, look in looks.items()}

"""Configuration from a folder of YAML and JSON files, watched: one ``ConfigDelta`` per change.

Reads a file only once nobody is writing it, decodes what is new, keeps the last good version of what cannot be used
(``sources.last_good``) and holds deletions of many objects (``sources.hold``). Events may be missed (network file
systems send none), so everything is compared by content every few seconds. It judges no object and never writes into
the folder.
"""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Never

import structlog
from watchfiles import awatch

from pilothouse.aio.clock import Clock, SystemClock
from pilothouse.config.decode import decode_documents
from pilothouse.config.objects import ConfigKey, ConfigObject
from pilothouse.kit.codes import INTERNAL_ERROR
from pilothouse.kit.digest import digest
from pilothouse.kit.errors import SettingsError
from pilothouse.kit.origin import FileOrigin
from pilothouse.kit.problem import Problem
from pilothouse.kit.source_codes import FILE_BUSY, FILE_EMPTY, FILE_UNREADABLE, FOLDER_UNREADABLE, LAST_GOOD_COPY
from pilothouse.model.world import ConfigDelta, Delta
from pilothouse.sources.accepted import Accepted, CopyUnusable, gather, read_copy, revive, write_copy
from pilothouse.sources.folder import Content, Listing, Look, Survey, list_files, read, survey
from pilothouse.sources.hold import Finding, HoldRules, Served, accept, fold_served, problems_of
from pilothouse.sources.last_good import Decode, FileState, keep_all, merge, take_text

log = structlog.get_logger(__name__)

SOURCE: Final = "files"
QUIET_MS: Final = 200
"""How long the watch stays silent before it lets us look at the clock."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How often the folder is looked at. Seconds; tests are faster.

    ``still`` is how long a file must not change to be read, and the folder to be looked at; ``tries`` is how often
    that is tried before what moves is left for the next look. ``sweep`` is the time between two comparisons by content.
    """

    still: float = 0.02
    tries: int = 25
    sweep: float = 5.0
    step_ms: int = 20
    debounce_ms: int = 50


@dataclass(frozen=True, slots=True)
class Keeping:
    """How carefully deletions are treated. ``copy`` is where the accepted configuration outlives this process."""

    rules: HoldRules = field(default_factory=HoldRules)
    copy: Path | None = None
    clock: Clock = field(default_factory=SystemClock)


class FileSource:
    """One folder. ``run`` is its only task; ``look`` may also be called alone, by tests and by tools."""

    def __init__(
        self,
        folder: Path,
        sink: Callable[[Delta], None],
        *,
        namespace: str = "default",
        pace: Pace = Pace(),
        keeping: Keeping | None = None,
        decode: Decode = decode_documents,
    ) -> None:
        """``namespace`` is that of documents that name none."""
        self._folder = folder
        self._sink = sink
        self._namespace = namespace
        self._pace = pace
        self._keeping = keeping or Keeping()
        self._decode = decode
        self._files: dict[Path, FileState] = {}
        self._looks: dict[Path, Look] = {}
        self._texts: dict[ConfigKey, str] = {}
        self._found: tuple[Problem, ...] = ()
        self._sent: ConfigDelta | None = None
        self._saved: Accepted | None = None
        self._unsaved = False
        self._saving = asyncio.Lock()
        self._copy_problem: tuple[Problem, ...] = ()
        self.served = Served()

    def restore(self) -> None:
        """Know again what was served before the last stop, so that a deletion meanwhile is seen as one."""
        copy = self._keeping.copy
        if copy is None:
            return
        try:
            saved = read_copy(copy)
        except CopyUnusable as error:
            self._report_copy(error)
            return
        if saved is not None and (saved.folder, saved.namespace) == (str(self._folder), self._namespace):
            self.served, self._files = revive(saved, self._decode)
            self._saved = saved
            self._texts = {key: text for state in self._files.values() for key, text in state.texts.items()}
            objects, kept = len(self.served.objects), sum(len(piece.keys) for piece in saved.pieces)
            log.info("last good configuration found", objects=objects, held=len(self.served.held))
            if objects < kept:
                log.warning("objects of the last good configuration are not taken any more", objects=kept - objects)

    def check(self) -> None:
        """Raises SettingsError if the folder cannot be used at start; later its loss is only a Problem.

        A folder that is missing at a restart is held like one that vanishes: there is something to serve.
        """
        listing = list_files(self._folder)
        if listing.missing and not self.served.objects:
            raise SettingsError(f"config_folder: {self._folder} is not a folder; make it, or name another")
        if listing.unreadable:
            path, reason = listing.unreadable[0]
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
        listing, looks = await self._survey()
        if not self._keeping.rules.enabled and listing.missing:
            listing = Listing(unreadable=((self._folder, "No such file or directory"),))
        wanted = {path: look for path, look in looks.items() if by_content or look != self._looks.get(path)}
        contents = await self._read(wanted)
        decoded = await asyncio.to_thread(self._take, contents)
        self._files = self._still_there(listing, decoded)
        self._looks = {path: look for path, look in self._looks.items() if path in self._files}
        self._fold(listing)
        await self._save()

    async def accept(self, change: str) -> bool:
        """Let go what is held under the name ``change``. False if that is not what is held now."""
        if not change or self.served.change != change:
            return False
        log.warning("deletion accepted", objects=len(self.served.held), change=change)
        self._emit(self._found, accept(self.served))
        await self._save()
        return True

    async def _survey(self) -> Survey:
        """The folder once two surveys in a row agree, so that a checkout or a removal of many files is one change."""
        seen = await asyncio.to_thread(survey, self._folder)
        if seen[1] == self._looks and not seen[0].missing:
            return seen
        for _ in range(self._pace.tries):
            await asyncio.sleep(self._pace.still)
            before, seen = seen, await asyncio.to_thread(survey, self._folder)
            if seen == before:
                break
        return seen

    async def _read(self, wanted: dict[Path, Look | None]) -> dict[Path, Content]:
        """The content of each file that may have changed, once it holds still."""
        contents: dict[Path, Content] = {}
        waiting = wanted
        for attempt in range(self._pace.tries):
            if not waiting:
                break
            if attempt:
                await asyncio.sleep(self._pace.still)
            found = await asyncio.to_thread(_read_all, waiting)
            contents |= {path: content for path, content in found.items() if not content.moving}
            waiting = {path: content.look for path, content in found.items() if content.moving}
        return contents | {path: Content(moving=True) for path in waiting}

    def _take(self, contents: dict[Path, Content]) -> dict[Path, FileState]:
        """The states of the files that were read. Runs in a thread: it only reads what belongs to this look."""
        return {path: self._take_one(path, content) for path, content in contents.items() if not content.gone}

    def _take_one(self, path: Path, content: Content) -> FileState:
        previous = self._files.get(path, FileState(str(path)))
        if content.moving:
            return keep_all(previous, FILE_BUSY, "it changes without a pause and was not read")
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
            return take_text(previous, version, text, self._decode(text, str(path), self._namespace))
        except Exception as error:  # a bug must cost this file only
            log.exception("decoding failed, the last good goes on", path=str(path))
            return keep_all(previous, INTERNAL_ERROR, f"decoding failed: {type(error).__name__}: {error}")

    def _still_there(self, listing: Listing, decoded: dict[Path, FileState]) -> dict[Path, FileState]:
        """All files that count, in path order. Those below a folder that cannot be listed are still there."""
        states = {path: self._files[path] for path in listing.files if path in self._files} | decoded
        for folder, _ in listing.unreadable:
            states |= {path: state for path, state in self._files.items() if path.is_relative_to(folder)}
        return dict(sorted(states.items()))

    def _fold(self, listing: Listing) -> None:
        merged, clock = merge(SOURCE, tuple(self._files.values())), self._keeping.clock
        found = Finding(_configs(merged), listing.missing, clock.monotonic(), clock.wall())
        served = fold_served(self.served, found, self._keeping.rules)
        lost = [*listing.unreadable]
        if listing.missing and not served.held:
            lost.append((self._folder, "No such file or directory"))
        closed = (Problem(FOLDER_UNREADABLE, "", reason, FileOrigin(str(path))) for path, reason in lost)
        self._emit((*closed, *merged.problems), served)

    def _emit(self, found: tuple[Problem, ...], served: Served) -> None:
        """Serve this from now on. ``found`` are the Problems of the files."""
        self.served, self._found = served, found
        problems = (*problems_of(served, str(self._folder)), *self._copy_problem, *found)
        delta = ConfigDelta(SOURCE, served.objects, problems)
        if delta == self._sent:
            return
        self._sent, self._unsaved = delta, True
        self._texts = self._texts_behind(served)
        log.info("configuration read", objects=len(delta.objects), held=len(served.held), problems=len(delta.problems))
        self._sink(delta)

    def _texts_behind(self, served: Served) -> dict[ConfigKey, str]:
        """The texts of the files that the objects came from, perhaps long ago."""
        now = {state.path: state.texts for state in self._files.values()}
        return {o.key: now.get(o.origin.path, {}).get(o.key) or self._texts.get(o.key, "") for o in served.objects}

    async def _save(self) -> None:
        """Write the copy if what is served is not what it says. Its failure is a Problem and stops nothing."""
        path = self._keeping.copy
        if path is None or not self._unsaved:
            return
        async with self._saving:
            self._unsaved = False
            now = gather(self._folder, self._namespace, self.served, self._texts)
            if now == self._saved:
                return
            try:
                await asyncio.to_thread(write_copy, path, now)
            except CopyUnusable as error:
                self._report_copy(error)
            else:
                self._saved, self._copy_problem = now, ()
            self._emit(self._found, self.served)
            self._unsaved = self._saved != now

    def _report_copy(self, error: CopyUnusable) -> None:
        problem = Problem(LAST_GOOD_COPY, "", str(error), FileOrigin(str(self._keeping.copy)))
        if self._copy_problem != (problem,):
            log.warning("the copy of the accepted configuration", path=str(self._keeping.copy), error=str(error))
        self._copy_problem = (problem,)


def _configs(delta: ConfigDelta) -> tuple[ConfigObject, ...]:
    return tuple(o for o in delta.objects if isinstance(o, ConfigObject))


def _read_all(looks: dict[Path, Look | None]) -> dict[Path, Content]:
    return {path: read(path, look) for path, look in looks.items()}

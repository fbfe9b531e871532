"""Which version of each object counts, when some of what was just read is not usable.

Pure. Per file it keeps the objects that the text holds now, and carries the last good version of those that the text
holds no longer in a usable form; over all files it decides whose object counts. The rule: an object leaves only when
its file is gone, or when its file was read without an error that might be about it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from pilothouse.config.decode import drop_duplicates
from pilothouse.config.objects import ConfigKey, ConfigObject, Decoded
from pilothouse.kit.origin import FileOrigin
from pilothouse.kit.problem import Problem, ProblemCode
from pilothouse.model.world import ConfigDelta

Decode: TypeAlias = Callable[[str, str, str], Decoded]
"""``config.decode.decode_documents``: text, path, default namespace."""


@dataclass(frozen=True, slots=True)
class FileState:
    """What one file contributes. ``digest`` is of the bytes behind it, empty if they could not be had.

    ``carried`` are last good versions of objects that the file holds no longer in a usable form. ``texts`` are the
    whole texts that the good objects were decoded from.
    """

    path: str
    digest: str = ""
    objects: tuple[ConfigObject, ...] = ()
    carried: tuple[ConfigObject, ...] = ()
    problems: tuple[Problem, ...] = ()
    texts: Mapping[ConfigKey, str] = field(default_factory=dict)

    @property
    def good(self) -> tuple[ConfigObject, ...]:
        """Every object that counts, current or carried."""
        return (*self.objects, *self.carried)


def take_text(previous: FileState, digest: str, text: str, decoded: Decoded) -> FileState:
    """The file's state after its new ``text`` was decoded.

    Objects equal to the ones before stay the same objects. An error that names an object carries that object; an
    error that names none (the text around it is broken) carries every object that is not there any more.
    """
    before = {o.key: o for o in previous.good}
    objects = tuple(before[o.key] if before.get(o.key) == o else o for o in decoded.objects)
    present = {o.key for o in objects}
    missing = {key: o for key, o in before.items() if key not in present}
    carried: dict[ConfigKey, ConfigObject] = {}
    problems = []
    for problem in decoded.problems:
        kept = _concerned(problem, missing) if problem.is_error else ()
        carried.update((o.key, o) for o in kept)
        problems.append(replace(problem, message=problem.message + _goes_on(kept)) if kept else problem)
    texts = {key: previous.texts.get(key, "") for key in carried} | dict.fromkeys(present, text)
    return FileState(previous.path, digest, objects, tuple(carried.values()), tuple(problems), texts)


def keep_all(previous: FileState, code: ProblemCode, message: str) -> FileState:
    """The file's state while its text cannot be had: everything goes on, and a Problem says why."""
    problem = Problem(code, "", message + _goes_on(previous.good), FileOrigin(previous.path))
    return FileState(previous.path, "", (), previous.good, (problem,), previous.texts)


def merge(source: str, files: Sequence[FileState]) -> ConfigDelta:
    """The whole source. ``files`` are in path order: of two objects with one key the first counts.

    A current object counts before a carried one, so that an object may move from a file that is broken.
    """
    current = drop_duplicates(candidate for file in files for candidate in file.objects)
    chosen = {candidate.key: candidate for candidate in current.objects}
    for file in files:
        for candidate in file.carried:
            chosen.setdefault(candidate.key, candidate)
    problems = (*(problem for file in files for problem in file.problems), *current.problems)
    return ConfigDelta(source, tuple(chosen.values()), problems)


def _concerned(problem: Problem, missing: Mapping[ConfigKey, ConfigObject]) -> tuple[ConfigObject, ...]:
    """The last good objects that this error may be about."""
    origin = problem.origin
    if isinstance(origin, FileOrigin) and origin.kind and origin.name:
        found = missing.get(ConfigKey(origin.kind, origin.namespace, origin.name))
        return () if found is None else (found,)
    return tuple(missing.values())


def _goes_on(kept: Sequence[ConfigObject]) -> str:
    """Which last good versions are served meanwhile, as an addition to a message."""
    if not kept:
        return ""
    if len(kept) == 1:
        return f" (the last good version of {kept[0].key}, line {kept[0].origin.line}, goes on)"
    return f" (the last good versions of {len(kept)} objects go on, from line {min(o.origin.line for o in kept)})"

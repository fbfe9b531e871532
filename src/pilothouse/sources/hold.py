"""Whether objects that left a source may leave the mesh, or are held until a person says so.

Pure. Between what a folder holds now (``sources.last_good``) and what is handed to the pipeline. A few objects may go;
many at once are more often an accident than a wish, so they are served on and the way out is named. Additions and
changes are never held. It judges by number only, never by content.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from pilothouse.config.objects import ConfigObject
from pilothouse.kit.digest import digest
from pilothouse.kit.origin import FileOrigin
from pilothouse.kit.problem import Problem
from pilothouse.kit.source_codes import DELETION_HELD


@dataclass(frozen=True, slots=True)
class HoldRules:
    """When a deletion is held: more than ``share`` of the objects and at least ``at_least`` of them within ``window``.

    ``window`` (seconds) counts deletions together that arrive one by one, as a slow ``rm`` shows them.
    """

    enabled: bool = True
    share: float = 0.5
    at_least: int = 10
    window: float = 10.0


@dataclass(frozen=True, slots=True)
class Finding:
    """What one look found. ``vanished``: the whole folder is gone. Times are seconds, of a clock that never goes back
    and of the calendar."""

    objects: tuple[ConfigObject, ...]
    vanished: bool = False
    monotonic: float = 0.0
    wall: float = 0.0


@dataclass(frozen=True, slots=True)
class Served:
    """What a source serves. ``held`` are those of ``objects`` that it does not hold any more, ``since`` when.

    ``left`` are objects that were let go a short while ago (monotonic seconds), in case many more follow them.
    """

    objects: tuple[ConfigObject, ...] = ()
    held: tuple[ConfigObject, ...] = ()
    since: float = 0.0
    vanished: bool = False
    left: tuple[tuple[float, ConfigObject], ...] = ()

    @property
    def change(self) -> str:
        """The name of the held deletion, empty if there is none. Another set of objects has another name."""
        return digest("\n".join(sorted(str(o.key) for o in self.held)).encode()) if self.held else ""


def fold_served(before: Served, found: Finding, rules: HoldRules) -> Served:
    """What is served after a look.

    A hold that has begun ends object by object, as they return, or by ``accept``: never by falling below a threshold,
    because files that are being restored pass it on their way. What is deleted during a hold joins it.
    """
    keys = {o.key for o in found.objects}
    gone = tuple(o for o in before.objects if o.key not in keys)
    recent = tuple((at, o) for at, o in before.left if o.key not in keys and found.monotonic - at <= rules.window)
    waiting = {o.key for o in before.held} & {o.key for o in gone}
    missing = (*gone, *(o for _, o in recent))
    total = len(before.objects) + len(recent)
    if rules.enabled and gone and (waiting or found.vanished or _are_many(len(missing), total, rules)):
        since = before.since if waiting else found.wall
        return Served((*found.objects, *missing), missing, since, found.vanished)
    return Served(found.objects, left=(*recent, *((found.monotonic, o) for o in gone)))


def accept(before: Served) -> Served:
    """What is served once the held deletion was accepted."""
    held = {o.key for o in before.held}
    return Served(tuple(o for o in before.objects if o.key not in held))


def problems_of(served: Served, folder: str) -> Sequence[Problem]:
    """The Problem that names the hold and the way out, if there is a hold."""
    if not served.held:
        return ()
    what = "the folder is gone; its" if served.vanished else "left the folder at once:"
    since = datetime.fromtimestamp(served.since, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    count = f"{len(served.held)} of {len(served.objects)} objects"
    text = f"{what} {count} are held since {since} and served on (change {served.change})"
    return (Problem(DELETION_HELD, "", text, FileOrigin(folder)),)


def _are_many(missing: int, total: int, rules: HoldRules) -> bool:
    return missing >= rules.at_least and missing > rules.share * total

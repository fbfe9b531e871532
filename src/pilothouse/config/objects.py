"""A validated configuration object: its identity, its typed spec, and where each of its parts was written.

What ``decode`` hands over and the World keeps. Frozen; it neither merges nor judges.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import TypeAlias

import msgspec

from pilothouse.config.destinationrule import DestinationRule
from pilothouse.config.gateway import Gateway
from pilothouse.config.serviceentry import ServiceEntry
from pilothouse.config.virtualservice import VirtualService
from pilothouse.kit.origin import FileOrigin
from pilothouse.kit.problem import Problem
from pilothouse.model.labels import Labels

Spec: TypeAlias = VirtualService | DestinationRule | Gateway | ServiceEntry


class ConfigKey(msgspec.Struct, frozen=True, order=True):
    """The identity of an object. At most one object of a World has it."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"


class ConfigObject(msgspec.Struct, frozen=True):
    """One object.

    ``origin`` is the line where its document starts. ``created`` is ``metadata.creationTimestamp`` (RFC 3339, ""
    where none was written, which sorts as oldest). ``marks`` maps the path of every mapping and list inside the
    object (``spec.http[1].match[0]``) to its line and column.
    """

    key: ConfigKey
    spec: Spec
    origin: FileOrigin
    created: str = ""
    labels: Labels = ()
    marks: Mapping[str, tuple[int, int]] = msgspec.field(default_factory=dict)

    def origin_at(self, path: str) -> FileOrigin:
        """Where the part at ``path`` was written, or the nearest part around it that has a mark."""
        while path:
            mark = self.marks.get(path)
            if mark is not None:
                return replace(self.origin, line=mark[0], column=mark[1])
            path = path[: max(path.rfind("."), path.rfind("["), 0)]
        return self.origin


class Decoded(msgspec.Struct, frozen=True):
    """What a text holds: the objects that can be used, and what is wrong with it."""

    objects: tuple[ConfigObject, ...] = ()
    problems: tuple[Problem, ...] = ()

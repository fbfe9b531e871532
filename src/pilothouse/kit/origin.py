"""Where a value came from: the answer to "which line made this route?".

Every validated object and every compiled resource carries its origins, so provenance is a look-up and never a
re-derivation. This module only names places; it does not open them.
"""

from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True, order=True)
class FileOrigin:
    """An object, or a place inside one, that a person wrote in a configuration document.

    ``line`` and ``column`` count from 1, as editors do; 0 means unknown. ``kind``, ``namespace`` and ``name`` are
    empty until the document is known well enough to say.
    """

    path: str
    line: int = 0
    column: int = 0
    kind: str = ""
    namespace: str = ""
    name: str = ""

    def __str__(self) -> str:
        place = self.path
        if self.line:
            place += f":{self.line}"
            if self.column:
                place += f":{self.column}"
        return place

    @property
    def subject(self) -> str:
        """``Kind namespace/name`` of the object, or nothing where it is unknown."""
        return f"{self.kind} {self.namespace}/{self.name}" if self.kind else ""


@dataclass(frozen=True, slots=True, order=True)
class RegistryOrigin:
    """A service, or one instance of it, that a registry reported."""

    registry: str
    service: str
    instance: str = ""

    def __str__(self) -> str:
        place = f"{self.registry}: {self.service}"
        return f"{place}/{self.instance}" if self.instance else place

    @property
    def subject(self) -> str:
        """The instance if one is known, otherwise the service."""
        return self.instance or self.service


@dataclass(frozen=True, slots=True, order=True)
class BuiltIn:
    """A part that Pilothouse itself adds, such as the answer for unknown hosts. ``reason`` says why it exists."""

    reason: str

    def __str__(self) -> str:
        return f"built in: {self.reason}"

    @property
    def subject(self) -> str:
        """Nothing a user wrote."""
        return ""


Origin: TypeAlias = FileOrigin | RegistryOrigin | BuiltIn

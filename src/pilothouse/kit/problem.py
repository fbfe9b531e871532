"""Problems are values: what is wrong, where, and the way out.

A Problem travels beside results instead of being raised, so one bad object never hides its good neighbours.
Exceptions are for bugs and for I/O at the edges (see ``kit.errors``). The catalogue of codes is ``kit.codes``.
"""

from dataclasses import dataclass
from enum import StrEnum

from pilothouse.kit.origin import Origin


class Severity(StrEnum):
    """How much a Problem costs its subject."""

    ERROR = "error"
    """The object is left out; what was served before goes on."""
    WARNING = "warning"
    """The object is served, but probably does not do what its author meant."""
    NOTICE = "notice"
    """The object is served as meant; its spelling is old or a default was chosen."""


@dataclass(frozen=True, slots=True)
class ProblemCode:
    """One entry of the catalogue that users read in ``docs/reference/problems.md``.

    ``code`` is the stable word that users grep for; ``cause`` and ``remedy`` are whole sentences.
    """

    code: str
    severity: Severity
    cause: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Problem:
    """One finding about one place.

    ``path`` is the path inside the object (``spec.http[0].route[1].weight``), empty for the object as a whole.
    ``message`` is one sentence for a person. ``remedy`` overrides the catalogue's where more is known
    (for example a did-you-mean).
    """

    code: ProblemCode
    path: str
    message: str
    origin: Origin
    remedy: str = ""

    @property
    def severity(self) -> Severity:
        """The severity that the catalogue gives to this code."""
        return self.code.severity

    @property
    def is_error(self) -> bool:
        """Whether the subject is left out because of this Problem."""
        return self.code.severity is Severity.ERROR

    def __str__(self) -> str:
        where = f" ({self.path})" if self.path else ""
        subject = f" {self.origin.subject}:" if self.origin.subject else ""
        way_out = self.remedy or self.code.remedy
        return f"{self.origin}: {self.severity} [{self.code.code}]{subject} {self.message}{where}. {way_out}"

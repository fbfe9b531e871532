"""What all typed Istio messages share: strictness, naming, scalar ranges, and the small messages used everywhere.

The messages mirror the proto files of istio/api (networking/v1alpha3), complete, so that a field of Istio is never
called unknown. Only modern fields exist here; ``spellings`` rewrites the old ones before decoding. Every field has
proto's default: what must be present is said in the ``validate_*`` modules.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Final

import msgspec

Int32 = Annotated[int, msgspec.Meta(ge=-(2**31), le=2**31 - 1)]
UInt32 = Annotated[int, msgspec.Meta(ge=0, le=2**32 - 1)]
UInt64 = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]

_SNAKE: Final = re.compile(r"_([a-z0-9])")


def lower_camel(name: str) -> str:
    """``export_to`` → ``exportTo``, by proto JSON's rule."""
    return _SNAKE.sub(lambda match: match[1].upper(), name)


class Message(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """One message of Istio's API. Python names are proto's; the wire has proto JSON's lowerCamelCase."""


class PortSelector(Message, frozen=True):
    """A port by number; 0 means that none was written."""

    number: UInt32 = 0


class Percent(Message, frozen=True):
    """A percentage from 0 to 100."""

    value: float = 0.0

    @property
    def per_million(self) -> int:
        """How many of a million, which is Envoy's finest unit."""
        return round(self.value * 10_000)


class StringMatch(Message, frozen=True):
    """A comparison of a text: at most one field is set; none set asks only that the text is present."""

    exact: str | None = None
    prefix: str | None = None
    regex: str | None = None


class WorkloadSelector(Message, frozen=True):
    """Workloads by labels (``type/v1beta1/selector.proto``)."""

    match_labels: Mapping[str, str] = msgspec.field(default_factory=dict)

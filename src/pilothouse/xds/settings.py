"""What the owner of the streams decides for all of them: the deadline, the shared memo, the stand-ins.

One value is made at start and handed to every stream, so that the streams share one ``LayerChanges``.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from pilothouse.xds.changes import LayerChanges
from pilothouse.xds.resource import Resource


@dataclass(frozen=True, slots=True)
class StreamSettings:
    """Settings of both stream machines.

    ``ack_deadline`` is how long, in seconds, an answer is awaited before the round goes on without it.
    ``absent(type URL, name)`` makes the stand-in that a state-of-the-world client receives for a name that does not
    exist (an empty route configuration, an empty load assignment), because that variant cannot say "removed" and
    the proxy would wait. Delta streams never call it.
    """

    ack_deadline: float = 5.0
    changes: LayerChanges = field(default_factory=LayerChanges)
    absent: Callable[[str, str], Resource | None] | None = None

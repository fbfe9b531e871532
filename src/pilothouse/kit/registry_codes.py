"""The codes of Problems about registrations: agents that contradict each other, are lost, or cannot be remembered.

Part of the catalogue in ``kit.codes``, which says how codes are written.
"""

from typing import Final

from pilothouse.kit.problem import ProblemCode, Severity

REGISTRATION_CONFLICT: Final = ProblemCode(
    "registration-conflict",
    Severity.WARNING,
    "Two instances of one service register the same port with different protocols.",
    "Give all instances the same protocol for this port. Until then the oldest registration decides.",
)
SILENCE_HELD: Final = ProblemCode(
    "silence-held",
    Severity.WARNING,
    "More agents of one service are lost than may leave by mere silence at a time. Their endpoints stay, because a "
    "network or a control plane that fails looks the same as many hosts that fail.",
    "Look why the agents are not heard. Deregister those whose hosts are gone, or raise "
    "registry.embedded.most_silent_share.",
)
REGISTRATIONS_SET_ASIDE: Final = ProblemCode(
    "registrations-set-aside",
    Severity.WARNING,
    "The registrations of the last run are damaged, or a newer version wrote them. The control plane started as if "
    "there were none, and agents registered again.",
    "Nothing, if all services are there. The file is kept for an inspection of the disk; delete it afterwards.",
)
REGISTRATIONS_UNSAVED: Final = ProblemCode(
    "registrations-unsaved",
    Severity.ERROR,
    "Registrations cannot be written to the state folder. They go on in memory, but a control plane that is started "
    "now would not know the newest ones until their agents return.",
    "Make room on the disk, or make the state folder writable. It is tried again every second.",
)

REGISTRY_CODES: Final = (REGISTRATION_CONFLICT, SILENCE_HELD, REGISTRATIONS_SET_ASIDE, REGISTRATIONS_UNSAVED)

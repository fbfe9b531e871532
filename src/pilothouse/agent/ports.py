"""Are the ports free? Asked before Envoy starts, because Envoy itself would not always say.

Envoy binds its listeners with SO_REUSEPORT, so a second Envoy of the same user takes a share of the first one's
connections in silence. And a port that only xDS makes Envoy bind would come back as a refusal minutes later.
"""

import asyncio
import errno
import socket
from typing import Final

from pilothouse.agent.settings import Listen
from pilothouse.agent.status import port_in_use

WAIT_SECONDS: Final = 3.0
"""An agent that was killed is started again at once; its Envoy is dying, and needs a moment to give up its ports."""


def why_not_bindable(where: Listen) -> OSError | None:
    """Why ``where`` cannot be listened on now; None if it can."""
    family = socket.AF_INET6 if ":" in where.address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # Connections that linger after a close are no hindrance; another listener is.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((where.address, where.port))
        except OSError as error:
            return error
    return None


async def require_free(uses: tuple[tuple[str, Listen], ...], wait_seconds: float = WAIT_SECONDS) -> None:
    """Return once every address can be bound. Raises ``PortInUse`` for one that stays taken for ``wait_seconds``."""
    deadline = asyncio.get_running_loop().time() + wait_seconds
    for use, where in uses:
        while (error := why_not_bindable(where)) is not None:
            waiting_helps = error.errno == errno.EADDRINUSE
            if not waiting_helps or asyncio.get_running_loop().time() >= deadline:
                raise port_in_use(use, where, error)
            await asyncio.sleep(0.05)

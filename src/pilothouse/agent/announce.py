"""When is the agent's service ready, in systemd's sense? Once Envoy is, or once it is clear that it has to wait.

Envoy cannot be ready while the control plane is away and nothing was kept from before. The service is then up all the
same: a start that systemd ends for it would help nobody. What Envoy says goes into the line of ``systemctl status``.
"""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Final, Never

from pilothouse.aio.cell import Cell
from pilothouse.aio.notify import READY, notify
from pilothouse.model.registration import EnvoyState

PATIENCE_SECONDS: Final = 15.0
"""How long a start waits for Envoy. Below the unit's TimeoutStartSec (``agent.units``)."""


async def announce(
    state: Cell[EnvoyState], *, tell: Callable[..., bool] = notify, patience: float = PATIENCE_SECONDS
) -> Never:
    """Tell systemd once that the service is ready, and each time what Envoy's state is, for ever."""
    with contextlib.suppress(TimeoutError):  # The status line then says what is waited for.
        async with asyncio.timeout(patience):
            while not state.value.ready:
                await state.after(state.generation)
    told = describe(state.value)
    tell(READY, f"STATUS={told}")
    while True:
        now = describe(await state.after(state.generation))
        if now != told:
            told = now
            tell(f"STATUS={now}")


def describe(state: EnvoyState) -> str:
    """Envoy's state in one line."""
    if state.ready:
        return "Envoy is ready"
    return f"Envoy is {'live, not ready' if state.live else 'not live'}: {state.reason or 'no reason known'}"

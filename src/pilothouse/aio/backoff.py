"""Full-jitter exponential backoff: how long to wait before trying again.

After "Exponential Backoff And Jitter" (AWS, 2015): a fleet that lost its server must not come back in step.
"""

import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BackoffPolicy:
    """``base`` seconds doubled per failure up to ``most``; the wait is drawn between ``least`` and that."""

    base: float = 0.1
    most: float = 5.0
    least: float = 0.05


class Backoff:
    """Counts failures in a row and draws the next wait."""

    def __init__(self, policy: BackoffPolicy | None = None, draw: random.Random | None = None) -> None:
        self._policy = policy or BackoffPolicy()
        self._draw = draw or random.Random()
        self.failures = 0

    def next_wait(self) -> float:
        """Seconds to wait after one more failure."""
        ceiling = min(self._policy.most, self._policy.base * 2 ** min(self.failures, 30))
        self.failures += 1
        return self._draw.uniform(self._policy.least, max(ceiling, self._policy.least))

    def reset(self) -> None:
        """The last attempt succeeded."""
        self.failures = 0

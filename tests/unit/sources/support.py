"""Documents, and a folder with a source that a test looks through."""

import asyncio
from collections.abc import Callable
from pathlib import Path

from pilothouse.config.objects import ConfigObject
from pilothouse.model.world import ConfigDelta, Delta
from pilothouse.sources.files import FileSource, Keeping, Pace


def a_route(name: str, host: str = "reviews.service.mesh", timeout: str = "1s") -> str:
    """A VirtualService as YAML."""
    return f"""apiVersion: networking.istio.io/v1
kind: VirtualService
metadata:
  name: {name}
spec:
  hosts: [{host}]
  http:
  - timeout: {timeout}
    route:
    - destination: {{host: {host}}}
"""


BROKEN_FIELD = a_route("reviews").replace("timeout:", "timeuot:")
HALF_WRITTEN = 'apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: "revi'
FAST = Pace(still=0.005, sweep=0.3, step_ms=10, debounce_ms=20)


class Folder:
    """A configuration folder and everything that its source emitted."""

    def __init__(self, path: Path, pace: Pace = FAST, keeping: Keeping | None = None) -> None:
        self.path = path
        self.emitted: list[ConfigDelta] = []
        self.source = FileSource(path, self._take, pace=pace, keeping=keeping)

    def _take(self, delta: Delta) -> None:
        assert isinstance(delta, ConfigDelta)
        self.emitted.append(delta)

    def write(self, name: str, text: str) -> Path:
        """Write a file by renaming it into place, as careful writers do."""
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.draft")
        draft.write_text(text)
        draft.rename(path)
        return path

    async def look(self) -> ConfigDelta:
        """Look once, and return the newest state."""
        await self.source.look()
        return self.emitted[-1]

    def names(self) -> list[str]:
        """Names of the objects that count."""
        return [candidate.key.name for candidate in self.objects()]

    def objects(self) -> list[ConfigObject]:
        """The objects that count."""
        return [o for o in (self.emitted[-1].objects if self.emitted else ()) if isinstance(o, ConfigObject)]

    def codes(self) -> list[str]:
        """Codes of the Problems, in order."""
        return [problem.code.code for problem in self.emitted[-1].problems]

    async def until(self, condition: Callable[[], bool], seconds: float = 20) -> None:
        """Wait for a condition."""
        for _ in range(round(seconds / 0.01)):
            if condition():
                return
            await asyncio.sleep(0.01)
        raise TimeoutError(f"the folder's state is still {self.names()}, {self.codes()}")

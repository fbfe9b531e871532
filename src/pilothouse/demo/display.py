"""What does a person see while the mesh comes up, and what afterwards?

A live picture with a progress bar where somebody looks at a terminal, one plain line per event where nobody does.
Prints what it is told; it asks nobody and waits for nothing.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from pilothouse.demo.plan import MeshPlan
from pilothouse.demo.progress import Part, Progress, State

PLAIN_WIDTH: Final = 200
"""Columns for files and pipes, where there is no window to fit into."""
BAR_WIDTH: Final = 40
_STYLES: Final = {State.STARTING: "dim", State.REGISTERED: "yellow", State.READY: "green"}
_MARKS: Final = {State.STARTING: "·", State.REGISTERED: "◐", State.READY: "●"}
PLAINTEXT: Final = (
    "Traffic inside this mesh is plaintext until identity lands, and every port listens on loopback only."
)


class _Console(Console):
    """Rich ends the program when its reader is gone; a mesh must be ended in order instead."""

    def on_broken_pipe(self) -> None:
        """Leave it to whoever prints."""
        raise BrokenPipeError


def ignore_loss() -> None:
    """For those who go on without a reader."""


class Display:
    """Shows one mesh on ``file``. ``on_gone`` is called when nobody can read it any more, as after ``up | head``."""

    def __init__(self, file: TextIO, on_gone: Callable[[], None] = ignore_loss) -> None:
        self._on_gone = on_gone
        self._on_terminal = file.isatty()
        width = None if self._on_terminal else PLAIN_WIDTH
        self.console = _Console(file=file, width=width, highlight=False, emoji=False, soft_wrap=not self._on_terminal)
        self._live: Live | None = None
        self._told: frozenset[tuple[str, str]] = frozenset()

    @contextmanager
    def starting(self) -> Iterator[None]:
        """While the mesh comes up."""
        if not self._on_terminal:
            yield
            return
        with Live(console=self.console, refresh_per_second=12) as self._live:
            try:
                yield
            finally:
                self._live = None

    def show(self, progress: Progress) -> None:
        """The newest state."""
        if self._live is not None:
            self._live.update(compose_progress(progress))
            return
        ready = frozenset((name, part.name) for name, part in progress.parts if part.state is State.READY)
        for name, part in sorted(ready - self._told):
            self.tell(f"{' '.join((name, part)).strip()} is ready")
        self._told = ready

    def tell(self, text: str | Text) -> None:
        """One sentence about something that happened. Never raises for the reader's sake: a mesh depends on us."""
        try:
            self.console.print(Text(text) if isinstance(text, str) else text, soft_wrap=True)
        except OSError:
            self._on_gone()

    def summarise(self, summary: "Summary") -> None:
        """What can be done now."""
        self.tell("")
        for line in compose_summary(summary):
            self.tell(line)


@dataclass(frozen=True, slots=True)
class Summary:
    """What a person wants to know once the mesh runs. ``command`` is how they call us; ``written`` tells whether the
    configuration is ours or was there before."""

    plan: MeshPlan
    seconds: float
    written: bool
    app_pid: int
    command: str = "pilothouse"


def compose_progress(progress: Progress) -> RenderableType:
    """The picture: one line per part, and the bar below."""
    table = Table.grid(padding=(0, 3, 0, 0))
    for line in progress.lines:
        cells = [compose_part(part) for part in line.parts]
        if len(cells) == 1:
            cells.insert(0, Text(""))
        table.add_row(Text(line.name, "bold"), *cells)
    bar = ProgressBar(total=progress.total, completed=progress.done, width=BAR_WIDTH)
    return Group(table, Text(""), bar)


def compose_part(part: Part) -> Text:
    """``● sidecar ready``, or what it waits for."""
    text = Text(
        f"{_MARKS[part.state]} {part.name} {part.state}", _STYLES[part.state], no_wrap=True, overflow="ellipsis"
    )
    if part.reason:
        text.append(f"  {part.reason}", "dim")
    return text


def compose_summary(summary: Summary) -> Iterator[Text]:
    """The lines of the summary, each to be printed without wrapping, so that paths can be copied."""
    plan = summary.plan
    config = Path(plan.config_folder)
    yield Text.assemble(
        ("The mesh is ready", "bold green"), f" after {summary.seconds:.1f} s: open ", (plan.page_url, "bold")
    )
    yield Text(
        "Reload it: no stars, black stars and red stars in turn, because three versions of reviews share the traffic."
    )
    yield Text("")
    yield Text("Try next:", "bold")
    yield Text(f"  $EDITOR {config / 'reviews.yaml'}   # take the marks off its end, save, reload")
    yield Text(f"  {summary.command} status   # what every proxy was told, and what it took")
    yield Text(f"  kill -9 {summary.app_pid}                   # reviews v2: the others take over, and it comes back")
    yield Text("")
    kind = "written for you, watched while you edit" if summary.written else "was there before and is used as it is"
    yield Text(f"Configuration  {config}  ({kind})")
    yield Text(f"Logs           {plan.log_folder}  (access.log of each proxy, with response flags)")
    yield Text(PLAINTEXT, "yellow")
    yield Text("Ctrl-C ends everything.")

"""How do the rows of a check look on paper?

One table for a person or a log: aligned plain text where nobody looks at a terminal, the same in colour where somebody
does. Prints what it is given; what passed was decided before.
"""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

PLAIN_WIDTH: Final = 160
"""Columns of a table that goes to a file or a pipe, where there is no window to fit into."""
LEAST_WIDTH: Final = 72


@dataclass(frozen=True, slots=True)
class CheckRow:
    """One row of a check: what was asked, expected and seen, and what Envoy says of it. ``seconds`` counts all of it,
    putting and withdrawing the rule included."""

    name: str
    asked: str
    expected: str
    seen: str
    evidence: str
    passed: bool
    seconds: float


def print_checks(rows: Sequence[CheckRow], file: TextIO) -> None:
    """Print the table of ``rows`` and, as the last line, how many passed and failed."""
    on_terminal = file.isatty()
    width = max(shutil.get_terminal_size().columns, LEAST_WIDTH) if on_terminal else PLAIN_WIDTH
    console = Console(file=file, width=width, force_terminal=on_terminal, highlight=False, emoji=False, markup=False)
    console.print(compose_table(rows))
    console.print(summary(rows), style="bold green" if all(row.passed for row in rows) else "bold red")


def compose_table(rows: Sequence[CheckRow]) -> Table:
    """The table, to be printed at any width; long cells are wrapped."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("ROW", no_wrap=True)
    table.add_column("RESULT", no_wrap=True)
    for name, ratio in (("ASKED", 3), ("EXPECTED", 3), ("SEEN", 3), ("EVIDENCE FROM ENVOY", 4)):
        table.add_column(name, ratio=ratio, overflow="fold")
    table.add_column("TIME", justify="right", no_wrap=True)
    for row in rows:
        result = Text("passed", "green") if row.passed else Text("FAILED", "bold red")
        cells = (Text(text) for text in (row.asked, row.expected, row.seen, row.evidence))
        table.add_row(Text(row.name, "bold"), result, *cells, Text(f"{row.seconds:.1f} s"))
    return table


def summary(rows: Sequence[CheckRow]) -> str:
    """``N rows passed, M failed``."""
    passed = sum(row.passed for row in rows)
    return f"{passed} rows passed, {len(rows) - passed} failed"

"""Prints a status: plain aligned columns for scripts and files, colours where a person looks at a terminal."""

from collections.abc import Iterator
from typing import Final, TextIO

from pilothouse.cli.status_table import NOTHING, Table, explain, headline, problem_line, suspects, tabulate
from pilothouse.server.readmodel import Status

STYLES: Final = {
    "SYNCED": "green",
    "ready": "green",
    "WARMING": "yellow",
    "STALE": "yellow",
    "REFUSED": "bold red",
    "STUCK": "bold red",
    "not live": "bold red",
    "live, not ready": "yellow",
    "agent lost": "bold red",
    "NOT SENT": "dim",
    NOTHING: "dim",
}
"""How a cell looks that begins with this word."""


def print_status(status: Status, address: str, file: TextIO, *, wide: bool = False) -> None:
    """Print table, reasons and problems to ``file``."""
    table = tabulate(status, wide=wide)
    if wide:
        print(headline(status, address) + "\n", file=file)
    if not table.rows:
        print(f"No proxy is connected to the control plane at {address}.", file=file)
    elif file.isatty():
        print_coloured(table, file)
    else:
        for line in align(table):
            print(line, file=file)
    for line in remarks(status):
        print(line, file=file)


def align(table: Table) -> Iterator[str]:
    """The lines of plain columns, two blanks apart, never wrapped."""
    lines = (table.heads, *table.rows)
    widths = [max(len(line[i]) for line in lines) for i in range(len(table.heads))]
    for line in lines:
        yield "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()


def remarks(status: Status) -> Iterator[str]:
    """Everything below the table."""
    reasons = tuple(explain(status))
    if reasons:
        yield ""
        yield from reasons
    lost = tuple(suspects(status))
    if lost:
        yield ""
        yield from lost
    if status.problems:
        yield ""
        yield f"Problems ({len(status.problems)}):"
        yield from (f"  {problem_line(problem)}" for problem in status.problems)


def print_coloured(table: Table, file: TextIO) -> None:
    """The same table in colour, as wide as its content: a terminal scrolls or folds by itself."""
    from rich.console import Console
    from rich.table import Table as RichTable
    from rich.text import Text

    shown = RichTable(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for head in table.heads:
        shown.add_column(head, no_wrap=True)
    for row in table.rows:
        shown.add_row(*(Text(cell, style_of(cell)) for cell in row))
    width = max(len(line) for line in align(table)) + 2 * len(table.heads)
    Console(file=file, width=width, highlight=False, emoji=False).print(shown, soft_wrap=True)


def style_of(cell: str) -> str:
    """The style for a cell's first words."""
    return next((style for word, style in STYLES.items() if cell.startswith(word)), "")

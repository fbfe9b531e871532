"""``pilothouse accept``: let go of objects that left the configuration folder and are held.

Shows what is held, and lets go of exactly that: what was deleted meanwhile stays held under another name.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Final

import typer

from pilothouse.cli.options import CONTEXT, command_of
from pilothouse.cli.status import AddressOption, StatusOptions, TokenFileOption, choose_target, read_credential

if TYPE_CHECKING:
    from pilothouse.server.readmodel import HeldStatus

SHOWN: Final = 10
"""Objects that are named; the count tells how many more there are."""


@dataclass(frozen=True, slots=True)
class AcceptOptions:
    """What the command line of ``accept`` says."""

    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what is held.")] = False
    change: Annotated[
        str, typer.Option(metavar="NAME", help="Accept only the change of this name, as `status` shows it.")
    ] = ""
    address: AddressOption = ""
    token_file: TokenFileOption = ""


def declare(app: typer.Typer) -> None:
    """Add the command."""
    app.command("accept", context_settings=CONTEXT)(command_of(AcceptOptions, accept))


def accept(options: AcceptOptions) -> None:
    """Let go of the objects whose deletion is held, as `pilothouse status` tells.

    To undo the deletion instead, bring the files back: the hold then ends by itself.
    """
    from pathlib import Path

    from pilothouse.demo.query import accept_held, ask_held
    from pilothouse.demo.runtime import find_runs, runtime_root
    from pilothouse.kit.errors import PilothouseError

    where = StatusOptions(address=options.address, token_file=options.token_file)
    target = choose_target(where, find_runs(runtime_root()), Path.cwd())
    token = read_credential(target.token_file)
    found = [held for held in ask_held(target.address, token) if options.change in ("", held.change)]
    if not found and options.change:
        raise PilothouseError(f"the change {options.change} is not held now; `pilothouse status` names what is")
    if not found:
        print("Nothing is held.")
    for held in found:
        print(describe_held(held))
        if options.dry_run:
            continue
        if not accept_held(target.address, token, held):
            raise PilothouseError("the folder has changed meanwhile, so nothing was accepted; run it again and look")
        print(f"Accepted: {len(held.objects)} objects are let go.")


def describe_held(held: "HeldStatus") -> str:
    """What is held, with the first few objects by name."""
    more = len(held.objects) - SHOWN
    lines = [f"{len(held.objects)} of {held.of} objects from {held.source} are held (change {held.change}):"]
    lines += [f"  {name}" for name in held.objects[:SHOWN]]
    return "\n".join(lines + ([f"  and {more} more"] if more > 0 else []))

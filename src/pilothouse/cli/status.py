"""``pilothouse status``: every proxy, whether it has what it should have, and if not, why.

Asks the control plane once and prints. Finds a mesh of ``pilothouse up`` by itself; imports neither gRPC nor an HTTP
library, so that the answer comes at once.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Final, TypeAlias

import typer

from pilothouse.cli.options import CONTEXT, command_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pilothouse.demo.runtime import RunRecord

DEFAULT_ADDRESS: Final = "127.0.0.1:15014"
DEFAULT_TOKEN_FILE: Final = ".pilothouse/token"

AddressOption: TypeAlias = Annotated[
    str,
    typer.Option(
        metavar="HOST:PORT",
        help=f"The control plane's admin address [default: that of a running `up`, or {DEFAULT_ADDRESS}].",
    ),
]
TokenFileOption: TypeAlias = Annotated[
    str, typer.Option(metavar="FILE", help=f"Its token file [default: that of `up`, or {DEFAULT_TOKEN_FILE}].")
]


class Output(StrEnum):
    """The forms of the answer."""

    TABLE = "table"
    WIDE = "wide"
    JSON = "json"


@dataclass(frozen=True, slots=True)
class StatusOptions:
    """What the command line of ``status`` says."""

    output: Annotated[
        Output, typer.Option("--output", "-o", help="wide adds memory, restarts, versions and connections.")
    ] = Output.TABLE
    address: AddressOption = ""
    token_file: TokenFileOption = ""


@dataclass(frozen=True, slots=True)
class Target:
    """Whom to ask, and with which credential; no file means none."""

    address: str
    token_file: str


def declare(app: typer.Typer) -> None:
    """Add the command."""
    app.command("status", context_settings=CONTEXT)(command_of(StatusOptions, status))


def status(options: StatusOptions) -> None:
    """Show every proxy with the state of each xDS type, what Envoy says of itself, and what is wrong.

    SYNCED: acknowledged. WARMING, STALE: under way. REFUSED: Envoy said no, and serves the last good. STUCK: no answer.
    """
    import sys
    from pathlib import Path

    import msgspec

    from pilothouse.cli.status_print import print_status
    from pilothouse.demo.query import ask_status
    from pilothouse.demo.runtime import find_runs, runtime_root

    target = choose_target(options, find_runs(runtime_root()), Path.cwd())
    answer = ask_status(target.address, read_credential(target.token_file))
    if options.output is Output.JSON:
        print(msgspec.json.format(msgspec.json.encode(answer)).decode())
    else:
        print_status(answer, target.address, sys.stdout, wide=options.output is Output.WIDE)


def choose_target(options: StatusOptions, runs: "Sequence[RunRecord]", here: "Path") -> Target:
    """Whom the options mean, given the meshes that run here. Raises SettingsError if several could be meant."""
    from pilothouse.kit.errors import SettingsError

    if options.address:
        fitting = [run for run in runs if run.admin_address == options.address]
    elif len(runs) > 1:
        which = "\n".join(f"  --address {run.admin_address}   (up --port {run.port})" for run in runs)
        raise SettingsError(f"several meshes run here; say which one:\n{which}")
    else:
        fitting = list(runs)
    if fitting:
        run = fitting[0]
        return Target(run.admin_address, options.token_file or run.token_file)
    default = here / DEFAULT_TOKEN_FILE
    token_file = options.token_file or (str(default) if default.exists() else "")
    return Target(options.address or DEFAULT_ADDRESS, token_file)


def read_credential(path: str) -> str:
    """The token in ``path``; none without a path. Raises SettingsError."""
    from pathlib import Path

    from pilothouse.identity.tokens import read_token
    from pilothouse.kit.errors import SettingsError

    try:
        return read_token(Path(path)) if path else ""
    except OSError as error:
        raise SettingsError(f"cannot read the token file {path}: {error.strerror}") from error

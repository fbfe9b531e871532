"""``pilothouse up``: a real mesh on this machine, for looking, trying and checking."""

from dataclasses import dataclass
from typing import Annotated

import typer

from pilothouse.cli.options import CONTEXT, command_of


@dataclass(frozen=True, slots=True)
class UpOptions:
    """What the command line of ``up`` says."""

    port: Annotated[
        int, typer.Option(metavar="PORT", help="The gateway's port; all other ports move by the same distance.")
    ] = 8080
    folder: Annotated[
        str,
        typer.Option(
            metavar="DIR",
            help="The configuration folder. What is in it is used as it is; an empty one is filled "
            "[default: one inside the runtime folder].",
        ),
    ] = ""
    check: Annotated[
        bool, typer.Option("--check", help="Play the talk's configurations with real requests, print what Envoy says.")
    ] = False
    break_row: Annotated[
        str,
        typer.Option("--break", metavar="ROW", help="With --check: leave this row's rule out, so that it must fail."),
    ] = ""
    direct_xds: Annotated[
        bool,
        typer.Option("--direct-xds", help="Connect each Envoy to the control plane itself, not through its agent."),
    ] = False
    keep_logs: Annotated[bool, typer.Option("--keep-logs", help="Do not remove the logs at the end.")] = False


def declare(app: typer.Typer) -> None:
    """Add the command."""
    app.command("up", context_settings=CONTEXT)(command_of(UpOptions, up))


def up(options: UpOptions) -> None:
    """Bring up bookinfo as a mesh: control plane, six apps with a real Envoy beside each, and a gateway.

    Ctrl-C ends all of it and leaves nothing behind but configuration that you edited.
    """
    import asyncio
    from pathlib import Path

    from pilothouse.demo.session import SessionOptions, run_session
    from pilothouse.demo.up import MeshOptions
    from pilothouse.kit.errors import SettingsError

    if options.break_row and not options.check:
        raise SettingsError("--break names a row of the check: give --check, too")
    folder = Path(options.folder).expanduser() if options.folder else None
    mesh = MeshOptions(
        options.port,
        folder,
        keep_logs=options.keep_logs,
        check=options.check,
        direct_xds=options.direct_xds,
    )
    raise typer.Exit(asyncio.run(run_session(SessionOptions(mesh, options.check, options.break_row or None))))

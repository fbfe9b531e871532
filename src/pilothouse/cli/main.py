"""The entry of ``pilothouse``: which commands there are, and how an error looks on a terminal.

Commands are declared beside this module, one file each. Nothing heavy may be imported on the way here.
"""

import sys
from typing import Annotated, Final, TypeAlias

import typer

from pilothouse.cli import accept, agent, serve, status, up
from pilothouse.cli.options import CONTEXT
from pilothouse.kit.errors import PilothouseError, SettingsError

FAILED: Final = 1
MISUSED: Final = 2
INTERRUPTED: Final = 130

app: Final = typer.Typer(
    name="pilothouse",
    context_settings=CONTEXT,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
)
up.declare(app)
serve.declare(app)
agent.declare(app)
status.declare(app)
accept.declare(app)


def show_version(asked: bool) -> None:
    """Print the version and end, if ``asked``."""
    if asked:
        from pilothouse import __version__

        typer.echo(__version__)
        raise typer.Exit


Version: TypeAlias = Annotated[
    bool, typer.Option("--version", help="Print the version and exit.", callback=show_version, is_eager=True)
]


@app.callback()
def root(version: Version = False) -> None:
    """A service mesh for everything that is not Kubernetes: Istio's API, stock Envoy, no cluster."""


def run() -> None:
    """Run the command that the arguments name. What failed is told in plain words, without a traceback."""
    try:
        app()
    except PilothouseError as error:
        print(f"pilothouse: {error}", file=sys.stderr)
        sys.exit(MISUSED if isinstance(error, SettingsError) else FAILED)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    run()

"""``pilothouse agent reload`` and ``agent stop``: a word to the agent that runs here, over its control socket."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Final

import typer

from pilothouse.cli.options import CONTEXT, command_of

if TYPE_CHECKING:
    from pathlib import Path

    from pilothouse.agent.control import Request

AGENTS: Final = ".pilothouse/agents"
SECONDS: Final = 90.0
"""How long a silence of the agent may last: a validation, a drain, or a hot restart that waits."""


@dataclass(frozen=True, slots=True)
class WhichAgent:
    """The options that name a running agent."""

    name: Annotated[str, typer.Option(help="The workload's name, for an agent started in this folder.")] = ""
    state_dir: Annotated[str, typer.Option(metavar="DIR", help="The agent's state directory.")] = ""


@dataclass(frozen=True, slots=True)
class ReloadOptions(WhichAgent):
    """What the command line of ``agent reload`` says."""

    envoy: Annotated[
        str, typer.Option(metavar="PATH", help="The Envoy binary to take [default: as the agent finds it now].")
    ] = ""


def declare(group: typer.Typer) -> None:
    """Add the commands to the group ``agent``."""
    group.command("reload", context_settings=CONTEXT)(command_of(ReloadOptions, reload))
    group.command("stop", context_settings=CONTEXT)(command_of(WhichAgent, stop))


def reload(options: ReloadOptions) -> None:
    """Replace Envoy by a hot restart, without a failed request: a new binary, or the same one with its bootstrap.

    The running Envoy serves until the new one has its configuration, however long the control plane is away.
    """
    from pilothouse.agent.control import Request

    tell(state_dir_of(options.name, options.state_dir), Request("reload", options.envoy))


def stop(options: WhichAgent) -> None:
    """Leave the mesh in order: out of the registry, drained, Envoy ended; returns when all of it is done."""
    from pilothouse.agent.control import Request

    tell(state_dir_of(options.name, options.state_dir), Request("stop"))


def tell(state_dir: "Path", request: "Request") -> None:
    """Print what the agent answers. Exits 1 if it could not do what was asked."""
    from pilothouse.agent.control import ask_agent

    for reply in ask_agent(state_dir, request, SECONDS):
        if reply.done and not reply.ok:
            typer.echo(f"pilothouse: {reply.text}", err=True)
            raise typer.Exit(1)
        typer.echo(reply.text)


def state_dir_of(name: str, state_dir: str) -> "Path":
    """The state directory that is meant. Raises SettingsError if several could be."""
    from pathlib import Path

    from pilothouse.kit.errors import SettingsError

    if state_dir or name:
        return Path(state_dir) if state_dir else Path(AGENTS) / name
    found = sorted(path.parent for path in Path(AGENTS).glob("*/agent.sock"))
    if len(found) == 1:
        return found[0]
    names = ", ".join(path.name for path in found) or "none"
    raise SettingsError(f"which agent? Give --name or --state-dir; running in this folder: {names}")

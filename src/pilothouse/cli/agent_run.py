"""``pilothouse agent run -- CMD``: a command whose environment sends its requests through the sidecar.

Reads which proxy port the agent's Envoy was given from the agent's state folder, then becomes the command: same
process, same exit status, signals and terminal. It needs no running agent to start, and starts none.
"""

from dataclasses import dataclass
from typing import Annotated

import typer

from pilothouse.cli.options import CONTEXT, command_of


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What the command line of ``agent run`` says."""

    command: Annotated[
        list[str], typer.Argument(metavar="-- CMD [ARG]...", help="The command and its arguments.", show_default=False)
    ]
    name: Annotated[str, typer.Option(help="The workload's name, as given to the agent.")] = ""
    state_dir: Annotated[
        str,
        typer.Option(
            metavar="DIR", help="The agent's state folder [default: .pilothouse/agents/NAME].", show_default=False
        ),
    ] = ""
    proxy: Annotated[
        str, typer.Option(metavar="IP:PORT", help="The proxy port, if there is no state folder to read it from.")
    ] = ""
    no_proxy: Annotated[
        str, typer.Option(metavar="HOST,...", help="Further hosts that are reached directly, beside this machine.")
    ] = ""
    show: Annotated[bool, typer.Option("--print", help="Print the environment instead of running the command.")] = False


def declare_run(group: typer.Typer) -> None:
    """Add the command to the group ``agent``."""
    settings = {**CONTEXT, "allow_interspersed_args": False}
    group.command("run", context_settings=settings)(command_of(RunOptions, run))


def run(options: RunOptions) -> None:
    """Run a command whose HTTP, gRPC and https requests go through the sidecar; its exit status is this one's.

    Sets HTTP_PROXY, HTTPS_PROXY and NO_PROXY in both cases, grpc_proxy, JAVA_TOOL_OPTIONS and NODE_USE_ENV_PROXY.
    """
    import os
    import shlex

    from pilothouse.agent.environment import proxy_environment
    from pilothouse.kit.errors import SettingsError

    changed = proxy_environment(find_proxy(options), options.no_proxy, os.environ)
    if options.show:
        for name, value in changed.items():
            print(f"export {name}={shlex.quote(value)}")
        return
    try:
        os.execvpe(options.command[0], options.command, {**os.environ, **changed})
    except OSError as error:
        raise SettingsError(f"cannot run {options.command[0]}: {error.strerror}") from error


def find_proxy(options: RunOptions) -> str:
    """``IP:PORT`` of the proxy port: as given, or as the agent's bootstrap says. Raises SettingsError."""
    from pathlib import Path

    from pilothouse.agent.environment import BOOTSTRAP, announced_proxy
    from pilothouse.kit.errors import SettingsError

    if options.proxy:
        return options.proxy
    if not options.name and not options.state_dir:
        raise SettingsError("say whose proxy port the command uses: --name, --state-dir or --proxy IP:PORT")
    path = Path(options.state_dir or f".pilothouse/agents/{options.name}") / BOOTSTRAP
    try:
        found = announced_proxy(path.read_bytes())
    except OSError as error:
        raise SettingsError(f"cannot read {path}: {error.strerror}; start the agent first, or give --proxy") from error
    if not found:
        raise SettingsError(f"{path}: this agent has no proxy port; start it with --http-proxy-port")
    return found

"""``pilothouse agent``: one sidecar or one gateway, joined to a control plane.

A group, so that commands about a running agent can stand below it; without one of them it is the agent itself.
``agent_options`` reads the command line; this module only runs what it says.
"""

from typing import Final

import typer

from pilothouse.cli import agent_control, install
from pilothouse.cli.agent_options import AgentOptions, decode_agent
from pilothouse.cli.agent_run import declare_run
from pilothouse.cli.options import CONTEXT, group_of

EXAMPLE: Final = """
Example: pilothouse agent --token-file t --name reviews-v1 --address 127.44.0.3
--service reviews:9080:19080:9081/http --label version=v1 --http-proxy-port 15001 --health http:/health
"""


def declare(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(invoke_without_command=True, rich_markup_mode=None)
    group.callback(context_settings=CONTEXT, epilog=EXAMPLE)(group_of(AgentOptions, agent))
    install.declare(group)
    declare_run(group)
    agent_control.declare(group)
    app.add_typer(group, name="agent")


def agent(options: AgentOptions) -> None:
    """Run one sidecar or gateway: start Envoy, register the app beside it, keep both until Ctrl-C or SIGTERM.

    The workload is then out of the registry and Envoy drained before it ends; a second signal ends all at once. If
    the agent itself is killed, Envoy serves on, and the next agent with the same state directory adopts it.
    """
    import asyncio
    from pathlib import Path

    from pilothouse.cli.logs import configure_logs
    from pilothouse.cli.signals import run_until_signalled

    settings = decode_agent(options)
    configure_logs(options.log_format)

    from pilothouse.agent.holding import end_now
    from pilothouse.agent.run import run_agent

    async def work(stop: asyncio.Event) -> int:
        return await run_agent(settings, stop)

    raise typer.Exit(run_until_signalled(work, lambda: end_now(Path(settings.state_dir))))

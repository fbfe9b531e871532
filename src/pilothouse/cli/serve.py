"""``pilothouse serve``: the control plane alone, from a settings file and flags that win over it."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from pilothouse.cli.log_format import LogFormat, LogFormatOption
from pilothouse.cli.options import CONTEXT, command_of

if TYPE_CHECKING:
    from pilothouse.server.settings import ServerSettings


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """What the command line of ``serve`` says. Empty texts leave a setting as the file or the default has it."""

    config: Annotated[str, typer.Option("--config", metavar="FILE", help="Settings file (YAML).")] = ""
    xds_address: Annotated[
        str, typer.Option(metavar="HOST:PORT", help="Where proxies and agents connect [default: 127.0.0.1:15010].")
    ] = ""
    admin_address: Annotated[
        str, typer.Option(metavar="HOST:PORT", help="Status, metrics and debug data [default: 127.0.0.1:15014].")
    ] = ""
    config_folder: Annotated[
        str, typer.Option(metavar="DIR", help="Folder with Istio's YAML; watched [default: config].")
    ] = ""
    state_dir: Annotated[
        str, typer.Option(metavar="DIR", help="Folder for the token and other state [default: .pilothouse].")
    ] = ""
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Allow addresses that other machines can reach, without TLS.")
    ] = False
    log_format: LogFormatOption = LogFormat.CONSOLE


def declare(app: typer.Typer) -> None:
    """Add the command."""
    app.command("serve", context_settings=CONTEXT)(command_of(ServeOptions, serve))


def serve(options: ServeOptions) -> None:
    """Run the control plane. Ctrl-C or SIGTERM ends it in order, a second one at once."""
    import asyncio

    from pilothouse.aio.notify import READY, notify
    from pilothouse.cli.logs import configure_logs
    from pilothouse.cli.signals import run_until_signalled
    from pilothouse.server.run import Bound, run_server

    settings = decode_serve(options)
    configure_logs(options.log_format)

    def started(bound: Bound) -> None:
        notify(READY, f"STATUS=xDS on {bound.xds_address}, admin API on {bound.admin_address}")

    async def work(stop: asyncio.Event) -> int:
        await run_server(settings, stop, started)
        return 0

    raise typer.Exit(run_until_signalled(work))


def decode_serve(options: ServeOptions) -> "ServerSettings":
    """The settings that file and flags add up to. Paths in flags are the shell's, paths in the file the file's.

    Raises SettingsError.
    """
    from pathlib import Path

    import msgspec

    from pilothouse.server.settings import ServerSettings, split_address
    from pilothouse.server.settings_file import anchor, load_settings

    here = Path.cwd()
    settings = load_settings(Path(options.config)) if options.config else anchor(ServerSettings(), here)
    flags = ("xds_address", "admin_address", "config_folder", "state_dir")
    chosen: dict[str, object] = {name: value for name in flags if (value := getattr(options, name))}
    if options.insecure:
        chosen["insecure"] = True
    for name in ("xds_address", "admin_address"):
        if name in chosen:
            split_address(str(chosen[name]), f"--{name.replace('_', '-')}")
    return anchor(msgspec.structs.replace(settings, **chosen), here)

"""The option ``--log-format``, which every long-running command has. Light: ``logs`` does the work."""

from enum import StrEnum
from typing import Annotated, TypeAlias

import typer


class LogFormat(StrEnum):
    """The form of a log line."""

    CONSOLE = "console"
    JSON = "json"


LogFormatOption: TypeAlias = Annotated[
    LogFormat, typer.Option("--log-format", help="Lines for a person, or JSON for a machine.")
]

"""A dataclass becomes a command with these options, and comes back whole."""

from dataclasses import dataclass, field
from typing import Annotated

import typer
from typer.testing import CliRunner

from pilothouse.cli.options import command_of


@dataclass(frozen=True, slots=True)
class Options:
    port: Annotated[int, typer.Option(help="A port.")] = 8080
    label: Annotated[list[str], typer.Option("--label")] = field(default_factory=list)
    loud: Annotated[bool, typer.Option("--loud")] = False


def invoke(*arguments: str) -> tuple[list[Options], str]:
    seen: list[Options] = []

    def greet(options: Options) -> None:
        """Say hello."""
        seen.append(options)

    app = typer.Typer(rich_markup_mode=None)
    app.command("greet")(command_of(Options, greet))
    result = CliRunner().invoke(app, list(arguments))
    return seen, result.output


def test_defaults_are_the_fields() -> None:
    assert invoke()[0] == [Options()]


def test_given_options_fill_the_fields() -> None:
    seen, _ = invoke("--port", "1", "--label", "a=b", "--label", "c=d", "--loud")
    assert seen == [Options(1, ["a=b", "c=d"], loud=True)]


def test_the_help_is_the_functions() -> None:
    text = invoke("--help")[1]
    assert "Say hello." in text
    assert "A port." in text


def test_a_value_of_the_wrong_type_reaches_nobody() -> None:
    seen, text = invoke("--port", "high")
    assert not seen
    assert "Invalid value for '--port'" in text

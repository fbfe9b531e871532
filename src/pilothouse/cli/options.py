"""A command's options as one frozen value: declared as a dataclass, shown by Typer, handed over whole.

Typer reads options off a function's parameters. A command with fifteen of them would be a function with fifteen
parameters; this turns the fields of a dataclass into that signature instead. It knows no option itself.
"""

from collections.abc import Callable
from dataclasses import MISSING, Field, fields
from inspect import Parameter, Signature, signature
from typing import TYPE_CHECKING, Any, Final, TypeVar, get_type_hints

import typer

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

CONTEXT: Final = {"help_option_names": ["-h", "--help"], "max_content_width": 110}
"""Click's context settings for every command."""

T = TypeVar("T", bound="DataclassInstance")


def command_of(options: type[T], work: Callable[[T], None]) -> Callable[..., None]:
    """A function for Typer whose parameters are the fields of the dataclass ``options``; it calls ``work``.

    The name and the docstring, which is the command's help, are those of ``work``.
    """
    hints = get_type_hints(options, include_extras=True)
    described = fields(options)

    def command(**values: Any) -> None:
        work(options(**values))

    command.__name__ = work.__name__
    command.__doc__ = work.__doc__
    command.__annotations__ = {field.name: hints[field.name] for field in described}
    command.__dict__["__signature__"] = Signature([parameter(field, hints[field.name]) for field in described])
    return command


def group_of(options: type[T], work: Callable[[T], None]) -> Callable[..., None]:
    """As ``command_of``, for the callback of a group: ``work`` is called only if no command of the group is named."""
    command = command_of(options, work)

    def entry(context: typer.Context, **values: Any) -> None:
        if context.invoked_subcommand is None:
            command(**values)

    first = Parameter("context", Parameter.KEYWORD_ONLY, annotation=typer.Context)
    entry.__name__, entry.__doc__ = command.__name__, command.__doc__
    entry.__annotations__ = {"context": typer.Context, **command.__annotations__}
    entry.__dict__["__signature__"] = Signature([first, *signature(command).parameters.values()])
    return entry


def parameter(field: "Field[Any]", hint: Any) -> Parameter:
    """The parameter that a field stands for."""
    default: Any = field.default
    if field.default_factory is not MISSING:
        default = field.default_factory()
    if default is MISSING:
        default = Parameter.empty
    return Parameter(field.name, Parameter.KEYWORD_ONLY, default=default, annotation=hint)

"""The lenient spellings of proto JSON, brought to one form before decoding.

proto JSON accepts snake_case names besides lowerCamelCase, integers as texts, whole floats as integers, and null for
"not set". This pass knows the fields from the Structs themselves, so no table has to be kept. It runs only on objects
that the strict decoder refused; ``spellings`` joins in here with the names that Istio itself gave up.
"""

import re
from dataclasses import dataclass, field
from functools import cache
from typing import Final, TypeAlias, cast

import msgspec
from msgspec import inspect

from pilothouse.config import spellings
from pilothouse.config.findings import Finding, Path, show_path
from pilothouse.config.schema import Message, lower_camel
from pilothouse.kit import codes

Raw: TypeAlias = dict[str, object]

_INTEGER: Final = re.compile(r"-?[0-9]{1,20}", re.ASCII)


@dataclass(slots=True)
class Canonical:
    """What the pass found on its way: ``renamed`` maps the shown path of a written key to its proper name."""

    findings: list[Finding] = field(default_factory=list)
    renamed: dict[str, str] = field(default_factory=dict)


def canonical(kind: type[Message], value: object, path: Path, found: Canonical) -> object:
    """``value``, meant for ``kind``, in canonical form. What does not fit is left as it is, for ``explain``."""
    return _visit(type_of(kind), value, path, found)


@cache
def type_of(kind: type) -> inspect.Type:
    """msgspec's description of a type."""
    return inspect.type_info(kind)


@cache
def fields_of(kind: type[Message]) -> dict[str, inspect.Type]:
    """The wire name and type of every field of a message."""
    described = cast(inspect.StructType, type_of(kind))
    return {entry.encode_name: present(entry.type) for entry in described.fields}


def present(described: inspect.Type) -> inspect.Type:
    """The type behind an optional one."""
    if isinstance(described, inspect.UnionType):
        return next(member for member in described.types if not isinstance(member, inspect.NoneType))
    return described


def _visit(described: inspect.Type, value: object, path: Path, found: Canonical) -> object:
    match described:
        case inspect.StructType(cls=cls) if isinstance(value, dict):
            return _message(cast(type[Message], cls), value, path, found)
        case inspect.VarTupleType(item_type=item) if isinstance(value, list):
            return [_visit(present(item), each, (*path, index), found) for index, each in enumerate(value)]
        case inspect.DictType(value_type=item) if isinstance(value, dict):
            return {key: _visit(present(item), each, (*path, key), found) for key, each in value.items()}
        case inspect.IntType():
            return _integer(value)
        case inspect.FloatType() if isinstance(value, str):
            return _number(value)
        case _:
            return value


def _message(kind: type[Message], value: Raw, path: Path, found: Canonical) -> Raw:
    known = fields_of(kind)
    old = spellings.OLD_FIELDS.get(kind, frozenset())
    renamed: Raw = {}
    for written, each in value.items():
        name = written
        if written not in known and written not in old:
            camel = lower_camel(written)
            name = camel if camel in known or camel in old else written
        if name in renamed:
            message = f"'{name}' is written twice, the second time as '{written}'"
            found.findings.append(Finding(codes.CONFLICTING_FIELDS, (*path, name), message))
        elif each is not None:
            renamed[name] = each
            if name != written:
                found.renamed[show_path((*path, written))] = name
    if old & renamed.keys():
        found.findings.extend(spellings.modernise(kind, renamed, path))
    return {
        name: _visit(known[name], each, (*path, name), found) if name in known else each
        for name, each in renamed.items()
    }


def _integer(value: object) -> object:
    """proto JSON takes ``"5"`` and ``5.0`` for 5."""
    if isinstance(value, str) and _INTEGER.fullmatch(value):
        return int(value)
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _number(value: str) -> object:
    """proto JSON takes ``"0.5"`` for 0.5."""
    try:
        return msgspec.json.decode(value, type=float)
    except msgspec.DecodeError:
        return value

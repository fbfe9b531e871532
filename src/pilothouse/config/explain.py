"""The slow look at an object that does not fit its type: every misfit at once, each with its path.

The strict decoder stops at the first error; this walk, driven by msgspec's own description of the types, finds all of
them and repairs a copy, so that the rules in ``validate_*`` can still be asked about the rest. It costs nothing on good
input because it is not called.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias, cast

from msgspec import inspect

from pilothouse.config.duration import Duration, decode_duration
from pilothouse.config.fields import fields_of, present, type_of
from pilothouse.config.findings import Finding, Path, all_of, did_you_mean, one_of, shortened, show_path
from pilothouse.config.schema import Message, lower_camel
from pilothouse.kit import codes
from pilothouse.kit.problem import ProblemCode

MAX_FINDINGS: Final = 100
"""Findings of one object that are explained."""

Raw: TypeAlias = dict[str, object]

_TRUTH: Final = {
    **dict.fromkeys(("true", "yes", "on", "y", "1"), "Write true, without quotes."),
    **dict.fromkeys(("false", "no", "off", "n", "0"), "Write false, without quotes."),
}


class _Damaged:
    """Marks a value that had to be left out."""


_DAMAGED: Final = _Damaged()


@dataclass(slots=True)
class Explanation:
    """What is wrong with a value. ``damaged`` holds the paths where ``repaired`` differs from what was written."""

    findings: list[Finding] = field(default_factory=list)
    damaged: list[Path] = field(default_factory=list)
    repaired: object = None


def explain(kind: type[Message], value: object, path: Path) -> Explanation:
    """Everything that keeps ``value`` from being a ``kind``. ``repaired`` decodes without an error."""
    explainer = _Explainer()
    repaired = explainer.visit(type_of(kind), value, path)
    explainer.result.repaired = {} if isinstance(repaired, _Damaged) else repaired
    return explainer.result


class _Explainer:
    """One walk. ``_around`` holds the messages around the current place, outermost first."""

    def __init__(self) -> None:
        self.result = Explanation()
        self._around: list[tuple[type[Message], Path]] = []

    def visit(self, described: inspect.Type, value: object, path: Path) -> object:
        """The value, repaired; ``_DAMAGED`` if nothing can be made of it."""
        match described:
            case inspect.UnionType():
                return None if value is None else self.visit(present(described), value, path)
            case inspect.StructType(cls=cls):
                return self._message(cast(type[Message], cls), value, path)
            case inspect.VarTupleType(item_type=item):
                return self._list(item, value, path)
            case inspect.DictType(value_type=item):
                return self._mapping(item, value, path)
            case inspect.CustomType(cls=cls) if cls is Duration:
                return self._duration(value, path)
            case inspect.EnumType(cls=cls):
                return self._word([str(member.value) for member in cls], value, path)
            case _:
                return self._scalar(described, value, path)

    def _message(self, kind: type[Message], value: object, path: Path) -> object:
        if not isinstance(value, dict):
            return self._wrong(path, "an object with fields", value)
        known = fields_of(kind)
        self._around.append((kind, path))
        repaired: Raw = {}
        for name, each in value.items():
            if name not in known:
                self._unknown(kind, name, path)
                continue
            fixed = self.visit(known[name], each, (*path, name))
            if not isinstance(fixed, _Damaged):
                repaired[name] = fixed
        self._around.pop()
        return repaired

    def _list(self, item: inspect.Type, value: object, path: Path) -> object:
        if not isinstance(value, list):
            remedy = f"Write a list: [{value}]." if isinstance(value, str | int | float) else "Begin it with '- '."
            return self._wrong(path, "a list", value, remedy)
        return [self._kept(item, each, (*path, index)) for index, each in enumerate(value)]

    def _kept(self, item: inspect.Type, value: object, path: Path) -> object:
        """A list item; a damaged one is replaced, so that the indices of the others stay."""
        fixed = self.visit(item, value, path)
        if not isinstance(fixed, _Damaged):
            return fixed
        return {} if isinstance(item, inspect.StructType) else "" if isinstance(item, inspect.StrType) else 0

    def _mapping(self, item: inspect.Type, value: object, path: Path) -> object:
        if not isinstance(value, dict):
            return self._wrong(path, "a mapping", value)
        fixed = {key: self.visit(item, each, (*path, key)) for key, each in value.items()}
        return {key: each for key, each in fixed.items() if not isinstance(each, _Damaged)}

    def _duration(self, value: object, path: Path) -> object:
        if not isinstance(value, str):
            remedy = f"Write a number with a unit, such as {value}s." if isinstance(value, int | float) else ""
            return self._wrong(path, "a duration", value, remedy)
        try:
            decode_duration(value)
        except ValueError as error:
            return self._damage(codes.INVALID_DURATION, path, str(error))
        return value

    def _word(self, words: list[str], value: object, path: Path) -> object:
        if isinstance(value, str) and value in words:
            return value
        if not isinstance(value, str):
            return self._wrong(path, one_of(words), value)
        remedy = did_you_mean(value, words) or f"Use {one_of(words)}."
        return self._damage(codes.UNKNOWN_VALUE, path, f"'{value}' is not one of {one_of(words)}", remedy)

    def _scalar(self, described: inspect.Type, value: object, path: Path) -> object:
        match described:
            case inspect.StrType() if not isinstance(value, str):
                text = shown(value)
                remedy = f'Put it in quotes: "{text}".' if isinstance(value, bool | int | float) else ""
                remedy = 'Write "" for an empty text.' if value is None else remedy
                return self._wrong(path, "a text", value, remedy)
            case inspect.BoolType() if not isinstance(value, bool):
                return self._wrong(path, "true or false", value, _TRUTH.get(str(value).lower(), ""))
            case inspect.FloatType() if isinstance(value, bool) or not isinstance(value, int | float):
                return self._wrong(path, "a number", value)
            case inspect.IntType(ge=low, le=high):
                if isinstance(value, bool) or not isinstance(value, int):
                    return self._wrong(path, "a whole number", value)
                if (low is not None and value < low) or (high is not None and value > high):
                    return self._damage(codes.OUT_OF_RANGE, path, f"{value} is not between {low} and {high}")
        return value

    def _unknown(self, kind: type[Message], name: str, path: Path) -> None:
        if self._full():
            return
        message = f"{kind.__name__} has no field '{name}'"
        remedy = did_you_mean(lower_camel(name), fields_of(kind)) or self._elsewhere(kind, name)
        self.result.findings.append(Finding(codes.UNKNOWN_FIELD, (*path, name), message, remedy, at_key=True))
        self.result.damaged.append((*path, name))

    def _elsewhere(self, kind: type[Message], name: str) -> str:
        """The nearest place around or below where a field of this name would be right: often the indentation is off."""
        for around, path in reversed(self._around[:-1]):
            if name in fields_of(around):
                return f"'{name}' is a field of {show_path(path)}: check the indentation."
        for inner, described in fields_of(kind).items():
            if isinstance(described, inspect.StructType) and name in fields_of(cast(type[Message], described.cls)):
                return f"'{name}' is a field of '{inner}', one level down."
        return f"Its fields are {all_of(fields_of(kind))}."

    def _wrong(self, path: Path, wanted: str, value: object, remedy: str = "") -> _Damaged:
        return self._damage(codes.WRONG_TYPE, path, f"expected {wanted}, found {describe(value)}", remedy)

    def _damage(self, code: ProblemCode, path: Path, message: str, remedy: str = "") -> _Damaged:
        self.result.damaged.append(path)
        if not self._full():
            self.result.findings.append(Finding(code, path, message, remedy))
        return _DAMAGED

    def _full(self) -> bool:
        return len(self.result.findings) >= MAX_FINDINGS


def describe(value: object) -> str:
    """A value in a few words, for messages."""
    if value is None:
        return "nothing"
    if isinstance(value, Mapping):
        return "an object with fields"
    if isinstance(value, list):
        return "a list"
    text = shortened(shown(value), 40)
    if isinstance(value, str):
        return f"the text '{text}'"
    return text if isinstance(value, bool) else f"the number {text}"


def shown(value: object) -> str:
    """A scalar as YAML writes it."""
    return str(value).lower() if isinstance(value, bool) else str(value)

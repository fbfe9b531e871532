"""From a YAML settings file to ``ServerSettings``: every mistake at once, each with its line and the way out.

Plain scalars follow YAML 1.2 (``on`` and ``no`` are text). A mistake in a settings file stops the start, because a
control plane that runs with half of what was asked for is worse than none. Reads one file; starts nothing.
"""

import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Final, TypeVar, get_type_hints

import msgspec
import yaml
from msgspec import Meta

from pilothouse.kit.errors import SettingsError
from pilothouse.server.settings import DURATION, ServerSettings, annotated

S = TypeVar("S", bound=msgspec.Struct)

MOST_BYTES: Final = 256 * 1024
_UNITS: Final[Mapping[str, float]] = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")
_WORDS: Final = {"float": "a number", "int": "a number", "str": "text", "bool": "true or false", "array": "a list"}
_INTEGER: Final = re.compile(r"[-+]?\d{1,18}")
_NUMBER: Final = re.compile(r"[-+]?(\d+\.\d*|\.\d+|\d+)([eE][-+]?\d{1,3})?")


def load_settings(path: Path) -> ServerSettings:
    """The settings in ``path``, relative paths taken from the file's own folder.

    Raises SettingsError that lists every mistake as ``file:line:column: key: what is wrong``.
    """
    try:
        with path.open("rb") as file:
            body = file.read(MOST_BYTES + 1)
        text = body.decode("utf-8-sig")
    except OSError as error:
        raise SettingsError(f"cannot read the settings file {path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path}: not UTF-8 text (byte {error.start})") from error
    if len(body) > MOST_BYTES:
        raise SettingsError(f"{path}: larger than {MOST_BYTES // 1024} KiB, which no settings file is")
    return anchor(decode_settings(text, str(path)), path.absolute().parent)


def anchor(settings: ServerSettings, folder: Path) -> ServerSettings:
    """The same settings with relative paths taken from ``folder``; ``~`` is the user's home."""

    def place(text: str) -> str:
        return str(folder / Path(text).expanduser()) if text else ""

    return msgspec.structs.replace(
        settings,
        config_folder=place(settings.config_folder),
        state_dir=place(settings.state_dir),
        token_file=place(settings.token_file),
    )


def decode_settings(text: str, path: str) -> ServerSettings:
    """The settings that ``text`` spells out; an empty document means all defaults. Errors as ``load_settings``."""
    try:
        root = yaml.compose(text, Loader=yaml.CSafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{path}:{mark.line + 1}:{mark.column + 1}" if mark else path
        raise SettingsError(f"{place}: not YAML: {error.problem or error.context}") from error
    except yaml.YAMLError as error:
        raise SettingsError(f"{path}: not YAML: {error}") from error
    if root is None or (isinstance(root, yaml.ScalarNode) and _plain(root) is None):
        return ServerSettings()
    reader = _Reader(path)
    settings = reader.section(ServerSettings, root, "")
    if reader.mistakes:
        raise SettingsError("\n".join(reader.mistakes))
    return settings


class _Reader:
    """Walks the document beside the settings' own types and gathers what is wrong."""

    def __init__(self, path: str) -> None:
        self._path = path
        self.mistakes: list[str] = []

    def _mistake(self, node: yaml.Node, key: str, text: str) -> None:
        mark = node.start_mark
        self.mistakes.append(f"{self._path}:{mark.line + 1}:{mark.column + 1}: {key or 'the document'}: {text}")

    def section(self, kind: type[S], node: yaml.Node, prefix: str) -> S:
        """The values of one section; what is wrong keeps its default and is noted."""
        hints = get_type_hints(kind, include_extras=True)
        fields = {field.encode_name: field.name for field in msgspec.structs.fields(kind)}
        values: dict[str, object] = {}
        for key, key_node, value_node in self._entries(node, prefix):
            full = prefix + key
            if key not in fields:
                near = get_close_matches(key, fields, n=1)
                hint = f"did you mean `{near[0]}`?" if near else f"known here: {', '.join(fields)}"
                self._mistake(key_node, full, f"unknown setting; {hint}")
            elif fields[key] in values:
                self._mistake(key_node, full, "set twice")
            else:
                value = self._value(hints[fields[key]], value_node, full)
                values[fields[key]] = getattr(kind(), fields[key]) if value is None else value
        return kind(**values)

    def _entries(self, node: yaml.Node, prefix: str) -> Iterator[tuple[str, yaml.Node, yaml.Node]]:
        if isinstance(node, yaml.ScalarNode) and _plain(node) is None:
            return
        if not isinstance(node, yaml.MappingNode):
            self._mistake(node, prefix.rstrip("."), "must be a section of `key: value` lines")
            return
        for key_node, value_node in node.value:
            if isinstance(key_node, yaml.ScalarNode):
                yield key_node.value, key_node, value_node
            else:
                self._mistake(key_node, prefix.rstrip("."), "a key must be text")

    def _value(self, hint: object, node: yaml.Node, key: str) -> object:
        """The value of one setting, or None if it is wrong (and noted)."""
        kind, meta = annotated(hint)
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
            return self.section(kind, node, key + ".")
        value = _content(node)
        if meta.extra == DURATION and isinstance(value, str):
            value = _seconds(value)
        try:
            converted: object = msgspec.convert(value, hint)
        except msgspec.ValidationError as error:
            self._mistake(node, key, _wrong(str(error), meta))
            return None
        return converted


def _wrong(text: str, meta: Meta) -> str:
    """msgspec's text as a sentence for this setting."""
    way = " (seconds, or a duration such as 100ms, 1.5s, 2m)" if meta.extra == DURATION else ""
    for word, plain in _WORDS.items():
        text = text.replace(f"`{word}`", plain)
    return text[:1].lower() + text[1:] + way


def _content(node: yaml.Node) -> object:
    """The value of a scalar, or of a list of scalars. No setting is deeper than that."""
    if isinstance(node, yaml.SequenceNode):
        return [_plain(item) if isinstance(item, yaml.ScalarNode) else {} for item in node.value]
    return _plain(node) if isinstance(node, yaml.ScalarNode) else {}


def _plain(node: yaml.ScalarNode) -> str | float | bool | None:
    """The value of a scalar by the core rules of YAML 1.2; quoted scalars are text."""
    text: str = node.value
    if node.style:
        return text
    if text in ("", "~", "null"):
        return None
    if text in ("true", "false"):
        return text == "true"
    if _INTEGER.fullmatch(text):
        return int(text)
    return float(text) if _NUMBER.fullmatch(text) else text


def _seconds(text: str) -> float | str:
    """Seconds of a duration, or the text as it was if it is none."""
    match = _DURATION.fullmatch(text)
    return float(match[1]) * _UNITS[match[2]] if match else text

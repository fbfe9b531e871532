"""YAML text → documents: plain values, with the nodes that know their positions.

First hop inside ``config``. Documents are cut apart before they are parsed, so one that is malformed does not take
its neighbours with it. libyaml parses; ``construct`` makes the values. Nothing here knows Istio.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from yaml._yaml import CParser
from yaml.error import MarkedYAMLError, YAMLError
from yaml.nodes import Node

from pilothouse.config.construct import PLAIN, QUOTED, Constructor
from pilothouse.config.positions import Place
from pilothouse.kit import codes
from pilothouse.kit.origin import FileOrigin
from pilothouse.kit.problem import Problem, ProblemCode

MAX_TEXT: Final = 16 * 1024 * 1024
"""Characters of one text."""
MAX_DOCUMENT: Final = 1024 * 1024
"""Characters of one document."""

_MARKER: Final = re.compile(r"^(?:---|\.\.\.)(?=[ \t\r\n]|\Z)", re.MULTILINE)
"""A marker at the start of a line ends a document wherever it stands, inside block scalars too (YAML 1.2 §9.1)."""
_FORBIDDEN: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff\ufeff\ufffe\uffff]")
"""Characters that YAML does not allow in a text (YAML 1.2 §5.1), and half surrogates."""
_HINTS: Final = {
    "mapping values are not allowed in this context": "Is a ': ' in this line part of a text? Then quote the text; "
    "otherwise check the indentation.",
    "did not find expected key": "Check the indentation of this line and of the lines above it.",
    "could not find expected ':'": "A key needs a ':' and a space behind it.",
    "did not find expected '-' indicator": "Check the indentation of this line against the list above it.",
}
_TAB: Final = "Indent with spaces: YAML does not allow tabs there."


@dataclass(frozen=True, slots=True)
class Document:
    """One document. ``place`` gives positions for paths inside ``value``; unless ``sound``, parts of it are missing."""

    value: object
    place: Place
    sound: bool = True


@dataclass(frozen=True, slots=True)
class Documents:
    """The documents of a text that could be read, and what could not be."""

    documents: tuple[Document, ...]
    problems: tuple[Problem, ...]


class _Composer(CParser):
    """libyaml's composer with our own idea of tags: only whether a scalar is plain matters here."""

    def resolve(self, kind: type[Node], value: object, implicit: object) -> str:
        """The tag of a node that has none."""
        return PLAIN if implicit == (True, False) else QUOTED

    def descend_resolver(self, parent: Node | None, index: object) -> None:
        """Called by the C parser; path-dependent tags do not exist here."""

    def ascend_resolver(self) -> None:
        """Called by the C parser; path-dependent tags do not exist here."""


def read_documents(text: str, path: str) -> Documents:
    """The documents of ``text``. ``path`` is what Problems show. Empty documents are left out. Never raises."""
    if len(text) > MAX_TEXT:
        message = f"the text has {len(text)} characters; at most {MAX_TEXT} are read"
        return Documents((), (Problem(codes.YAML_LIMIT, "", message, FileOrigin(path)),))
    documents: list[Document] = []
    problems: list[Problem] = []
    for first_line, chunk in cut(text.removeprefix("\ufeff")):
        _read_chunk(chunk, _Reader(path, first_line, documents, problems))
    return Documents(tuple(documents), tuple(problems))


def cut(text: str) -> Iterator[tuple[int, str]]:
    """The documents of a stream as texts, each with the number of lines before it."""
    start, line = 0, 0
    for marker in _MARKER.finditer(text):
        end = marker.start()
        if only_directives(text[start:end]):
            continue
        if end > start:
            yield line, text[start:end]
        line += text.count("\n", start, end)
        start = end
        if marker[0] == "...":
            start = marker.end()
    if start < len(text):
        yield line, text[start:]


def only_directives(chunk: str) -> bool:
    """Whether a text holds directives (``%YAML 1.2``), which belong to the document behind the next marker."""
    if not chunk.startswith("%") and "\n%" not in chunk:
        return False
    return all(not line.strip() or line.lstrip().startswith("#") or line[0] == "%" for line in chunk.split("\n"))


@dataclass(frozen=True, slots=True)
class _Reader:
    """Where the results of a chunk go."""

    path: str
    first_line: int
    documents: list[Document]
    problems: list[Problem]

    def report(self, code: ProblemCode, message: str, mark: tuple[int, int], remedy: str = "") -> None:
        """Note a Problem at a line and column of the chunk, both from 0."""
        origin = FileOrigin(self.path, mark[0] + self.first_line + 1, mark[1] + 1)
        self.problems.append(Problem(code, "", message, origin, remedy))


def _read_chunk(chunk: str, reader: _Reader) -> None:
    if len(chunk) > MAX_DOCUMENT:
        message = f"the document has {len(chunk)} characters; at most {MAX_DOCUMENT} are read"
        return reader.report(codes.YAML_LIMIT, message, (0, 0))
    forbidden = _FORBIDDEN.search(chunk)
    if forbidden is not None:
        message = f"the character U+{ord(forbidden[0]):04X} is not allowed in YAML"
        line = chunk.count("\n", 0, forbidden.start())
        column = forbidden.start() - (chunk.rfind("\n", 0, forbidden.start()) + 1)
        return reader.report(codes.YAML_SYNTAX, message, (line, column), "Remove the character, or write it escaped.")
    try:
        parser = _Composer(chunk)
        while parser.check_node():
            node = parser.get_node()
            if node is not None:
                _read_node(node, reader)
    except MarkedYAMLError as error:
        _report_syntax(error, chunk, reader)
    except (YAMLError, RecursionError) as error:
        reader.report(codes.YAML_LIMIT, f"the document cannot be read ({error})", (0, 0))


def _read_node(node: Node, reader: _Reader) -> None:
    place = Place(node, reader.path, reader.first_line)
    constructor = Constructor(place)
    value = constructor.value()
    reader.problems.extend(constructor.problems)
    if value is not None:
        reader.documents.append(Document(value, place, sound=not constructor.problems))


def _report_syntax(error: MarkedYAMLError, chunk: str, reader: _Reader) -> None:
    mark = error.problem_mark or error.context_mark
    line, column = (mark.line, mark.column) if mark is not None else (0, 0)
    problem = error.problem or "the syntax is wrong"
    if problem.startswith("exceeded maximum nesting depth"):
        return reader.report(codes.YAML_LIMIT, "the document is nested too deeply", (line, column))
    context = error.context or ""
    if error.context_mark is not None and context.startswith("while"):
        context += f" that begins in line {error.context_mark.line + reader.first_line + 1}"
    message = f"{problem}, {context}" if context.startswith("while") else problem
    lines = chunk.splitlines()
    here = lines[line] if line < len(lines) else ""
    hint = _TAB if here[: column + 1].endswith("\t") else _HINTS.get(problem, "")
    reader.report(codes.YAML_SYNTAX, message, (line, column), hint)

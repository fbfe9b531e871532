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
MAX_DOCUMENTS: Final = 20_000
"""Documents of one text."""

_MARKER: Final = re.compile(r"^(?:---|\.\.\.)(?=[ \t\r\n]|\Z)", re.MULTILINE)
"""A marker at the start of a line ends a document wherever it stands, inside block scalars too (YAML 1.2 §9.1)."""
_FORBIDDEN: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff\ufeff\ufffe\uffff]")
"""Characters that YAML does not allow in a text (YAML 1.2 §5.1), and half surrogates."""
_TAB: Final = ("a tab is used for indentation", "Indent with spaces: YAML does not allow tabs there.")
_QUOTE: Final = "Put the text in quotes."
_PLAIN_WORDS: Final = {
    "mapping values are not allowed in this context": (
        "a ':' cannot stand here",
        "If it is part of a text, quote the text; otherwise check the indentation.",
    ),
    "did not find expected key": (
        "something other than a key begins here",
        "Check the indentation of this line and of the lines above it.",
    ),
    "could not find expected ':'": ("a ':' is missing", "A key needs a ':' and a space behind it."),
    "did not find expected '-' indicator": (
        "something other than a list item begins here",
        "Check the indentation of this line and of the list above it.",
    ),
    "did not find expected ',' or '}'": ("a ',' or a '}' is missing before this place", ""),
    "did not find expected ',' or ']'": ("a ',' or a ']' is missing before this place", ""),
    "found character that cannot start any token": ("no value can begin with this character", _QUOTE),
    "found unexpected end of stream": ("the document ends within a quoted text", "Close the quotes."),
    "found undefined alias": ("no anchor has the name of this alias", "Define the anchor (&name) before it is used."),
    "found duplicate anchor; first occurrence": ("the name of this anchor was used before", "Use another name."),
    "did not find expected <document start>": ("something stands behind the end of the document's value", ""),
    "block sequence entries are not allowed in this context": (
        "a list item cannot stand here",
        "Begin the list on a line of its own below its key.",
    ),
}
"""libyaml's words → a sentence for people, and what to do."""
_STRUCTURES: Final = {
    "while parsing a flow mapping": "the mapping in braces",
    "while parsing a flow sequence": "the list in brackets",
    "while parsing a block mapping": "the mapping",
    "while parsing a block collection": "the list",
    "while scanning a quoted scalar": "the quoted text",
    "while scanning a simple key": "the key",
}


@dataclass(frozen=True, slots=True)
class Document:
    """One document. ``place`` gives positions for paths inside ``value``; parts of it are missing at ``flaws``."""

    value: object
    place: Place
    flaws: tuple[str, ...] = ()


class _Composer(CParser):
    """libyaml's composer with our own idea of tags: only whether a scalar is plain matters here."""

    def resolve(self, kind: type[Node], value: object, implicit: object) -> str:
        """The tag of a node that has none."""
        return PLAIN if implicit == (True, False) else QUOTED

    def descend_resolver(self, parent: Node | None, index: object) -> None:
        """Called by the C parser; path-dependent tags do not exist here."""

    def ascend_resolver(self) -> None:
        """Called by the C parser; path-dependent tags do not exist here."""


def read_documents(text: str, path: str) -> Iterator[Document | Problem]:
    """The documents of ``text`` one by one, and what keeps others from being read. Never raises.

    ``path`` is what Problems show. Empty documents are left out. Nodes take much memory, so a caller should be done
    with one document before it asks for the next.
    """
    if len(text) > MAX_TEXT:
        message = f"the text has {len(text)} characters; at most {MAX_TEXT} are read"
        yield Problem(codes.YAML_LIMIT, "", message, FileOrigin(path))
        return
    for number, (first_line, chunk) in enumerate(cut(text.removeprefix("\ufeff"))):
        source = _Source(path, first_line)
        if number == MAX_DOCUMENTS:
            yield source.problem(codes.YAML_LIMIT, f"only the first {MAX_DOCUMENTS} documents of a text are read")
            return
        yield from _read_chunk(chunk, source)


def cut(text: str) -> Iterator[tuple[int, str]]:
    """The documents of a stream as texts, each with the number of lines before it."""
    start, line = 0, 0
    for marker in _MARKER.finditer(text):
        end = marker.start()
        if only_directives(text[start:end]):
            continue
        if text[start:end].strip("-\n"):
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
class _Source:
    """Where a chunk comes from."""

    path: str
    first_line: int

    def problem(self, code: ProblemCode, message: str, mark: tuple[int, int] = (0, 0), remedy: str = "") -> Problem:
        """A Problem at a line and column of the chunk, both from 0."""
        origin = FileOrigin(self.path, mark[0] + self.first_line + 1, mark[1] + 1)
        return Problem(code, "", message, origin, remedy)


def _read_chunk(chunk: str, source: _Source) -> Iterator[Document | Problem]:
    if len(chunk) > MAX_DOCUMENT:
        message = f"the document has {len(chunk)} characters; at most {MAX_DOCUMENT} are read"
        yield source.problem(codes.YAML_LIMIT, message)
        return
    forbidden = _FORBIDDEN.search(chunk)
    if forbidden is not None:
        message = f"the character U+{ord(forbidden[0]):04X} is not allowed in YAML"
        start = forbidden.start()
        mark = (chunk.count("\n", 0, start), start - (chunk.rfind("\n", 0, start) + 1))
        yield source.problem(codes.YAML_SYNTAX, message, mark, "Remove the character, or write it escaped.")
        return
    try:
        parser = _Composer(chunk)
        while parser.check_node():
            node = parser.get_node()
            if node is not None:
                yield from _read_node(node, source)
    except MarkedYAMLError as error:
        yield _syntax_problem(error, chunk, source)
    except (YAMLError, RecursionError) as error:
        yield source.problem(codes.YAML_LIMIT, f"the document cannot be read ({error})")


def _read_node(node: Node, source: _Source) -> Iterator[Document | Problem]:
    place = Place(node, source.path, source.first_line)
    constructor = Constructor(place)
    value = constructor.value()
    yield from constructor.problems
    if value is not None:
        yield Document(value, place, tuple(flaw.path for flaw in constructor.problems))


def _syntax_problem(error: MarkedYAMLError, chunk: str, source: _Source) -> Problem:
    found = error.problem_mark or error.context_mark
    mark = (found.line, found.column) if found is not None else (0, 0)
    problem = error.problem or error.context or "the syntax is wrong"
    if problem.startswith("exceeded maximum nesting depth"):
        return source.problem(codes.YAML_LIMIT, "the document is nested too deeply", mark)
    lines = chunk.splitlines()
    here = lines[mark[0]] if mark[0] < len(lines) else ""
    tab = here[: mark[1] + 1].endswith("\t")
    context = error.context or ""
    known = context if problem == "second occurrence" else problem
    message, hint = _TAB if tab else _PLAIN_WORDS.get(known, (problem, ""))
    structure = _STRUCTURES.get(context)
    if structure is not None and error.context_mark is not None:
        message += f", in {structure} that begins in line {error.context_mark.line + source.first_line + 1}"
    return source.problem(codes.YAML_SYNTAX, message, mark, hint)

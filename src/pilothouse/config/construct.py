"""Composed YAML nodes → plain values, by the YAML 1.2 core schema and with the budgets of configuration.

Differs from PyYAML's constructors on purpose: ``on`` and ``no`` are texts, ``012`` is twelve, dates are texts; a key
that is there twice, a key that is no text and an unknown tag are Problems; aliases and merge keys have a budget.
"""

import re
from typing import Final

from yaml.nodes import Node, ScalarNode, SequenceNode

from pilothouse.config.findings import show_path
from pilothouse.config.positions import Place
from pilothouse.kit import codes
from pilothouse.kit.problem import Problem, ProblemCode

MAX_DEPTH: Final = 64
"""Levels of nesting."""
MAX_ALIASED: Final = 10_000
"""Nodes that aliases and merge keys of one document may add."""
MAX_PROBLEMS: Final = 100
"""Problems of one document that are said."""
MAX_DIGITS: Final = 20
"""Digits of an integer; longer ones become floats, as in JSON."""

PLAIN: Final = "plain"
"""The tag that the composer gives to plain scalars."""
QUOTED: Final = "quoted"
"""The tag that the composer gives to every other node without a tag."""
MERGE_KEY: Final = "<<"

_STANDARD: Final = "tag:yaml.org,2002:"
_TEXT_TAGS: Final = frozenset({QUOTED, "!", f"{_STANDARD}str"})
_PLAIN_TAGS: Final = {f"{_STANDARD}null": type(None), f"{_STANDARD}bool": bool, f"{_STANDARD}int": int}
_LIST_TAGS: Final = frozenset({QUOTED, PLAIN, "!", f"{_STANDARD}seq"})
_MAPPING_TAGS: Final = frozenset({QUOTED, PLAIN, "!", f"{_STANDARD}map"})

_WORDS: Final[dict[str, object]] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), float("inf")),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), float("-inf")),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
}
_INTEGER: Final = re.compile(r"[-+]?[0-9]+", re.ASCII)
_BASED: Final = re.compile(r"0o[0-7]{1,21}|0x[0-9a-fA-F]{1,16}", re.ASCII)
_FLOAT: Final = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?", re.ASCII)
_NUMERIC_START: Final = frozenset("+-.0123456789")


def resolve_plain(text: str) -> object:
    """The value of a plain scalar (YAML 1.2 §10.3.2)."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in _NUMERIC_START:
        return text
    if _INTEGER.fullmatch(text):
        return int(text) if len(text) <= MAX_DIGITS else float(text)
    if _BASED.fullmatch(text):
        return int(text, 0)
    return float(text) if _FLOAT.fullmatch(text) else text


class Constructor:
    """Makes the value of one document, once; ``problems`` is complete afterwards."""

    def __init__(self, place: Place) -> None:
        self.problems: list[Problem] = []
        self._place = place
        self._seen: set[int] = set()
        self._steps: list[str | int] = []
        self._aliased = 0
        self._stopped = False

    def value(self) -> object:
        """The document's value. Where a Problem was found, the part is left out; None if a limit was exceeded."""
        value = self._construct(self._place.root, 0)
        return None if self._stopped else value

    def _construct(self, node: Node, depth: int) -> object:
        if self._stopped:
            return None
        if isinstance(node, ScalarNode):
            return self._scalar(node)
        if depth >= MAX_DEPTH:
            self._stop(node, f"the document is nested more than {MAX_DEPTH} levels deep")
            return None
        if id(node) in self._seen:
            self._aliased += len(node.value) + 1
            if self._aliased > MAX_ALIASED:
                self._stop(node, f"aliases and merge keys add more than {MAX_ALIASED} parts to the document")
                return None
        self._seen.add(id(node))
        is_list = isinstance(node, SequenceNode)
        if node.tag not in (_LIST_TAGS if is_list else _MAPPING_TAGS):
            self._report(codes.YAML_TAG, node, f"the tag {shown(node.tag)} is not known here")
            return None
        if is_list:
            return [self._part(index, item, depth) for index, item in enumerate(node.value)]
        return self._mapping(node, depth)

    def _part(self, step: str | int, node: Node, depth: int) -> object:
        self._steps.append(step)
        value = self._construct(node, depth + 1)
        if not self._stopped:
            self._steps.pop()
        return value

    def _scalar(self, node: Node) -> object:
        text: str = node.value
        if node.tag == PLAIN:
            return resolve_plain(text)
        if node.tag in _TEXT_TAGS:
            return text
        value = resolve_plain(text)
        if node.tag == f"{_STANDARD}float" and isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
        wanted = _PLAIN_TAGS.get(node.tag)
        if wanted is not None and type(value) is wanted:
            return value
        self._report(codes.YAML_TAG, node, f"the tag {shown(node.tag)} is not known or does not fit {text!r}")
        return None

    def _mapping(self, node: Node, depth: int) -> dict[str, object]:
        mapping: dict[str, object] = {}
        first: dict[str, Node] = {}
        merged: list[Node] = []
        for key, value in node.value:
            name = self._key(key)
            if name == MERGE_KEY and key.tag == PLAIN:
                merged.append(value)
            elif name in first:
                line = self._place.origin_of(first[name]).line
                self._steps.append(name)
                self._report(codes.YAML_DUPLICATE_KEY, key, f"the key '{name}' is here twice, first in line {line}")
                self._steps.pop()
            elif name is not None:
                first[name] = key
                mapping[name] = self._part(name, value, depth)
        for value in merged:
            for name, inherited in self._merge(value, depth):
                mapping.setdefault(name, inherited)
        return mapping

    def _key(self, key: Node) -> str | None:
        """The key's text, or None (with a Problem) if it has none. Istio has maps with port numbers as keys."""
        if not isinstance(key, ScalarNode):
            self._report(codes.YAML_KEY, key, "a mapping or a list is used as a key", "Use a text.")
            return None
        value = self._scalar(key)
        if isinstance(value, str):
            return value
        if isinstance(value, int) and not isinstance(value, bool):
            return str(key.value)
        remedy = f'Write "{key.value}", with quotes.'
        self._report(codes.YAML_KEY, key, f"the key {key.value or 'null'} is not a text", remedy)
        return None

    def _merge(self, node: Node, depth: int) -> list[tuple[str, object]]:
        """What a merge key brings in."""
        sources = node.value if isinstance(node, SequenceNode) else [node]
        pairs: list[tuple[str, object]] = []
        for source in sources:
            value = self._construct(source, depth + 1)
            if isinstance(value, dict):
                pairs.extend(value.items())
            elif not self._stopped:
                self._report(codes.YAML_KEY, source, "a merge key (<<) needs a mapping or a list of mappings")
        return pairs

    def _stop(self, node: Node, message: str) -> None:
        self._stopped = True
        self._steps.clear()
        self._report(codes.YAML_LIMIT, node, message)

    def _report(self, code: ProblemCode, node: Node, message: str, remedy: str = "") -> None:
        if len(self.problems) < MAX_PROBLEMS:
            path = show_path(tuple(self._steps))
            self.problems.append(Problem(code, path, message, self._place.origin_of(node), remedy))


def shown(tag: str) -> str:
    """A tag as users write it."""
    return tag.replace(_STANDARD, "!!")

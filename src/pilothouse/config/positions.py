"""Positions: a path inside a document → the line and column where it was written.

Works on the nodes that libyaml composed. Values travel without positions, which keeps the good case fast; positions
are looked up when something must be said, and once for the containers of each object.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from yaml.nodes import MappingNode, Node, SequenceNode

from pilothouse.config.findings import Path, show_path
from pilothouse.kit.origin import FileOrigin


@dataclass(frozen=True, slots=True)
class Place:
    """A document, or an object inside a list document, as nodes.

    ``lines_before`` counts the lines of the file above the text that was parsed. ``renamed`` maps the shown path of
    a key as it was written to the key's proper name (``spec.export_to`` → ``exportTo``).
    """

    root: Node
    path: str
    lines_before: int
    renamed: Mapping[str, str] | None = None

    def origin(self, path: Path = (), *, at_key: bool = False) -> FileOrigin:
        """Where ``path`` was written, or the nearest part around it that was."""
        node, key = self.root, self.root
        for depth, step in enumerate(path):
            found = self._child(node, path[:depth], step)
            if found is None:
                break
            key, node = found
        return self.origin_of(key if at_key else node)

    def origin_of(self, node: Node) -> FileOrigin:
        """Where ``node`` begins."""
        mark = node.start_mark
        return FileOrigin(self.path, mark.line + self.lines_before + 1, mark.column + 1)

    def inside(self, *path: str | int) -> "Place":
        """The part at ``path`` as a place of its own. The part must exist."""
        node = self.root
        for depth, step in enumerate(path):
            found = self._child(node, path[:depth], step)
            if found is not None:
                node = found[1]
        return replace(self, root=node)

    def marks(self) -> dict[str, tuple[int, int]]:
        """Line and column of every mapping and list, by shown path. The document must be sound."""
        marks: dict[str, tuple[int, int]] = {}
        todo: list[tuple[Path, Node]] = [((), self.root)]
        while todo:
            path, node = todo.pop()
            if isinstance(node, MappingNode | SequenceNode):
                if path:
                    origin = self.origin_of(node)
                    marks[show_path(path)] = (origin.line, origin.column)
                todo.extend(self._children(path, node))
        return marks

    def _children(self, path: Path, node: Node) -> list[tuple[Path, Node]]:
        if isinstance(node, SequenceNode):
            return [((*path, index), item) for index, item in enumerate(node.value)]
        if isinstance(node, MappingNode):
            return [((*path, self._name(path, key.value)), item) for key, item in node.value]
        return []

    def _child(self, node: Node, path: Path, step: str | int) -> tuple[Node, Node] | None:
        """The key's node and the value's node of one step down."""
        if isinstance(step, int):
            if isinstance(node, SequenceNode) and step < len(node.value):
                item: Node = node.value[step]
                return item, item
            return None
        if isinstance(node, MappingNode):
            for key, value in node.value:
                if key.value == step or self._name(path, key.value) == step:
                    return key, value
        return None

    def _name(self, path: Path, written: object) -> str:
        name = written if isinstance(written, str) else "?"
        return self.renamed.get(show_path((*path, name)), name) if self.renamed else name

"""Positions: a path inside a document → the line and column where it was written.

Works on the nodes that libyaml composed. Values travel without positions, which keeps the good case fast; positions
are looked up when something must be said, and once for the containers of each object.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from pilothouse.config.findings import Path, extend_path, show_path
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
        todo: list[tuple[str, Node]] = [("", self.root)]
        while todo:
            shown, node = todo.pop()
            if shown:
                marks[shown] = (node.start_mark.line + self.lines_before + 1, node.start_mark.column + 1)
            todo.extend(self._containers(shown, node))
        return marks

    def _containers(self, shown: str, node: Node) -> list[tuple[str, Node]]:
        """The mappings and lists directly inside a mapping or list, with their shown paths."""
        if isinstance(node, SequenceNode):
            return [(f"{shown}[{i}]", item) for i, item in enumerate(node.value) if not isinstance(item, ScalarNode)]
        return [
            (extend_path(shown, self._name(shown, key.value)), item)
            for key, item in node.value
            if not isinstance(item, ScalarNode)
        ]

    def _child(self, node: Node, path: Path, step: str | int) -> tuple[Node, Node] | None:
        """The key's node and the value's node of one step down."""
        if isinstance(step, int):
            if isinstance(node, SequenceNode) and step < len(node.value):
                item: Node = node.value[step]
                return item, item
            return None
        if isinstance(node, MappingNode):
            for key, value in node.value:
                if key.value == step or (self.renamed and self._name(show_path(path), key.value) == step):
                    return key, value
        return None

    def _name(self, shown: str, written: object) -> str:
        """The proper name of a key below the shown path."""
        name = written if isinstance(written, str) else "?"
        return self.renamed.get(extend_path(shown, name), name) if self.renamed else name

"""Hold sizes to the limits of CONTRIBUTING: functions fit on a screen, files stay readable, rooms stay two deep.

Prints each violation with its place and exits 1 if there is any. ruff has no rule for these.
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LONGEST_FUNCTION = 60
LONGEST_FILE = 400
FORBIDDEN_NAMES = {"utils", "util", "common", "helpers", "helper", "manager", "misc"}


def violations(path: Path) -> Iterator[str]:
    """What is wrong with one source file."""
    text = path.read_text()
    place = path.relative_to(ROOT)
    lines = text.count("\n")
    if lines > LONGEST_FILE:
        yield f"{place}: {lines} lines, at most {LONGEST_FILE}: split by concept"
    if path.stem in FORBIDDEN_NAMES:
        yield f"{place}: a module is named after what it owns"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > LONGEST_FUNCTION:
                yield f"{place}:{node.lineno}: {node.name} has {length} lines, at most {LONGEST_FUNCTION}"


def depth_violations(path: Path) -> Iterator[str]:
    """Rooms are two levels deep, no third."""
    inside = path.relative_to(ROOT / "src")
    if len(inside.parts) > 3:
        yield f"src/{inside}: rooms are two levels deep; grow by siblings"


def main() -> int:
    """Check everything that is ours."""
    sources = sorted((ROOT / "src").rglob("*.py"))
    others = sorted(p for folder in ("tests", "tools", "bench") for p in (ROOT / folder).rglob("*.py"))
    found = [v for path in (*sources, *others) for v in violations(path)]
    found += [v for path in sources for v in depth_violations(path)]
    for line in found:
        print(line)
    print(f"{len(sources) + len(others)} files, {len(found)} violations")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())

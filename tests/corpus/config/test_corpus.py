"""Every case: a YAML text, and what is kept of it and said about it, word for word.

``<case>/input.yaml`` is decoded; with ``<case>/hosts.txt`` (the services that registries have, one a line) the objects
are also analysed together. ``pytest --update`` rewrites ``problems.txt``; read the diff aloud before committing it.
"""

from pathlib import Path

import pytest

from pilothouse.config.analyze import analyze
from pilothouse.config.decode import decode_documents

HERE = Path(__file__).parent
CASES = sorted(path.parent.name for path in HERE.glob("*/input.yaml"))


def report(case: Path) -> str:
    """The objects that are kept, then the Problems, one a line."""
    decoded = decode_documents((case / "input.yaml").read_text(encoding="utf-8"), "input.yaml")
    lines = [f"kept: {item.key} ({item.origin})" for item in decoded.objects]
    lines += [str(problem) for problem in decoded.problems]
    hosts = case / "hosts.txt"
    if hosts.exists():
        lines += [str(problem) for problem in analyze(decoded.objects, hosts.read_text(encoding="utf-8").split())]
    return "".join(f"{line}\n" for line in lines)


@pytest.mark.parametrize("case", CASES)
def test_the_text_gives_these_objects_and_problems(case: str, request: pytest.FixtureRequest) -> None:
    expected = HERE / case / "problems.txt"
    actual = report(HERE / case)
    if request.config.getoption("--update", default=False):
        expected.write_text(actual, encoding="utf-8")
    assert actual == expected.read_text(encoding="utf-8")

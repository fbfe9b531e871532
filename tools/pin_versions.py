"""Write the exact version of every installed dependency into pyproject.toml, as constraints of uv.

``uv.lock`` would name registry hosts, which this repository must not; constraints pin the same versions without.
Run it after ``uv sync --upgrade``; review the diff.
"""

import re
import sys
from importlib.metadata import distributions
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent / "pyproject.toml"
START, END = "constraint-dependencies = [\n", "]\n"
NOT_OURS = {"pip", "pilothouse"}


def pins() -> list[str]:
    """``name==version`` of every installed distribution, in order."""
    found = {re.sub(r"[-_.]+", "-", d.metadata["Name"]).lower(): d.version for d in distributions()}
    return [f"{name}=={version}" for name, version in sorted(found.items()) if name not in NOT_OURS]


def main() -> int:
    """Replace the list in place."""
    text = PROJECT.read_text()
    block = START + "".join(f'    "{pin}",\n' for pin in pins()) + END
    if START in text:
        head, _, rest = text.partition(START)
        text = head + block + rest.partition("\n]\n")[2]
    else:
        text = text.replace("[tool.uv]\n", f"[tool.uv]\n{block}", 1)
    PROJECT.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())

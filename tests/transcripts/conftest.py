"""One test per transcript file. ``--update`` (tests/conftest.py) rewrites the expected output."""

from pathlib import Path

import pytest


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "transcript" in metafunc.fixturenames:
        files = sorted(Path(__file__).parent.glob("*.txt"))
        metafunc.parametrize("transcript", files, ids=[file.stem for file in files])

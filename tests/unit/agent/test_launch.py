"""The launcher becomes the program it is given, and does not outlive the agent."""

import os
import subprocess
import sys
from pathlib import Path

from pilothouse.agent import launch


def launcher(parent: int, *program: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-I", "-S", launch.__file__, str(parent), *program]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


def test_becomes_the_program_with_its_arguments() -> None:
    done = launcher(os.getpid(), "/bin/sh", "-c", 'echo "$0 $1"', "one", "two words")
    assert (done.returncode, done.stdout) == (0, "one two words\n")


def test_does_not_start_it_if_the_agent_is_gone() -> None:
    done = launcher(1 if os.getppid() != 1 else 2, "/bin/echo", "started")
    assert done.returncode != 0
    assert done.stdout == ""
    assert "the parent ended" in done.stderr


def test_a_program_that_is_not_there_is_said() -> None:
    done = launcher(os.getpid(), "/no/such/program")
    assert done.returncode != 0
    assert "No such file" in done.stderr


def test_imports_nothing_but_the_standard_library() -> None:
    assert "pilothouse" not in "".join(
        line for line in Path(launch.__file__).read_text().splitlines() if line.startswith(("import", "from"))
    )

"""The command as a person calls it: fast help, plain errors, exit codes."""

import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = ("grpc", "aiohttp", "google", "envoy", "starlette", "uvicorn", "rich", "asyncio", "yaml", "structlog")


def run(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = (sys.executable, "-m", "pilothouse.cli.main", *arguments)
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd, timeout=60)


@pytest.mark.parametrize(
    "arguments",
    [
        ("--help",),
        ("up", "--help"),
        ("agent", "--help"),
        ("agent", "install", "--help"),
        ("status", "--help"),
        ("accept", "--help"),
    ],
)
def test_help_imports_nothing_heavy(arguments: tuple[str, ...]) -> None:
    script = (
        "import sys\nfrom pilothouse.cli.main import run\n"
        f"sys.argv = ['pilothouse', *{arguments!r}]\n"
        "try:\n    run()\nfinally:\n"
        f"    print('HEAVY', [name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert "Usage: pilothouse" in done.stdout
    assert done.stdout.splitlines()[-1] == "HEAVY []"


def test_help_names_every_command() -> None:
    text = run("--help").stdout
    assert all(f"\n  {command} " in text for command in ("up", "serve", "agent", "status", "accept"))


def test_the_version_is_printed() -> None:
    done = run("--version")
    assert (done.returncode, done.stdout.count(".")) == (0, 2)


def test_a_setting_that_cannot_work_is_one_clear_text_and_exit_code_2(tmp_path: Path) -> None:
    (tmp_path / "mesh.yaml").write_text("xds_adress: 127.0.0.1:15010\nwrite_timeout: soon\n")
    done = run("serve", "--config", str(tmp_path / "mesh.yaml"))
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("pilothouse: ")
    assert "mesh.yaml:1:1: xds_adress: unknown setting; did you mean `xds_address`?" in done.stderr
    assert "mesh.yaml:2:16: write_timeout:" in done.stderr


def test_a_control_plane_that_does_not_answer_is_exit_code_1() -> None:
    done = run("status", "--address", "127.0.0.1:1")
    assert done.returncode == 1
    assert done.stderr.startswith("pilothouse: no control plane answers at 127.0.0.1:1")


def test_an_agent_hears_of_every_mistake_at_once(tmp_path: Path) -> None:
    done = run("agent", "--service", "reviews", "--label", "v1", "--discovery", "there", cwd=tmp_path)
    assert done.returncode == 2
    for mistake in ("--token-file", "--name is missing", "--service 'reviews'", "--label 'v1'", "--discovery 'there'"):
        assert mistake in done.stderr


def test_a_row_without_a_check_is_refused() -> None:
    done = run("up", "--break", "canary")
    assert (done.returncode, done.stderr) == (2, "pilothouse: --break names a row of the check: give --check, too\n")

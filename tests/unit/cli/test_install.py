"""From the agent's options to its service, as a person calls it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pilothouse.cli.agent_options import AgentOptions, decode_agent
from pilothouse.cli.install import InstallOptions, arguments_of, plan_unit, refuse_user
from pilothouse.kit.errors import SettingsError

GIVEN = (
    *("--name", "hello-v1", "--address", "127.44.1.1", "--service", "hello:9080:19080:9081/http", "--label", "a=b c"),
    *("--label", "v=1", "--http-proxy-port", "15001", "--health", "http:/", "--drain-seconds", "2.5"),
)


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = (sys.executable, "-m", "pilothouse.cli.main", "agent", *arguments)
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_the_command_line_of_the_service_means_what_was_given() -> None:
    options = InstallOptions(
        name="hello-v1",
        systemd=True,
        service=["hello:9080:19080:9081/http", "stats:81:82:83"],
        label=["a=b c", "v=1"],
        health="tcp",
        concurrency=2,
        locality="r/z",
    )
    placed = {"state_dir": "/var/lib/x"}
    words = arguments_of(options, placed)
    flags = dict(zip(words[::2], words[1::2], strict=True))
    assert words.count("--service") == 2
    assert words.count("--label") == 2
    assert (flags["--state-dir"], flags["--concurrency"], flags["--locality"]) == ("/var/lib/x", "2", "r/z")
    assert not {"--user", "--root", "--systemd", "--token-file", "--admin-port"} & set(words)


def test_ports_below_1024_and_gateways_get_the_one_right_that_they_need() -> None:
    def low_ports(**values: object) -> bool:
        options = InstallOptions(name="a", systemd=True, **values)  # type: ignore[arg-type]  # a test's shorthand
        return plan_unit(options, decode_agent(options, token="a-token-of-this-test")).low_ports

    assert low_ports(gateway=True)
    assert low_ports(service=["a:80:443:8080"])
    assert low_ports(readiness_port=81)
    assert not low_ports(service=["a:80:8443:8080"])


def test_paths_are_made_absolute_and_only_folders_that_are_written_are_open() -> None:
    options = InstallOptions(name="a", systemd=True, state_dir="state", log_dir="logs", envoy="bin/envoy")
    plan = plan_unit(options, decode_agent(options, token="a-token-of-this-test"))
    here = Path.cwd()
    assert plan.writable == (f"{here}/state", f"{here}/logs")
    assert plan.state == ""
    assert f"{here}/bin/envoy" in plan.arguments


def test_install_writes_below_a_root_and_uninstall_takes_it_away(tmp_path: Path) -> None:
    done = run("install", "--systemd", *GIVEN, "--token-file", "/etc/pilothouse/token", "--root", str(tmp_path))
    assert done.returncode == 0, done.stderr
    unit = tmp_path / "etc/systemd/system/pilothouse-agent-hello-v1.service"
    assert f"Written: {unit}" in done.stdout
    assert "systemctl enable --now pilothouse-agent-hello-v1.service" in done.stdout
    assert '--label "a=b c"' in unit.read_text()
    assert "User=pilothouse\n" in unit.read_text()
    assert verified(unit) == []
    (tmp_path / "var/lib/pilothouse/agents/hello-v1").mkdir(parents=True)
    done = run("uninstall", "--name", "hello-v1", "--root", str(tmp_path))
    assert f"Removed: {unit}" in done.stdout
    assert "Kept: " in done.stdout
    assert not (tmp_path / "etc").exists()
    assert "is not installed" in run("uninstall", "--name", "hello-v1", "--root", str(tmp_path)).stdout


def verified(unit: Path) -> list[str]:
    """What ``systemd-analyze verify`` says of the unit; nothing where systemd is not installed."""
    asking = shutil.which("systemd-analyze")
    if asking is None:
        return []
    done = subprocess.run((asking, "verify", "--man=no", str(unit)), capture_output=True, text=True, check=False)
    return [line for line in (done.stdout + done.stderr).splitlines() if unit.name in line]


def test_a_dry_run_prints_both_files_and_writes_nothing(tmp_path: Path) -> None:
    done = run("install", "--systemd", *GIVEN, "--dry-run", "--root", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "[Service]" in done.stdout
    assert "PILOTHOUSE_TOKEN_FILE=" in done.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (GIVEN, "say for which service manager"),
        (("--systemd", *GIVEN, "--user", "root"), "name a user of its own that is not root"),
        (("--systemd", *GIVEN, "--user", "nobody"), "name a user of its own that is not root"),
        (("--systemd", *GIVEN, "--user", "no one"), "name a user of its own that is not root"),
        (("--systemd", "--name", "a", "--service", "x"), "--service 'x' is not"),
        (("--systemd",), "--name is missing"),
        (("--systemd", "--name", "a", "--label", "x=a\nUser=root"), "--label holds control characters"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_written(
    tmp_path: Path, arguments: tuple[str, ...], reason: str
) -> None:
    done = run("install", *arguments, "--root", str(tmp_path))
    assert done.returncode == 2
    assert reason in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_user_who_is_missing_or_cannot_read_the_token_is_told(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("a-token-that-is-long-enough")
    token.chmod(0o600)
    os.chown(token, os.geteuid(), os.getegid())
    options = InstallOptions(name="a", systemd=True, token_file=str(token))
    plan = plan_unit(options, decode_agent(options))
    with pytest.raises(SettingsError, match="useradd --system --no-create-home"):
        refuse_user("nobody-of-this-name", plan)
    with pytest.raises(SettingsError, match=r"cannot read .*token"):
        refuse_user("daemon", plan)


def test_uninstall_takes_names_and_no_paths(tmp_path: Path) -> None:
    done = run("uninstall", "--name", "../../x", "--root", str(tmp_path))
    assert (done.returncode, done.stderr) == (2, "pilothouse: --name and --namespace are names, not paths\n")


def test_the_agent_itself_is_still_called_without_a_command() -> None:
    assert "--name is missing" in run().stderr
    assert AgentOptions().token_file == InstallOptions().token_file

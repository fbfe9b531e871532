"""What systemd is told, line by line; and that systemd takes it, where it is installed."""

import shlex
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from pilothouse.agent.units import UnitPlan, environment_text, quote, unit_name, unit_text

GOLDEN = Path(__file__).parent / "units"
PLAN = UnitPlan(
    workload="default/hello-v1",
    user="pilothouse",
    program=("/usr/bin/python3", "-P", "-m", "pilothouse.cli.main"),
    arguments=("agent", "--name", "hello-v1", "--label", "note=100% of $x"),
    token_file="/etc/pilothouse/token",
    environment_file="/etc/pilothouse/agent-hello-v1.env",
    state="pilothouse/agents/hello-v1",
)
ELSEWHERE = replace(
    PLAN,
    workload="edge/front",
    arguments=("agent", "--gateway", "--name", "front", "--namespace", "edge"),
    token_file='/srv/my "own" token',
    state="",
    writable=("/srv/front/state", "/srv/front logs/100%"),
    low_ports=True,
    drain_seconds=30.0,
    stop=("agent", "stop", "--name", "front"),
    reload=("agent", "reload", "--name", "front"),
)


@pytest.mark.parametrize(("name", "plan"), [("sidecar", PLAN), ("gateway", ELSEWHERE)])
def test_the_texts_are_these(name: str, plan: UnitPlan) -> None:
    assert unit_text(plan) == (GOLDEN / f"{name}.service").read_text()
    assert environment_text(plan) == (GOLDEN / f"{name}.env").read_text()


@pytest.mark.parametrize("plan", [PLAN, ELSEWHERE])
def test_every_setting_that_restricts_or_surprises_has_its_reason_above_it(plan: UnitPlan) -> None:
    lines = unit_text(plan).splitlines()
    for key in (
        "Type=", "NotifyAccess=", "KillMode=", "OOMPolicy=", "TimeoutStopSec=", "LimitNOFILE=", "NoNewPrivileges=",
        "ProtectSystem=", "ProtectHome=", "PrivateTmp=", "RestrictAddressFamilies=", "SystemCallFilter=",
        "MemoryDenyWriteExecute=", "StartLimitIntervalSec=", "CapabilityBoundingSet=",
    ):  # fmt: skip
        (at,) = (number for number, line in enumerate(lines) if line.startswith(key))
        assert lines[at - 1].startswith("#"), key


def test_no_text_holds_the_token_and_only_the_environment_file_its_path() -> None:
    assert PLAN.token_file not in unit_text(PLAN)
    assert "--token-file ${PILOTHOUSE_TOKEN_FILE}" in unit_text(PLAN)
    assert f'PILOTHOUSE_TOKEN_FILE="{PLAN.token_file}"' in environment_text(PLAN)


@pytest.mark.parametrize(
    ("word", "quoted"),
    [
        ("--name", "--name"),
        ("hello:9080:19080:9081/http", "hello:9080:19080:9081/http"),
        ("", '""'),
        ("two words", '"two words"'),
        ("100%", "100%%"),
        ("$HOME", "$$HOME"),
        ('say "hi"', '"say \\"hi\\""'),
        ("back\\slash", '"back\\\\slash"'),
        ("it's", '"it\'s"'),
        ("a;b", '"a;b"'),
        ("grün", '"grün"'),
    ],
)
def test_words_are_quoted_where_systemd_would_read_something_into_them(word: str, quoted: str) -> None:
    assert quote(word) == quoted
    assert shlex.split(quoted) == [word.replace("%", "%%").replace("$", "$$")], "a shell's rules are the same here"


def test_a_workload_of_another_namespace_has_another_unit() -> None:
    assert unit_name("a-b", "default") == "pilothouse-agent-a-b.service"
    assert unit_name("b", "a") == "pilothouse-agent-b.a.service"


@pytest.mark.parametrize("plan", [PLAN, ELSEWHERE])
def test_systemd_takes_the_unit(plan: UnitPlan, tmp_path: Path) -> None:
    """Asked where systemd is installed; it need not be, and the golden texts above hold without it."""
    asking = shutil.which("systemd-analyze")
    if asking is None:
        print("systemd-analyze is not installed here: the unit was compared with its golden text only")
        return
    name = unit_name(plan.workload.rpartition("/")[2], "default")
    program = (shutil.which("true") or "/bin/true",)
    text = unit_text(replace(plan, program=program))
    (tmp_path / name).write_text(text)
    done = subprocess.run(
        (asking, "verify", "--man=no", str(tmp_path / name)), capture_output=True, text=True, check=False, timeout=60
    )
    told = [line for line in (done.stdout + done.stderr).splitlines() if name in line]
    assert (done.returncode, told) == (0, []), done.stderr


def test_systemd_warns_of_a_unit_that_is_wrong_so_that_the_check_above_means_something(tmp_path: Path) -> None:
    asking = shutil.which("systemd-analyze")
    if asking is None:
        return
    (tmp_path / "x.service").write_text(unit_text(PLAN).replace("KillMode=process", "KillMode=sometimes"))
    done = subprocess.run(
        (asking, "verify", "--man=no", str(tmp_path / "x.service")), capture_output=True, text=True, check=False
    )
    assert "sometimes" in done.stdout + done.stderr

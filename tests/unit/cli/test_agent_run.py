"""Whose proxy port ``agent run`` uses, and what it says when it cannot know."""

from pathlib import Path

import pytest

from pilothouse.agent.bootstrap import encode_bootstrap
from pilothouse.agent.settings import AgentSettings
from pilothouse.cli.agent_run import RunOptions, find_proxy, run
from pilothouse.kit.errors import SettingsError


def test_the_agents_own_state_says_it(tmp_path: Path) -> None:
    settings = AgentSettings(name="a", token="t", state_dir=str(tmp_path), http_proxy_port=15001, address="127.44.0.1")
    (tmp_path / "envoy.json").write_text(encode_bootstrap(settings, "1"))
    assert find_proxy(RunOptions(["true"], state_dir=str(tmp_path))) == "127.44.0.1:15001"
    assert find_proxy(RunOptions(["true"], proxy="127.0.0.1:1")) == "127.0.0.1:1"


def test_an_agent_without_a_proxy_port_is_told(tmp_path: Path) -> None:
    settings = AgentSettings(name="a", token="t", state_dir=str(tmp_path))
    (tmp_path / "envoy.json").write_text(encode_bootstrap(settings, "1"))
    with pytest.raises(SettingsError, match="start it with --http-proxy-port"):
        find_proxy(RunOptions(["true"], state_dir=str(tmp_path)))


def test_a_missing_agent_is_told(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="start the agent first, or give --proxy"):
        find_proxy(RunOptions(["true"], state_dir=str(tmp_path)))
    with pytest.raises(SettingsError, match="--name, --state-dir or --proxy"):
        find_proxy(RunOptions(["true"]))


def test_a_command_that_does_not_exist_is_told() -> None:
    with pytest.raises(SettingsError, match="cannot run /no/such/command: No such file or directory"):
        run(RunOptions(["/no/such/command"], proxy="127.0.0.1:1"))


def test_the_environment_can_be_printed(capsys: pytest.CaptureFixture[str]) -> None:
    run(RunOptions(["true"], proxy="127.0.0.1:1", show=True))
    assert "export http_proxy=http://127.0.0.1:1\n" in capsys.readouterr().out

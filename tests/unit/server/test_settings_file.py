"""A settings file: every mistake at once, each with its line and the way out."""

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilothouse.kit.errors import SettingsError
from pilothouse.server.settings import Debounce, ServerSettings
from pilothouse.server.settings_file import decode_settings, load_settings

EVERYTHING = """
xds_address: 127.0.0.1:0
admin_address: "127.0.0.1:0"
config_folder: conf
state_dir: state
token_file: t
domain: corp.mesh
debounce: {quiet: 50ms, at_most: 1.5s}
registry:
  embedded:
    lease_seconds: 10
    settle_seconds: 0
    restart_seconds: 1m
    networks: [127.0.0.0/8]
mesh:
  accessLog: false
  trustDomain: corp.example
  rootNamespace: root
  connectTimeout: 3s
write_timeout: 5
insecure: true
"""


def mistakes(text: str) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        decode_settings(text, "mesh.yaml")
    return str(caught.value).splitlines()


def test_a_whole_file_is_read() -> None:
    settings = decode_settings(EVERYTHING, "mesh.yaml")
    assert settings.debounce == Debounce(quiet=0.05, at_most=1.5)
    assert settings.registry.embedded.restart_seconds == 60
    assert settings.registry.embedded.networks == ("127.0.0.0/8",)
    assert (settings.mesh.access_log, settings.mesh.connect_timeout) == (False, 3.0)
    assert (settings.domain, settings.write_timeout, settings.insecure) == ("corp.mesh", 5.0, True)


@pytest.mark.parametrize("text", ["", "# only a comment\n", "---\n", "~", "debounce:\n", "registry: {embedded: }"])
def test_what_is_not_said_keeps_its_default(text: str) -> None:
    assert decode_settings(text, "mesh.yaml") == ServerSettings()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("xds_adress: a:1", "mesh.yaml:1:1: xds_adress: unknown setting; did you mean `xds_address`?"),
        ("mesh:\n  trustDoman: x", "mesh.yaml:2:3: mesh.trustDoman: unknown setting; did you mean `trustDomain`?"),
        ("zzz: 1", "mesh.yaml:1:1: zzz: unknown setting; known here: xds_address, "),
        ("insecure: yes", "mesh.yaml:1:11: insecure: expected true or false, got text"),
        ("state_dir: 5", "mesh.yaml:1:12: state_dir: expected text, got a number"),
        ("domain: [a]", "mesh.yaml:1:9: domain: expected text, got a list"),
        ("debounce: fast", "mesh.yaml:1:11: debounce: must be a section of `key: value` lines"),
        ("debounce: {quiet: soon}", "debounce.quiet: expected a number, got text (seconds, or a duration such as"),
        ("write_timeout: -1", "write_timeout: expected a number > 0.0"),
        ("debounce: {quiet: 11s}", "debounce.quiet: expected a number <= 10.0"),
        ("registry: {embedded: {networks: 10.0.0.0/8}}", "registry.embedded.networks: expected a list, got text"),
        ("insecure: true\ninsecure: false", "mesh.yaml:2:1: insecure: set twice"),
        ("? [a]\n: 1", "the document: a key must be text"),
        ("[1, 2]", "mesh.yaml:1:1: the document: must be a section"),
        ("a: [", "not YAML"),
        ("a: &x [*x]", "unknown setting"),
    ],
)
def test_a_mistake_is_named_with_its_place_and_the_way_out(text: str, expected: str) -> None:
    assert expected in mistakes(text)[0]


def test_all_mistakes_are_told_at_once() -> None:
    assert len(mistakes("xds_adress: 1\ninsecure: on\nmesh: {accessLog: 1}\nwrite_timeout: x")) == 4


@given(st.text(max_size=200))
def test_any_text_gives_settings_or_a_settings_error(text: str) -> None:
    with contextlib.suppress(SettingsError):
        assert isinstance(decode_settings(text, "mesh.yaml"), ServerSettings)


def test_paths_are_taken_from_the_files_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    path = tmp_path / "mesh.yaml"
    path.write_text("config_folder: conf\nstate_dir: /var/lib/mesh\ntoken_file: ~/token\n")
    settings = load_settings(path)
    assert settings.config_folder == str(tmp_path / "conf")
    assert settings.state_dir == "/var/lib/mesh"
    assert settings.token_file == "/home/somebody/token"
    path.write_text("")
    assert load_settings(path).token_path == tmp_path / ".pilothouse" / "token"


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"cannot read the settings file .*No such file"):
        load_settings(tmp_path / "mesh.yaml")
    (tmp_path / "mesh.yaml").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(SettingsError, match="not UTF-8"):
        load_settings(tmp_path / "mesh.yaml")
    (tmp_path / "mesh.yaml").write_bytes(b"#" * 300_000)
    with pytest.raises(SettingsError, match="larger than"):
        load_settings(tmp_path / "mesh.yaml")

"""The environment that sends a command's requests through its sidecar."""

import pytest

from pilothouse.agent.environment import announced_proxy, proxy_environment
from pilothouse.kit.errors import SettingsError


def test_every_spelling_is_set_and_the_own_machine_stays_direct() -> None:
    found = proxy_environment("127.44.0.1:15001", "", {})
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "grpc_proxy"):
        assert found[name] == "http://127.44.0.1:15001"
    assert found["no_proxy"] == found["NO_PROXY"] == "localhost,127.0.0.1,::1"
    assert "-Dhttp.proxyHost=127.44.0.1 -Dhttp.proxyPort=15001 " in found["JAVA_TOOL_OPTIONS"]
    assert "-Dhttp.nonProxyHosts=localhost|127.0.0.1|::1|127.*" in found["JAVA_TOOL_OPTIONS"]
    assert found["NODE_USE_ENV_PROXY"] == "1"


def test_what_was_there_stays() -> None:
    before = {"NO_PROXY": "db.corp, localhost", "no_proxy": "cache.corp", "JAVA_TOOL_OPTIONS": "-Xmx64m"}
    found = proxy_environment("[::1]:15001", "more.corp", before)
    assert found["NO_PROXY"] == "localhost,127.0.0.1,::1,db.corp,cache.corp,more.corp"
    assert found["JAVA_TOOL_OPTIONS"].startswith("-Xmx64m -Dhttp.proxyHost=::1 ")


@pytest.mark.parametrize("proxy", ["", "15001", "127.0.0.1:", "127.0.0.1:http"])
def test_a_proxy_port_that_is_none_is_told(proxy: str) -> None:
    with pytest.raises(SettingsError, match="is not IP:PORT"):
        proxy_environment(proxy, "", {})


def test_the_proxy_port_is_read_from_the_bootstrap() -> None:
    node = b'{"node": {"metadata": {"HTTP_PROXY_PORT": "15001", "PILOTHOUSE_HTTP_PROXY_ADDRESS": "%s"}}}'
    assert announced_proxy(node % b"127.44.0.1") == "127.44.0.1:15001"
    assert announced_proxy(node % b"::1") == "[::1]:15001"
    assert announced_proxy(b'{"node": {"metadata": {}}}') == ""


@pytest.mark.parametrize("text", [b"", b"{}", b"[]", b'{"node": 1}'])
def test_a_file_that_is_no_bootstrap_is_told(text: bytes) -> None:
    with pytest.raises(SettingsError, match="is not a bootstrap of an agent"):
        announced_proxy(text)

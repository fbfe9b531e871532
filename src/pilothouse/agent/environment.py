"""Which environment makes a command use its sidecar. Pure: the proxy port in, variables out.

Each variable is there for clients that were seen to honour it (docs/clients.md). Nothing here reads the environment.
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from pilothouse.kit.errors import SettingsError

BOOTSTRAP: Final = "envoy.json"
"""Envoy's bootstrap in the agent's state folder."""
DIRECT: Final = ("localhost", "127.0.0.1", "::1")
"""What is never asked for through the proxy port: the app's own machine."""


def announced_proxy(bootstrap: bytes) -> str:
    """``IP:PORT`` of the proxy port in an Envoy bootstrap of ours; empty if there is none. Raises SettingsError."""
    try:
        metadata = msgspec.json.decode(bootstrap)["node"]["metadata"]
        address = metadata.get("PILOTHOUSE_HTTP_PROXY_ADDRESS", "127.0.0.1")
        port = metadata.get("HTTP_PROXY_PORT", "")
    except (msgspec.DecodeError, KeyError, TypeError, AttributeError) as error:
        raise SettingsError(f"{BOOTSTRAP} is not a bootstrap of an agent: {error}") from error
    return "" if not port else f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def proxy_environment(proxy: str, no_proxy: str, before: Mapping[str, str]) -> dict[str, str]:
    """The variables to set for a command, given those it would have (``before``) and the proxy's ``IP:PORT``.

    What ``before`` reaches directly stays direct, and its options for Java stay. Raises SettingsError.
    """
    host, _, port = proxy.rpartition(":")
    if not host or not port.isdecimal():
        raise SettingsError(f"the proxy port {proxy!r} is not IP:PORT")
    known = (before.get("NO_PROXY", ""), before.get("no_proxy", ""), no_proxy)
    direct = dict.fromkeys((*DIRECT, *(part.strip() for text in known for part in text.split(",") if part.strip())))
    found: dict[str, str] = {}
    for name, value in (
        ("http_proxy", f"http://{proxy}"),
        ("https_proxy", f"http://{proxy}"),
        ("no_proxy", ",".join(direct)),
    ):
        found[name] = found[name.upper()] = value
    found["grpc_proxy"] = f"http://{proxy}"
    found["no_grpc_proxy"] = ",".join(direct)
    found["NODE_USE_ENV_PROXY"] = "1"
    found["JAVA_TOOL_OPTIONS"] = " ".join(
        (*before.get("JAVA_TOOL_OPTIONS", "").split(), *java_options(host.strip("[]"), port, direct))
    )
    return found


def java_options(host: str, port: str, direct: Mapping[str, None]) -> tuple[str, ...]:
    """Java reads no environment for its proxy, but JAVA_TOOL_OPTIONS for its properties."""
    beside = "|".join((*direct, "127.*"))
    properties = {
        "http.proxyHost": host,
        "http.proxyPort": port,
        "https.proxyHost": host,
        "https.proxyPort": port,
        "http.nonProxyHosts": beside,
    }
    return tuple(f"-D{name}={value}" for name, value in properties.items())

"""The request that is asked about, as the proxy sees it.

First argument of ``simulate_request``. It knows nothing of resources; the authority keeps its port as the client
wrote it, because virtual hosts are chosen by it.
"""

from collections.abc import Mapping
from dataclasses import dataclass

_DEFAULT_PATH = "/"


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request. ``path`` includes the query; header names are lower case, without pseudo headers."""

    authority: str
    path: str = _DEFAULT_PATH
    method: str = "GET"
    scheme: str = "http"
    headers: tuple[tuple[str, str], ...] = ()

    def header(self, name: str) -> str | None:
        """The value of a header, values of one name joined by commas as Envoy compares them; None if it is missing."""
        pseudo = {":authority": self.authority, ":path": self.path, ":method": self.method, ":scheme": self.scheme}
        wanted = name.lower()
        if wanted == "host":
            wanted = ":authority"
        if wanted in pseudo:
            return pseudo[wanted]
        values = [value for key, value in self.headers if key == wanted]
        return ",".join(values) if values else None

    @property
    def bare_path(self) -> str:
        """The path without query and fragment: what paths of routes are compared with."""
        return self.path.partition("#")[0].partition("?")[0]

    @property
    def query(self) -> tuple[tuple[str, str], ...]:
        """The query's parameters as they were written: Envoy does not decode them before it compares."""
        text = self.path.partition("#")[0].partition("?")[2]
        pairs = (part.partition("=") for part in text.split("&") if part)
        return tuple((key, value) for key, _, value in pairs)


def request_for(url: str, method: str = "GET", headers: Mapping[str, str] | None = None) -> Request:
    """The request that a client makes for ``url`` (absolute). Raises ValueError if the URL names no host."""
    scheme, separator, rest = url.partition("://")
    if not separator:
        raise ValueError(f"{url!r} is not an absolute URL")
    end = min((at for at in (rest.find(mark) for mark in "/?#") if at >= 0), default=len(rest))
    authority, path = rest[:end], rest[end:]
    if not authority:
        raise ValueError(f"{url!r} names no host")
    if not path.startswith("/"):
        path = f"/{path}"
    lowered = tuple((name.lower(), value) for name, value in (headers or {}).items())
    host = next((value for name, value in lowered if name == "host"), authority)
    return Request(host, path, method, scheme.lower(), tuple(pair for pair in lowered if pair[0] != "host"))

"""What does a control plane say of its mesh? Its status and its endpoints, asked over HTTP with the local credential.

For ``pilothouse status`` and for ``up``, which waits for its mesh. Asks directly: no proxy of the environment is
followed, and nothing heavier than the standard library is imported, so that the answer comes at once.
"""

import http.client
from typing import Final, TypeVar

import msgspec

from pilothouse.kit.errors import PilothouseError
from pilothouse.server.readmodel import Status

SECONDS: Final = 5.0
MOST_BYTES: Final = 64 * 1024 * 1024


class NotAnswering(PilothouseError):
    """The control plane cannot be reached, or does not answer as one does."""


class NotAllowed(PilothouseError):
    """The control plane does not take the credential."""


class _Instance(msgspec.Struct):
    workload: str = msgspec.field(name="WorkloadName", default="")


class _Endpoint(msgspec.Struct):
    endpoint: _Instance


class _ServicePort(msgspec.Struct):
    svc: str
    ep: list[_Endpoint] = msgspec.field(default_factory=list)


T = TypeVar("T")


def ask_status(address: str, token: str) -> Status:
    """The status of the control plane at ``address`` (``HOST:PORT``). Raises NotAnswering and NotAllowed."""
    return decode(fetch(address, "/api/status", token), Status, address)


def ask_serving(address: str, token: str) -> frozenset[str]:
    """The workloads that get traffic, as ``NAMESPACE/NAME``. Raises as ``ask_status``."""
    ports = decode(fetch(address, "/debug/endpointz", token), list[_ServicePort], address)
    return frozenset(one.endpoint.workload for port in ports for one in port.ep)


def decode(body: bytes, shape: type[T], address: str) -> T:
    """``body`` as ``shape``. Raises NotAnswering."""
    try:
        return msgspec.json.decode(body, type=shape)
    except msgspec.DecodeError as error:
        raise NotAnswering(f"{address} answers, but not as this version of Pilothouse does: {error}") from error


def fetch(address: str, path: str, token: str) -> bytes:
    """The body of ``GET path``. Raises NotAnswering and NotAllowed."""
    host, _, port = address.rpartition(":")
    try:
        connection = http.client.HTTPConnection(host.strip("[]"), int(port), timeout=SECONDS)
    except ValueError as error:
        raise NotAnswering(f"{address!r} is not HOST:PORT, such as 127.0.0.1:15014") from error
    try:
        connection.request("GET", path, headers={"Authorization": f"Bearer {token}"} if token else {})
        answer = connection.getresponse()
        body = answer.read(MOST_BYTES)
    except (OSError, http.client.HTTPException) as error:
        raise NotAnswering(f"no control plane answers at {address}: {error}") from error
    finally:
        connection.close()
    if answer.status in (401, 403):
        raise NotAllowed(f"the control plane at {address} does not take this credential: name its --token-file")
    if answer.status != 200:
        raise NotAnswering(f"{address} answers {answer.status} for {path}; is it a control plane?")
    return body

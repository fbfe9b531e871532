"""What does a control plane say of its mesh? Status, endpoints, held changes, over HTTP with the local credential.

For ``pilothouse status`` and ``accept``, and for ``up``, which waits for its mesh. Asks directly: no proxy of the
environment is followed, and nothing heavier than the standard library is imported, so that the answer comes at once.
"""

import http.client
from typing import Final, TypeVar

import msgspec

from pilothouse.kit.errors import PilothouseError
from pilothouse.server.readmodel import AcceptRequest, HeldStatus, Status

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


def ask_held(address: str, token: str) -> tuple[HeldStatus, ...]:
    """The deletions that are held. Raises as ``ask_status``."""
    return decode(fetch(address, "/api/held", token), tuple[HeldStatus, ...], address)


def accept_held(address: str, token: str, held: HeldStatus) -> bool:
    """Let go exactly what ``held`` names. False if something else is held by now. Raises as ``ask_status``."""
    asked = msgspec.json.encode(AcceptRequest(held.source, held.change))
    status, _ = exchange(address, "/api/accept", token, asked)
    if status not in (200, 409):
        raise NotAnswering(f"{address} answers {status} for /api/accept; is it a control plane of this version?")
    return status == 200


def decode(body: bytes, shape: type[T], address: str) -> T:
    """``body`` as ``shape``. Raises NotAnswering."""
    try:
        return msgspec.json.decode(body, type=shape)
    except msgspec.DecodeError as error:
        raise NotAnswering(f"{address} answers, but not as this version of Pilothouse does: {error}") from error


def fetch(address: str, path: str, token: str) -> bytes:
    """The body of ``GET path``. Raises NotAnswering and NotAllowed."""
    status, body = exchange(address, path, token)
    if status != 200:
        raise NotAnswering(f"{address} answers {status} for {path}; is it a control plane?")
    return body


def exchange(address: str, path: str, token: str, posted: bytes | None = None) -> tuple[int, bytes]:
    """Status and body of a GET, or of a POST of JSON. Raises NotAnswering and NotAllowed."""
    host, _, port = address.rpartition(":")
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    if posted is not None:
        headers["Content-Type"] = "application/json"
    try:
        connection = http.client.HTTPConnection(host.strip("[]"), int(port), timeout=SECONDS)
    except ValueError as error:
        raise NotAnswering(f"{address!r} is not HOST:PORT, such as 127.0.0.1:15014") from error
    try:
        connection.request("GET" if posted is None else "POST", path, posted, headers)
        answer = connection.getresponse()
        body = answer.read(MOST_BYTES)
    except (OSError, http.client.HTTPException) as error:
        raise NotAnswering(f"no control plane answers at {address}: {error}") from error
    finally:
        connection.close()
    if answer.status in (401, 403):
        raise NotAllowed(f"the control plane at {address} does not take this credential: name its --token-file")
    return answer.status, body

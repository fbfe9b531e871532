"""The words of the protocol: requests and responses of both variants, and what a status can be.

``server.grpc`` turns protobuf into these and these into bytes; the stream machines see nothing else.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from pilothouse.kit.origin import Origin
from pilothouse.xds.resource import Resource


@dataclass(frozen=True, slots=True)
class DeltaRequest:
    """A DeltaDiscoveryRequest without the node. ``error`` is None unless the request is a NACK."""

    type_url: str
    subscribe: tuple[str, ...] = ()
    unsubscribe: tuple[str, ...] = ()
    initial_versions: Mapping[str, str] = field(default_factory=dict)
    nonce: str = ""
    error: str | None = None


@dataclass(frozen=True, slots=True)
class SotwRequest:
    """A DiscoveryRequest without the node. ``error`` is None unless the request is a NACK."""

    type_url: str
    names: tuple[str, ...] = ()
    version: str = ""
    nonce: str = ""
    error: str | None = None


@dataclass(frozen=True, slots=True)
class DeltaResponse:
    """One response on a delta stream: resources added or changed, names removed."""

    type_url: str
    nonce: str
    resources: tuple[Resource, ...] = ()
    removed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SotwResponse:
    """One response on a state-of-the-world stream. ``version`` is the digest of all that it contains."""

    type_url: str
    nonce: str
    version: str
    resources: tuple[Resource, ...] = ()


class SyncState(StrEnum):
    """Where one type of one proxy stands. The words that ``pilothouse status`` prints."""

    SYNCED = "SYNCED"
    """Everything that was offered has been acknowledged."""
    WARMING = "WARMING"
    """Clusters were sent and the proxy has not acknowledged them yet: it waits for what is outstanding."""
    STALE = "STALE"
    """Sent, or due to be sent, and not acknowledged yet."""
    NOT_SENT = "NOT SENT"
    """The proxy has not asked for this type, or nothing was ever offered."""
    REFUSED = "REFUSED"
    """The proxy refused at least one resource and serves the last good one."""
    STUCK = "STUCK"
    """No answer within the deadline: the proxy neither acknowledged nor refused."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """One resource version that a proxy refused. ``reason`` is Envoy's own text, cut to a readable length."""

    name: str
    version: str
    reason: str
    origins: tuple[Origin, ...] = ()


@dataclass(frozen=True, slots=True)
class TypeStatus:
    """The state of one type on one stream.

    ``since`` is when the state was entered, in the seconds that the caller passes as ``now``. ``outstanding``
    names what the proxy has been sent and has not acknowledged. ``resources`` is how many it should hold.
    """

    type_url: str
    state: SyncState
    since: float
    reason: str = ""
    outstanding: tuple[str, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    resources: int = 0

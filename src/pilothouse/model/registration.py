"""What an agent and the control plane say to each other on the agent's own stream.

One bidirectional gRPC stream per agent carries these values as MessagePack. It is the embedded registry's way in:
an agent registers the workload that it stands beside, renews, reports health and its Envoy's state, and leaves.
The stream carries no configuration: that is xDS.
"""

from typing import Final, TypeAlias

import msgspec

from pilothouse.model.proxy import Workload

SERVICE = "pilothouse.agent.v1.Agent"
METHOD = "Connect"
PATH = f"/{SERVICE}/{METHOD}"


class Register(msgspec.Struct, frozen=True, tag="register"):
    """First message. ``node_id`` is the node id that the agent's Envoy announces; ``workload`` is None for a gateway.

    ``ready`` tells whether the app passed its first health check: an instance that is not ready is known, and
    gets no traffic.
    """

    node_id: str
    pid: int
    workload: Workload | None = None
    ready: bool = False


class Health(msgspec.Struct, frozen=True, tag="health"):
    """The app's health changed."""

    healthy: bool
    reason: str = ""


class EnvoyState(msgspec.Struct, frozen=True, tag="envoy"):
    """Sent at least every third of the lease, and at once when it changes. It renews the lease.

    ``serving_since`` is the wall-clock second since when Envoy serves what it serves (0: not yet).
    ``source`` is ``live``, ``stored`` or empty (not known, or a direct
    connection); of a stored configuration, ``stored_at`` is the wall-clock second at which the control plane was last
    in touch with it. ``warming`` counts clusters and listeners that wait, ``rejected`` the updates that this Envoy
    refused since its start.
    ``rss_kib``, ``pss_kib`` and ``private_kib`` are Envoy's memory, ``agent_rss_kib`` the agent's own. ``epoch``
    counts hot restarts since Envoy's last start, ``restarts`` its starts after a crash. A ready Envoy may have a
    ``reason`` too: why a reload failed, or what the next epoch waits for.
    """

    live: bool
    ready: bool
    reason: str = ""
    serving_since: float = 0.0
    version: str = ""
    admin_address: str = ""
    epoch: int = 0
    restarts: int = 0
    rss_kib: int = 0
    pss_kib: int = 0
    agent_rss_kib: int = 0
    source: str = ""
    stored_at: float = 0.0
    warming: int = 0
    rejected: int = 0
    private_kib: int = 0


class Deregister(msgspec.Struct, frozen=True, tag="deregister"):
    """The workload leaves: out at once, before its Envoy drains."""

    reason: str = ""


class Accepted(msgspec.Struct, frozen=True, tag="accepted"):
    """The registration stands. An agent that is not heard for ``lease_seconds`` is silent, and its workload suspect."""

    lease_seconds: float


class Refused(msgspec.Struct, frozen=True, tag="refused"):
    """The registration does not stand; the agent reports the reason and does not try again by itself if ``final``."""

    reason: str
    final: bool = True


class Deregistered(msgspec.Struct, frozen=True, tag="deregistered"):
    """The workload is out of the registry; proxies have been, or are being, told."""


FromAgent: TypeAlias = Register | Health | EnvoyState | Deregister
ToAgent: TypeAlias = Accepted | Refused | Deregistered


_FROM_AGENT: Final[msgspec.msgpack.Decoder[FromAgent]] = msgspec.msgpack.Decoder(FromAgent)
_TO_AGENT: Final[msgspec.msgpack.Decoder[ToAgent]] = msgspec.msgpack.Decoder(ToAgent)


def encode(message: FromAgent | ToAgent) -> bytes:
    """MessagePack bytes of a message of either direction."""
    return msgspec.msgpack.encode(message)


def decode_from_agent(body: bytes) -> FromAgent:
    """The message in ``body``. Raises ``msgspec.DecodeError`` (or its ``ValidationError``) on anything else."""
    return _FROM_AGENT.decode(body)


def decode_to_agent(body: bytes) -> ToAgent:
    """The message in ``body``. Raises ``msgspec.DecodeError`` (or its ``ValidationError``) on anything else."""
    return _TO_AGENT.decode(body)

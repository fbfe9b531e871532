"""What passed through the relay, counted, and where Envoy's configuration came from.

Written by the relay's parts, read by the status. Decides nothing.
"""

from dataclasses import dataclass
from enum import StrEnum

import msgspec

from pilothouse.agent.last_good import StoreState


class Source(StrEnum):
    """Where Envoy's newest configuration came from. UNKNOWN: this agent has seen none pass."""

    UNKNOWN = ""
    LIVE = "live"
    STORED = "stored"


class RelayState(msgspec.Struct, frozen=True):
    """What the relay knows at one moment.

    ``live_streams`` are answered by the control plane, ``waiting_streams`` wait for it with the configuration that
    Envoy has, ``stored_streams`` are served from the store. ``lost`` counts streams that the control plane ended.
    """

    source: Source
    live_streams: int
    waiting_streams: int
    stored_streams: int
    requests: int
    responses: int
    refused: int
    unreadable: int
    lost: int
    lost_reason: str
    store: StoreState


@dataclass(slots=True)
class RelayTally:
    """The counters behind ``RelayState``, written by the relay's parts."""

    source: Source = Source.UNKNOWN
    live_streams: int = 0
    waiting_streams: int = 0
    stored_streams: int = 0
    requests: int = 0
    responses: int = 0
    refused: int = 0
    unreadable: int = 0
    lost: int = 0
    lost_reason: str = ""

    def state(self, store: StoreState) -> RelayState:
        """The counters now, with the store's."""
        return RelayState(
            source=self.source,
            live_streams=self.live_streams,
            waiting_streams=self.waiting_streams,
            stored_streams=self.stored_streams,
            requests=self.requests,
            responses=self.responses,
            refused=self.refused,
            unreadable=self.unreadable,
            lost=self.lost,
            lost_reason=self.lost_reason,
            store=store,
        )

"""What has the client asked for, of one type? Names, a wildcard, or for virtual hosts: its routes.

Fed by the stream machines from requests. It knows neither versions nor what was sent.
"""

from collections.abc import Collection
from typing import Final

from pilothouse.xds.resource import CLUSTER, LISTENER, VIRTUAL_HOST

WILDCARD: Final = "*"
_WILDCARD_WHEN_EMPTY: Final = frozenset({CLUSTER, LISTENER, VIRTUAL_HOST})
"""Types whose first request may name nothing and means everything (xDS protocol, "legacy wildcard")."""


def wildcard_when_empty(type_url: str) -> bool:
    """Whether a first request without names asks for everything of this type."""
    return type_url in _WILDCARD_WHEN_EMPTY


class Subscription:
    """The client's interest in one type. ``asked`` becomes true with the first request and stays so."""

    __slots__ = ("asked", "names", "wildcard")

    def __init__(self) -> None:
        """A type that nobody asked for."""
        self.asked = False
        self.wildcard = False
        self.names: set[str] = set()

    def covers(self, name: str) -> bool:
        """Whether the client wants the resource of this name."""
        return self.wildcard or name in self.names

    def add(self, names: Collection[str]) -> tuple[str, ...]:
        """Subscribe ``names``, where ``*`` is the wildcard. Returns the proper names, already known ones too."""
        self.asked = True
        self.wildcard = self.wildcard or WILDCARD in names
        proper = tuple(name for name in names if name != WILDCARD)
        self.names.update(proper)
        return proper

    def drop(self, names: Collection[str]) -> None:
        """Unsubscribe ``names``; ``*`` ends the wildcard and leaves the names."""
        self.wildcard = self.wildcard and WILDCARD not in names
        self.names.difference_update(names)


class VirtualHostSubscription(Subscription):
    """One wildcard serves all route configurations of a stream: it covers the hosts of the routes asked for.

    Envoy sends this request once, without names, and not again when it subscribes to a further route.
    """

    __slots__ = ("_routes",)

    def __init__(self, routes: Subscription) -> None:
        """Virtual hosts of the routes that ``routes`` covers."""
        super().__init__()
        self._routes = routes

    def covers(self, name: str) -> bool:
        """Whether the host was asked for by name, or its route is subscribed."""
        return name in self.names or (self.wildcard and self._routes.covers(route_of(name)))


def route_of(virtual_host: str) -> str:
    """``ROUTE`` of ``ROUTE/HOST``."""
    return virtual_host.rpartition("/")[0]

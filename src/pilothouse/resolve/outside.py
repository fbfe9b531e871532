"""Where an app's proxy port leads beyond services: into a tunnel, outside the mesh, or nowhere.

Decides which addresses are never forwarded to, and for which proxies the outside is open at all. Names are resolved
by Envoy, long after this; so the ranges are handed to its DNS cache, which drops what a name must not resolve to.
"""

from dataclasses import dataclass
from enum import StrEnum
from ipaddress import ip_address
from typing import Final

from pilothouse.model.proxy import Place, Proxy, Role


class BuiltInCluster(StrEnum):
    """Clusters that no service makes. They hold nothing of one proxy, so that all proxies share them.

    ``BLACK_HOLE`` never has an endpoint and is everywhere. ``TUNNEL`` leads what arrives inside a CONNECT back into
    the proxy as HTTP. ``OUTSIDE`` resolves the request's own host. Istio's names where Istio has one.
    """

    BLACK_HOLE = "BlackHoleCluster"
    TUNNEL = "http_proxy_tunnel"
    OUTSIDE = "PassthroughCluster"


NEVER_OUTSIDE: Final[tuple[str, ...]] = (
    "0.0.0.0/8",  # "this host": connecting to it reaches loopback
    "127.0.0.0/8",
    "169.254.0.0/16",  # link-local: the metadata service of most clouds
    "100.100.100.200/32",  # Alibaba Cloud's metadata
    "168.63.129.16/32",  # Azure's platform address
    "192.0.0.192/32",  # Oracle Cloud's older metadata
    "224.0.0.0/4",  # multicast
    "240.0.0.0/4",  # reserved, and broadcast
    "::/128",
    "::1/128",
    "::ffff:0:0/96",  # IPv4 in IPv6 clothes, which would pass all rows above
    "fe80::/10",
    "fec0::/10",
    "ff00::/8",
    "fd00:ec2::254/128",  # AWS metadata
)
"""Addresses that a host outside the mesh can never have, in CIDR form."""


FIRST_THAT_FILTERS: Final = (1, 39)
"""The first Envoy whose DNS cache has ``resolved_address_filter``."""


@dataclass(frozen=True, slots=True)
class OutsideGuard:
    """What one proxy must not forward to beyond ``NEVER_OUTSIDE``: its own addresses, and places that steer it."""

    addresses: tuple[str, ...] = ()
    places: tuple[Place, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether ``NEVER_OUTSIDE`` already says everything."""
        return not self.addresses and not self.places


def may_leave(proxy: Proxy) -> bool:
    """Whether requests of this proxy's app may leave the mesh, where the mesh's policy allows it.

    Only through a port on loopback: one that others can reach would be an open proxy for them. And only with an Envoy
    that is known to look at what names resolve to: an older one would ignore ``NEVER_OUTSIDE`` without a word.
    """
    on_loopback = ip_address(proxy.http_proxy_address).is_loopback
    return proxy.role is Role.SIDECAR and on_loopback and filters_addresses(proxy.envoy_version)


def filters_addresses(version: str) -> bool:
    """Whether Envoy of this version (``1.40.0``; "" is unknown) can leave addresses out of what names resolve to."""
    numbers = [int(part) for part in version.split("-")[0].split(".")[:2] if part.isdecimal()]
    return len(numbers) == 2 and tuple(numbers) >= FIRST_THAT_FILTERS


def outside_guard(proxy: Proxy) -> OutsideGuard:
    """The guard of ``proxy``. Loopback is left out, because ``NEVER_OUTSIDE`` holds it."""
    own = {proxy.address, proxy.http_proxy_address}
    return OutsideGuard(
        addresses=tuple(sorted(a for a in own if not ip_address(a).is_loopback)),
        places=tuple(p for p in proxy.guarded if not ip_address(p.address).is_loopback and p.address not in own),
    )

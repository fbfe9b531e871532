"""Forwarding to hosts outside the mesh: Envoy's dynamic forward proxy, and the two looks that bound it.

The first look is the DNS cache's own: what a name must not resolve to is dropped from every answer, also when it is
refreshed, and literal addresses pass through it too. The second is one proxy's: an RBAC filter behind the first, for
that proxy's own addresses. Which addresses, is decided in ``resolve.outside``.
"""

from ipaddress import ip_network
from typing import Final

from envoy.config.rbac.v3 import rbac_pb2 as rules_pb2
from envoy.config.route.v3 import route_components_pb2
from envoy.extensions.clusters.dynamic_forward_proxy.v3 import cluster_pb2
from envoy.extensions.common.dynamic_forward_proxy.v3 import dns_cache_pb2
from envoy.extensions.filters.http.dynamic_forward_proxy.v3 import dynamic_forward_proxy_pb2
from envoy.extensions.filters.http.rbac.v3 import rbac_pb2
from envoy.extensions.rbac.matchers.upstream_ip_port.v3 import upstream_ip_port_matcher_pb2
from envoy.type.matcher.v3 import address_pb2
from google.protobuf.message import Message

from pilothouse.compiler.wire import Fields, any_of
from pilothouse.resolve.outside import NEVER_OUTSIDE, OutsideGuard
from pilothouse.xds.framing import bytes_field

FORWARD_PROXY: Final = "envoy.clusters.dynamic_forward_proxy"
FORWARD_PROXY_FILTER: Final = "envoy.filters.http.dynamic_forward_proxy"
OUTSIDE_GUARD: Final = "pilothouse.outside_guard"
ENABLED: Final = route_components_pb2.FilterConfig(config={})
"""In a virtual host: the filter of this name runs, with the listener's configuration."""

_RESOLVED_ADDRESS_FILTER: Final = 16
"""The field of DnsCacheConfig that Envoy has since 1.39, and the published Python messages do not have yet."""


def dns_cache() -> dns_cache_pb2.DnsCacheConfig:
    """The cache that filter and cluster share; Envoy refuses two configurations under one name."""
    cache = dns_cache_pb2.DnsCacheConfig(name="outside", dns_lookup_family="V4_PREFERRED")
    never = address_pb2.AddressMatcher(ranges=[cidr(network) for network in NEVER_OUTSIDE])
    cache.MergeFromString(bytes_field(_RESOLVED_ADDRESS_FILTER, never.SerializeToString(deterministic=True)))
    return cache


def cidr(network: str) -> Fields:
    """A CidrRange."""
    parsed = ip_network(network)
    return {"address_prefix": str(parsed.network_address), "prefix_len": {"value": parsed.prefixlen}}


def forward_proxy_cluster() -> Message:
    """The cluster's own configuration. "Insecure" would be TLS that nobody verifies; this cluster speaks none."""
    return cluster_pb2.ClusterConfig(dns_cache_config=dns_cache(), allow_insecure_cluster_options=True)


def forward_proxy_filter(guard: OutsideGuard | None) -> Message | None:
    """The filter that resolves before the router asks. It keeps the address for the guard to look at."""
    if guard is None:
        return None
    return dynamic_forward_proxy_pb2.FilterConfig(dns_cache_config=dns_cache(), save_upstream_address=True)


def guard_filter(guard: OutsideGuard | None) -> Message | None:
    """The filter that refuses (403) what this proxy must not forward to."""
    if guard is None or guard.is_empty:
        return None
    refused = [upstream(address) for address in guard.addresses]
    refused += [upstream(place.address, place.port) for place in guard.places]
    policy = rules_pb2.Policy(permissions=refused, principals=[rules_pb2.Principal(any=True)])
    return rbac_pb2.RBAC(rules=rules_pb2.RBAC(action="DENY", policies={"outside-guard": policy}))


def upstream(address: str, port: int | None = None) -> rules_pb2.Permission:
    """A permission for one resolved address: any port, or one."""
    fields: Fields = {"upstream_ip": cidr(address)}
    if port is not None:
        fields["upstream_port_range"] = {"start": port, "end": port + 1}
    matcher = upstream_ip_port_matcher_pb2.UpstreamIpPortMatcher(**fields)
    named: Fields = {"name": "envoy.rbac.matchers.upstream_ip_port", "typed_config": any_of(matcher)}
    return rules_pb2.Permission(matcher=named)

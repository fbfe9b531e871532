"""Proxies fall into classes: equal keys mean equal output, so one compile serves them all.

A key is made of what ``resolve`` really consults: role, which label selectors of the World match this proxy, and its
namespace if any object cares for it. Never raw labels, names or addresses: a thousand proxies with unique labels
and no selector in the World are one class; a selector that matches three of them makes two.
"""

from dataclasses import dataclass

from pilothouse.model.labels import Labels, selects
from pilothouse.model.proxy import CaptureMode, Proxy, Role
from pilothouse.resolve.outside import may_leave

ANY_NAMESPACE = ""
"""Stands for every namespace that no object consults."""


@dataclass(frozen=True, slots=True)
class Consulted:
    """What the World asks about a proxy: label selectors, namespaces that some object names, and the way outside."""

    selectors: tuple[Labels, ...] = ()
    namespaces: frozenset[str] = frozenset()
    outside: bool = False


@dataclass(frozen=True, slots=True)
class ProxyClass:
    """The key of a class. ``matched`` holds the selectors that match; a new one that does not leaves the key alone.

    ``tunnels``: ``CONNECT`` is served. ``outside``: hosts that no service has are forwarded to.
    """

    role: Role
    capture: CaptureMode
    namespace: str
    matched: frozenset[Labels]
    tunnels: bool = False
    outside: bool = False


def classify(proxy: Proxy, consulted: Consulted) -> ProxyClass:
    """The class of ``proxy``."""
    return ProxyClass(
        role=proxy.role,
        capture=proxy.capture,
        namespace=proxy.namespace if proxy.namespace in consulted.namespaces else ANY_NAMESPACE,
        matched=frozenset(selector for selector in consulted.selectors if selects(selector, proxy.labels)),
        tunnels=proxy.tunnels and proxy.role is Role.SIDECAR,
        outside=consulted.outside and may_leave(proxy),
    )

"""What a workload serves, and where its proxy listens: the inbound and the own part of a view.

The inbound shape comes from the agent's registration, joined by workload id, not from what a ServiceEntry says of an
address: several workloads may live on one host (an intended difference from Istio, DESIGN §7).
"""

from collections.abc import Iterator
from dataclasses import dataclass

from pilothouse.kit.origin import BuiltIn, RegistryOrigin
from pilothouse.model.proxy import InboundPort, Proxy, Role, TcpBind, Workload
from pilothouse.resolve.outside import BuiltInCluster, OutsideGuard
from pilothouse.resolve.view import InboundView, ListenerKind, ListenerView, ServedPort

HTTP_PROXY_TABLE = "http_proxy"
"""Istio's name of the route configuration behind the app's HTTP proxy port."""

NOTHING_SERVED = InboundView(())


def inbound_view(workload: Workload) -> InboundView:
    """The inbound clusters of ``workload``: one per service port, first mapping wins."""
    ports: dict[int, InboundPort] = {}
    for port in workload.ports:
        ports.setdefault(port.service_port, port)
    return InboundView(tuple(served_port(workload, ports[number]) for number in sorted(ports)))


def served_port(workload: Workload, port: InboundPort) -> ServedPort:
    """One port of ``workload``."""
    return ServedPort(
        service_port=port.service_port,
        host=port.host,
        namespace=workload.namespace,
        app_address=port.app_address,
        app_port=port.app_port,
        http2=port.protocol.is_http2,
        origins=(RegistryOrigin("embedded", port.host),),
        tcp=not port.protocol.is_http,
    )


@dataclass(frozen=True, slots=True)
class ProxyPort:
    """What decides about the app's HTTP proxy port beside its place. Proxies that agree in it share one object.

    ``tunnel`` is the listener inside Envoy that serves what ``CONNECT`` brings; None where that is not served.
    """

    tunnel: ListenerView | None
    guard: OutsideGuard | None
    access_log: bool


def proxy_port(guard: OutsideGuard | None, *, tunnels: bool, access_log: bool) -> ProxyPort:
    """The proxy port's decisions, with the tunnel's listener."""
    tunnel = ListenerView(
        kind=ListenerKind.TUNNEL,
        address=BuiltInCluster.TUNNEL.value,
        port=0,
        origins=(BuiltIn("what arrives inside CONNECT"),),
        table=HTTP_PROXY_TABLE,
        access_log=access_log,
        guard=guard,
    )
    return ProxyPort(tunnel if tunnels else None, guard, access_log)


def sidecar_listeners(
    proxy: Proxy,
    workload: Workload | None,
    inbound: InboundView,
    port: ProxyPort,
    tcp: tuple[tuple[TcpBind, str], ...],
) -> tuple[ListenerView, ...]:
    """The listeners of a sidecar without capture: one per inbound port, the app's HTTP proxy port, those for TCP.

    Of two with one address and port the one that is named first here stays.
    """
    found = (
        *inbound_listeners(workload, inbound, access_log=port.access_log),
        *proxy_listeners(proxy, port),
        *(tcp_listener(bind, cluster, access_log=port.access_log) for bind, cluster in tcp),
    )
    return tuple({listener.name: listener for listener in reversed(found)}.values())


def inbound_listeners(workload: Workload | None, inbound: InboundView, *, access_log: bool) -> Iterator[ListenerView]:
    """One listener per port that the workload serves."""
    served = {s.service_port: s for s in inbound.served}
    for port in workload.ports if workload is not None else ():
        yield ListenerView(
            kind=ListenerKind.INBOUND,
            address=workload.address if workload is not None else "",
            port=port.inbound_port,
            origins=(RegistryOrigin("embedded", port.host, workload.id if workload is not None else ""),),
            served=served[port.service_port],
            access_log=access_log,
        )


def proxy_listeners(proxy: Proxy, port: ProxyPort) -> Iterator[ListenerView]:
    """The app's HTTP proxy port, if it has one, and the listener inside Envoy that serves what CONNECT brings."""
    if not proxy.http_proxy_port or proxy.role is not Role.SIDECAR:
        return
    yield ListenerView(
        kind=ListenerKind.HTTP_PROXY,
        address=proxy.http_proxy_address,
        port=proxy.http_proxy_port,
        origins=(BuiltIn("the app's HTTP proxy port"),),
        table=HTTP_PROXY_TABLE,
        access_log=port.access_log,
        guard=port.guard,
    )
    if port.tunnel is not None:
        yield port.tunnel


def tcp_listener(bind: TcpBind, cluster: str, *, access_log: bool) -> ListenerView:
    """A listener whose connections all go to one port of one service."""
    return ListenerView(
        kind=ListenerKind.TCP,
        address=bind.at.address,
        port=bind.at.port,
        origins=(BuiltIn(f"the agent's request for {bind}"),),
        access_log=access_log,
        cluster=cluster,
    )

"""What a workload serves, and where its proxy listens: the inbound and the own part of a view.

The inbound shape comes from the agent's registration, joined by workload id, not from what a ServiceEntry says of an
address: several workloads may live on one host (an intended difference from Istio, DESIGN §7).
"""

from pilothouse.kit.origin import BuiltIn, RegistryOrigin
from pilothouse.model.proxy import InboundPort, Proxy, Role, Workload
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
    )


def sidecar_listeners(
    proxy: Proxy, workload: Workload | None, inbound: InboundView, *, access_log: bool
) -> tuple[ListenerView, ...]:
    """The listeners of a sidecar without capture: one per inbound port, and the app's HTTP proxy port."""
    served = {s.service_port: s for s in inbound.served}
    own = (
        []
        if workload is None
        else [
            ListenerView(
                kind=ListenerKind.INBOUND,
                address=workload.address,
                port=port.inbound_port,
                origins=(RegistryOrigin("embedded", port.host, workload.id),),
                served=served[port.service_port],
                access_log=access_log,
            )
            for port in workload.ports
        ]
    )
    if proxy.http_proxy_port and proxy.role is Role.SIDECAR:
        own.append(
            ListenerView(
                kind=ListenerKind.HTTP_PROXY,
                address=proxy.http_proxy_address,
                port=proxy.http_proxy_port,
                origins=(BuiltIn("the app's HTTP proxy port"),),
                table=HTTP_PROXY_TABLE,
                access_log=access_log,
            )
        )
    return tuple({listener.name: listener for listener in reversed(own)}.values())

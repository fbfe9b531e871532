"""From views to layers: compile what is new, share what is not.

The memo remembers which resource came from which view object. The same object again costs a look-up, whichever
class asks; so a change of endpoints compiles load assignments and nothing else, whatever the number of proxies, and
two classes that see the same service share its bytes. ``compiled`` counts, and tests hold it to that.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from typing import TypeAlias, TypeVar

from pilothouse.compiler.clusters import compile_built_in, compile_cluster, compile_inbound_cluster
from pilothouse.compiler.endpoints import compile_assignment
from pilothouse.compiler.listeners import compile_listener
from pilothouse.compiler.routes import compile_table, compile_virtual_host, join_table
from pilothouse.kit.memo import IdentityMemo
from pilothouse.resolve.outside import BuiltInCluster
from pilothouse.resolve.view import InboundView, OutboundView, OwnView, ProxyView
from pilothouse.xds.resource import (
    CLUSTER,
    ENDPOINT,
    LISTENER,
    ROUTE,
    SHORT_NAMES,
    VIRTUAL_HOST,
    Resource,
    ResourceSet,
    Snapshot,
    resource_set,
)

V = TypeVar("V")
Layers: TypeAlias = dict[str, ResourceSet]
"""One layer per type."""


class Assembler:
    """Compiles views and remembers. It holds no policy and knows no proxies.

    ``compiled`` counts compilations per type (CDS, EDS, …) since the start.
    """

    def __init__(self) -> None:
        self.compiled: Counter[str] = Counter()
        self._resources: IdentityMemo[Resource] = IdentityMemo()
        self._layers: IdentityMemo[ResourceSet] = IdentityMemo()
        self._parts: IdentityMemo[Layers] = IdentityMemo()
        self._snapshots: IdentityMemo[Snapshot] = IdentityMemo()
        self._built_in = {cluster: compile_built_in(cluster) for cluster in BuiltInCluster}

    def snapshot(self, view: ProxyView) -> Snapshot:
        """Everything that a proxy with this view should hold. The same object for the same view objects."""
        slot = (id(view.outbound), id(view.inbound), id(view.own))
        return self._snapshots.get(slot, self._assemble, view.outbound, view.inbound, view.own)

    def _assemble(self, outbound: OutboundView, inbound: InboundView, own: OwnView) -> Snapshot:
        called = self._parts.get(id(outbound), self._outbound, outbound)
        served = self._parts.get(id(inbound), self._inbound, inbound)
        listeners = self._compiled(LISTENER, compile_listener, own.listeners)
        return Snapshot(
            {
                CLUSTER: (called[CLUSTER], served[CLUSTER]),
                ENDPOINT: (called[ENDPOINT],),
                LISTENER: (self._layer(LISTENER, listeners),),
                ROUTE: (called[ROUTE],),
                VIRTUAL_HOST: (called[VIRTUAL_HOST],),
            }
        )

    def _outbound(self, view: OutboundView) -> Layers:
        built_in = (self._built_in[cluster] for cluster in view.built_in)
        clusters = (*built_in, *self._compiled(CLUSTER, compile_cluster, view.clusters))
        hosts = [host for table in view.tables for host in table.hosts]
        heads = [table.head for table in view.tables]
        return {
            CLUSTER: self._layer(CLUSTER, clusters),
            ENDPOINT: self._layer(ENDPOINT, self._compiled(ENDPOINT, compile_assignment, view.assignments)),
            ROUTE: self._layer(ROUTE, self._compiled(ROUTE, compile_table, heads)),
            VIRTUAL_HOST: self._layer(VIRTUAL_HOST, self._compiled(VIRTUAL_HOST, compile_virtual_host, hosts)),
        }

    def _inbound(self, view: InboundView) -> Layers:
        return {CLUSTER: self._layer(CLUSTER, self._compiled(CLUSTER, compile_inbound_cluster, view.served))}

    def joined(self, snapshot: Snapshot) -> Snapshot:
        """The same snapshot for state-of-the-world streams: virtual hosts joined into their route configurations."""
        return self._snapshots.get(("joined", id(snapshot)), self._join, snapshot)

    def _join(self, snapshot: Snapshot) -> Snapshot:
        hosts = tuple(snapshot.resources(VIRTUAL_HOST))
        routes = tuple(join_table(r, hosts) for r in snapshot.resources(ROUTE))
        layers = {t: s for t, s in snapshot.layers.items() if t != VIRTUAL_HOST}
        return Snapshot({**layers, ROUTE: (self._layer(ROUTE, routes),)})

    def tidy(self) -> None:
        """Forget what was not used since the last ``tidy``; the owner of state calls it now and then.

        Snapshots are forgotten too, so that the next round asks for every part once more and thereby marks what is
        in use. That round compiles nothing: the parts are still known.
        """
        self._snapshots.clear()
        self._parts.clear()
        self._resources.sweep()
        self._layers.sweep()

    def _compiled(
        self, type_url: str, compile_one: Callable[[V], Resource], views: Iterable[V]
    ) -> tuple[Resource, ...]:
        def counted(view: V) -> Resource:
            self.compiled[SHORT_NAMES[type_url]] += 1
            return compile_one(view)

        return tuple(self._resources.get((type_url, id(view)), counted, view) for view in views)

    def _layer(self, type_url: str, resources: tuple[Resource, ...]) -> ResourceSet:
        ids = tuple(id(r) for r in resources)
        return self._layers.get((type_url, ids), lambda *rs: resource_set(*rs), *resources)

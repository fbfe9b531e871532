"""World → snapshots, as one object with a memory: what ``server.pipeline`` drives and tests compare.

Joins the Resolver's decisions and the Assembler's translation, and decides when to forget. It owns no state of the
mesh: a fresh MeshCompiler gives the same bytes for the same World.
"""

from collections import Counter
from typing import Final

from pilothouse.compiler.assemble import Assembler
from pilothouse.compiler.endpoints import compile_assignment
from pilothouse.compiler.routes import absent_table
from pilothouse.model.proxy import Proxy
from pilothouse.model.world import World
from pilothouse.resolve.mesh import MeshSnapshot, Resolver
from pilothouse.resolve.view import AssignmentView
from pilothouse.xds.resource import ENDPOINT, ROUTE, Resource, Snapshot

ROUNDS_BETWEEN_TIDYING: Final = 64


class MeshCompiler:
    """Compiles Worlds for proxies. ``compiled`` counts the compilations per type since the start."""

    def __init__(self) -> None:
        self._resolver = Resolver()
        self._assembler = Assembler()
        self._rounds = 0

    @property
    def compiled(self) -> Counter[str]:
        """Compilations so far, by CDS, EDS, LDS, RDS, VHDS."""
        return self._assembler.compiled

    def resolve(self, world: World, previous: MeshSnapshot | None = None) -> MeshSnapshot:
        """Begin a round: the mesh snapshot of ``world``."""
        self._rounds += 1
        if self._rounds % ROUNDS_BETWEEN_TIDYING == 0:
            self._assembler.tidy()
        return self._resolver.resolve(world)

    def snapshot(self, mesh: MeshSnapshot, proxy: Proxy) -> Snapshot:
        """Everything that ``proxy`` should hold. The same object while nothing of it changes."""
        return self._assembler.snapshot(self._resolver.view(mesh, proxy))

    def sotw(self, snapshot: Snapshot) -> Snapshot:
        """``snapshot`` for a state-of-the-world stream."""
        return self._assembler.joined(snapshot)


def absent(type_url: str, name: str) -> Resource | None:
    """What answers for a resource that does not exist, on streams that cannot say "removed".

    An empty load assignment or route configuration, so that the proxy does not wait for ever; nothing for others.
    """
    if type_url == ROUTE:
        return absent_table(name)
    if type_url == ENDPOINT:
        return compile_assignment(AssignmentView(name, ()))
    return None

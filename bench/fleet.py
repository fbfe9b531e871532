"""A fleet of fake sidecars in this process: they subscribe in Envoy's order and acknowledge everything.

Drives the compiler and the stream machines without sockets, so that what is counted is the work itself.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from pilothouse.compiler.mesh import MeshCompiler, absent
from pilothouse.model.proxy import Proxy
from pilothouse.model.world import World
from pilothouse.xds.delta import DeltaStream
from pilothouse.xds.protocol import DeltaRequest, DeltaResponse
from pilothouse.xds.resource import CLUSTER, ENDPOINT, LISTENER, ROUTE, SHORT_NAMES, VIRTUAL_HOST
from pilothouse.xds.settings import StreamSettings


@dataclass(slots=True)
class Sidecar:
    """One fake sidecar and the machine that serves it."""

    proxy: Proxy
    stream: DeltaStream
    endpoints: set[str] = field(default_factory=set)
    routes: set[str] = field(default_factory=set)
    listening: bool = False
    followed: bool = False


class Fleet:
    """Proxies on one compiler. ``sent`` counts responses, resources and bytes per type since the last ``reset``."""

    def __init__(self, proxies: list[Proxy]) -> None:
        self.compiler = MeshCompiler()
        settings = StreamSettings(absent=absent)
        self.sidecars = [Sidecar(p, DeltaStream(settings=settings)) for p in proxies]
        self.sent: Counter[str] = Counter()
        self.woken = 0
        self._compiled_before: Counter[str] = Counter()

    def publish(self, world: World) -> None:
        """One round: resolve, compile, offer to everybody, and play the dialogues to their end."""
        mesh = self.compiler.resolve(world)
        for sidecar in self.sidecars:
            responses = sidecar.stream.offer(self.compiler.snapshot(mesh, sidecar.proxy), 0.0)
            if not sidecar.listening:
                sidecar.listening = True
                responses = [*responses, *sidecar.stream.receive(DeltaRequest(CLUSTER), 0.0)]
            self.woken += bool(responses)
            self._play(sidecar, responses)

    def reset(self) -> None:
        """Begin to count anew."""
        self.sent.clear()
        self.woken = 0
        self._compiled_before = Counter(self.compiler.compiled)

    def counts(self) -> dict[str, int]:
        """Everything since ``reset``: compilations per type, responses, resources and bytes per type, wake-ups."""
        compiled = {f"compiled {t}": n for t, n in (self.compiler.compiled - self._compiled_before).items()}
        return dict(sorted({**compiled, **self.sent, "woken": self.woken}.items()))

    def _play(self, sidecar: Sidecar, responses: list[DeltaResponse]) -> None:
        """Answer until nobody has anything to say, as Envoy does: subscriptions first, then the acknowledgement."""
        pending = list(responses)
        while pending:
            response = pending.pop(0)
            self._count(response)
            for request in (*subscriptions(sidecar, response), DeltaRequest(response.type_url, nonce=response.nonce)):
                pending += sidecar.stream.receive(request, 0.0)
            if response.type_url == CLUSTER and not sidecar.followed:
                sidecar.followed = True
                pending += sidecar.stream.receive(DeltaRequest(LISTENER), 0.0)

    def _count(self, response: DeltaResponse) -> None:
        short = SHORT_NAMES[response.type_url]
        self.sent[f"responses {short}"] += 1
        self.sent[f"resources {short}"] += len(response.resources)
        self.sent[f"bytes {short}"] += sum(len(r.body) for r in response.resources)


def subscriptions(sidecar: Sidecar, response: DeltaResponse) -> list[DeltaRequest]:
    """What Envoy asks for because of ``response``, before it acknowledges it."""
    if response.type_url == CLUSTER:
        wanted = {name for r in response.resources for kind, name in r.follows if kind == ENDPOINT}
        new = sorted(wanted - sidecar.endpoints)
        sidecar.endpoints.update(new)
        return [DeltaRequest(ENDPOINT, subscribe=tuple(new))] if new else []
    if response.type_url == LISTENER and response.resources and not sidecar.routes:
        sidecar.routes.add("http_proxy")
        return [DeltaRequest(ROUTE, subscribe=("http_proxy",))]
    if response.type_url == ROUTE and response.resources and "vhds" not in sidecar.routes:
        sidecar.routes.add("vhds")
        return [DeltaRequest(VIRTUAL_HOST)]
    return []


Step = tuple[str, Callable[[World], World]]
"""What a change is called, and the World after it."""

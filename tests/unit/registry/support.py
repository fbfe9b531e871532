"""Workloads, a registry with a clock that is moved by hand, and a World that follows what it emits."""

from pilothouse.aio.clock import ManualClock
from pilothouse.model.proxy import InboundPort, Workload
from pilothouse.model.registration import Refused, Register
from pilothouse.model.service import Endpoint, Protocol, Service, ServiceKey
from pilothouse.model.world import Delta, World, fold_one
from pilothouse.registry.admission import Admission
from pilothouse.registry.embedded import EmbeddedRegistry, EmbeddedRules
from pilothouse.registry.leases import Registration
from pilothouse.registry.stored import KnownRegistration, KnownState, decode_state, encode_state


def a_port(host: str = "reviews", number: int = 9080, protocol: Protocol = Protocol.HTTP) -> InboundPort:
    """A port whose inbound port is 10000 above."""
    return InboundPort(host, number, number + 10_000, number, protocol=protocol)


def a_workload(name: str = "reviews-v1", address: str = "127.0.0.11", *ports: InboundPort) -> Workload:
    """A workload in namespace ``default`` with one port unless others are given."""
    return Workload(name, "default", address, ports or (a_port(),), labels=(("version", name[-2:]),))


def known(*workloads: Workload, serving: bool = True) -> KnownState:
    """What an earlier run left on disk."""
    return KnownState(tuple(KnownRegistration(full(workload), serving) for workload in workloads))


def full(workload: Workload) -> Workload:
    """The workload as the registry keeps it."""
    admitted = Admission().admit(workload)
    assert isinstance(admitted, Workload), admitted
    return admitted


class Harness:
    """A registry, its clock, and everything it emitted."""

    def __init__(
        self, rules: EmbeddedRules | None = None, earlier: KnownState | None = None, now: float = 1000.0
    ) -> None:
        self.clock = ManualClock(now)
        self.rules = rules or EmbeddedRules()
        self.emitted: list[Delta] = []
        self.world = World()
        self.registry = EmbeddedRegistry(self._take, self.clock, self.rules, earlier)

    def _take(self, delta: Delta) -> None:
        self.emitted.append(delta)
        world = fold_one(self.world, delta)
        assert world is not self.world, f"a delta that says nothing new: {delta}"
        self.world = world

    def take_emitted(self) -> list[Delta]:
        """What was emitted since the last call."""
        emitted, self.emitted = self.emitted, []
        return emitted

    def join(self, workload: Workload | None = None, *, pid: int = 1, ready: bool = True) -> Registration:
        """Register a workload that must be accepted."""
        answer = self.offer(workload, pid=pid, ready=ready)
        assert isinstance(answer, Registration), answer
        return answer

    def offer(self, workload: Workload | None = None, *, pid: int = 1, ready: bool = True) -> Registration | Refused:
        """Register a workload and see."""
        chosen = workload or a_workload()
        node = f"sidecar~{chosen.address}~{chosen.id}.default~mesh"
        return self.registry.register(Register(node, pid, chosen, ready))

    def pass_time(self, seconds: float, *alive: Registration, step: float = 0.25) -> None:
        """Let time pass with the registry looking regularly, while the agents of ``alive`` renew."""
        end = self.clock.now + seconds
        while self.clock.now < end:
            self.clock.advance(min(step, end - self.clock.now))
            for registration in alive:
                self.registry.renew(registration)
            self.registry.expire()

    def service(self, name: str = "reviews") -> Service | None:
        """The service as the World knows it."""
        registered = self.world.registries.get("embedded")
        return registered.services.get(key_of(name)) if registered else None

    def endpoints(self, name: str = "reviews") -> tuple[Endpoint, ...] | None:
        """The service's endpoints as the World knows them."""
        registered = self.world.registries.get("embedded")
        return registered.endpoints.get(key_of(name)) if registered else None

    def suspects(self) -> list[str]:
        """The workloads that are suspect, longest first."""
        return [suspect.workload.id for suspect in self.registry.suspects]

    def restart(self, after: float = 0.0) -> "Harness":
        """Another registry of the same rules that starts from what this one would leave on disk."""
        return Harness(self.rules, decode_state(encode_state(self.registry.state())), self.clock.now + after)

    def serving(self, name: str = "reviews") -> list[str]:
        """The workloads that get the service's traffic."""
        return [endpoint.workload_id for endpoint in self.endpoints(name) or ()]


def key_of(name: str) -> ServiceKey:
    """The key of ``NAME.service.mesh`` in namespace ``default``."""
    return ServiceKey("default", f"{name}.service.mesh")

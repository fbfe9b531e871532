"""Whatever agents do and whatever happens to the control plane: who leaves, leaves for a reason that holds.

Random sequences of registrations, renewals, broken streams, health, departures, time, pauses and restarts, against a
second book that only knows what was done. Times are virtual.
"""

from dataclasses import dataclass, field

from hypothesis import example, given, settings
from hypothesis import strategies as st

from pilothouse.model.registration import Health, Refused
from pilothouse.registry.embedded import EmbeddedRules
from pilothouse.registry.leases import Registration
from pilothouse.registry.silence import SilenceRule
from tests.unit.registry.support import Harness, a_workload

TICK = 0.25
MOST_AGENTS = 24

agents = st.integers(0, MOST_AGENTS - 1)
acts = st.one_of(
    st.tuples(st.just("register"), agents),
    st.tuples(st.just("register all"), st.just(0)),
    st.tuples(st.just("renew"), agents),
    st.tuples(st.just("lose"), agents),
    st.tuples(st.just("lose all"), st.just(0)),
    st.tuples(st.just("fail"), agents),
    st.tuples(st.just("deregister"), agents),
    st.tuples(st.just("pass"), st.sampled_from([1, 41, 60, 240])),
    st.tuples(st.just("pause"), st.integers(2, 500)),
    st.tuples(st.just("restart"), st.integers(0, 100)),
)


@dataclass
class Book:
    """What was done to one registry and its successors."""

    rules: EmbeddedRules
    mesh: Harness = field(init=False)
    handles: dict[str, Registration] = field(default_factory=dict)
    heard: dict[str, float] = field(default_factory=dict)
    """When each agent last gave a sign of life, or the control plane last began to count anew."""
    silenced: list[float] = field(default_factory=list)
    sizes: list[tuple[float, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.mesh = Harness(self.rules)

    @property
    def now(self) -> float:
        return self.mesh.clock.now

    def play(self, act: str, value: int) -> None:
        name = f"reviews-{value:02}"
        before = self.mesh.serving()
        match act:
            case "register":
                self.register(value)
            case "register all" | "lose all":
                self.all_of_them(act)
            case "pass":
                self.pass_time(value)
            case "pause":
                self.pause(value)
            case "restart":
                self.restart(value)
            case _ if name in self.handles:
                self.say(act, name)
        if act not in ("pass", "deregister", "fail"):
            assert set(before) <= set(self.mesh.serving()), f"{act} takes nobody out"
        self.sizes.append((self.now, len(self.mesh.serving())))

    def all_of_them(self, act: str) -> None:
        for number in range(MOST_AGENTS):
            if act == "register all":
                self.register(number)
            elif (handle := self.handles.pop(f"reviews-{number:02}", None)) is not None:
                self.mesh.registry.lost(handle)

    def register(self, number: int) -> None:
        workload = a_workload(f"reviews-{number:02}", f"127.0.0.{number + 1}")
        answer = self.mesh.offer(workload, pid=number)
        assert not isinstance(answer, Refused)
        self.mesh.registry.expire()
        self.handles[workload.id], self.heard[workload.id] = answer, self.now
        assert workload.id in self.mesh.serving()

    def say(self, act: str, name: str) -> None:
        handle = self.handles[name]
        match act:
            case "renew":
                if self.mesh.registry.renew(handle):
                    self.heard[name] = self.now
                else:
                    assert name not in self.mesh.serving()
            case "lose":
                self.mesh.registry.lost(self.handles.pop(name))
            case "fail":
                if self.mesh.registry.health(handle, Health(healthy=False)):
                    self.heard[name] = self.now
                assert name not in self.mesh.serving(), "at once"
            case "deregister":
                self.mesh.registry.deregister(self.handles.pop(name))
                assert name not in self.mesh.serving(), "at once"
                assert name not in self.mesh.world.workloads

    def pass_time(self, ticks: int) -> None:
        for _ in range(ticks):
            before = self.mesh.serving()
            self.mesh.pass_time(TICK)
            gone = set(before) - set(self.mesh.serving())
            if gone:
                self.take_note(len(before), gone)

    def take_note(self, members: int, gone: set[str]) -> None:
        """Some left by silence: whether they had to."""
        self.sizes.append((self.now, members))
        self.silenced += [self.now] * len(gone)
        for name in gone:
            assert self.now - self.heard[name] >= self.rules.suspect_seconds, "it had its time"
        largest = max(size for at, size in self.sizes if self.now - at < 60.0)
        allowed = max(1, int(self.rules.silence.share * largest + 1e-9))
        assert sum(self.now - at < 60.0 for at in self.silenced) <= allowed

    def pause(self, seconds: int) -> None:
        self.mesh.clock.advance(seconds)
        self.mesh.registry.expire()
        self.heard = dict.fromkeys(self.heard, self.now)

    def restart(self, seconds: int) -> None:
        world = self.mesh.world
        self.mesh = self.mesh.restart(after=float(seconds))
        assert self.mesh.world.workloads == world.workloads
        assert self.mesh.world.registries.get("embedded") == world.registries.get("embedded") or not world.workloads
        self.handles.clear()
        self.heard = dict.fromkeys(self.heard, self.now)


@settings(max_examples=100, deadline=None)
@example(MOST_AGENTS, [("pass", 60), ("restart", 1), ("pass", 60)], 0.15)
@example(MOST_AGENTS, [("lose all", 0), ("pass", 10), ("pause", 30), ("pass", 60)], 0.5)
@given(st.sampled_from([1, 8, MOST_AGENTS]), st.lists(acts, max_size=20), st.sampled_from([0.0, 0.15, 0.5]))
def test_silence_never_takes_more_than_its_share_and_what_is_told_holds_at_once(
    first: int, story: list[tuple[str, int]], share: float
) -> None:
    book = Book(EmbeddedRules(silence=SilenceRule(share), lease_seconds=3.0, suspect_seconds=10.0))
    for number in range(first):
        book.register(number)
    for act, value in story:
        book.play(act, value)

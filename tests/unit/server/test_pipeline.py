"""The one owner of state: what it waits for, what it offers, what a crash costs."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from pilothouse.aio.clock import ManualClock
from pilothouse.aio.tasks import Tasks
from pilothouse.kit.origin import FileOrigin
from pilothouse.kit.problem import Problem
from pilothouse.kit.source_codes import FILE_EMPTY
from pilothouse.model.node import decode_node
from pilothouse.model.proxy import Proxy
from pilothouse.model.world import ConfigDelta, World
from pilothouse.server.counters import Counters
from pilothouse.server.pipeline import Pipeline, Variant
from pilothouse.server.settings import Debounce
from pilothouse.xds.resource import CLUSTER, Snapshot

from .support import AT_ONCE, FakeCompiler, FakeMesh, services, until


@dataclass(eq=False)
class FakeStream:
    """A subscriber that notes its offers."""

    proxy: Proxy
    variant: Variant = "delta"
    offers: list[Snapshot] = field(default_factory=list)

    def offer(self, snapshot: Snapshot, since: float) -> None:
        self.offers.append(snapshot)

    @property
    def clusters(self) -> list[str]:
        return [resource.name for resource in self.offers[-1].resources(CLUSTER)] if self.offers else []


def a_stream(name: str = "reviews-v1", variant: Variant = "delta") -> FakeStream:
    return FakeStream(decode_node(f"sidecar~127.0.0.9~{name}.default~mesh", {}), variant)


@dataclass
class Running:
    compiler: FakeCompiler
    pipeline: Pipeline[FakeMesh]


@asynccontextmanager
async def a_pipeline(*required: str, debounce: Debounce = AT_ONCE) -> AsyncIterator[Running]:
    compiler = FakeCompiler()
    pipeline: Pipeline[FakeMesh] = Pipeline(compiler, ManualClock(), Counters(), world=World(), required=required)
    async with Tasks() as tasks:
        tasks.start("pipeline", pipeline.run(debounce))
        yield Running(compiler, pipeline)


async def test_nothing_is_offered_before_every_required_source_was_read() -> None:
    async with a_pipeline("files", "embedded") as running:
        pipeline, stream = running.pipeline, a_stream()
        pipeline.join(stream)
        pipeline.submit(services("a"))
        pipeline.source_read("files")
        await until(lambda: pipeline.waits_for == ("embedded",))
        assert not pipeline.ready
        assert stream.offers == []
        pipeline.source_read("embedded")
        await until(lambda: stream.clusters == ["a"])
        assert pipeline.ready


async def test_what_was_submitted_before_a_source_was_read_is_in_the_first_offer() -> None:
    async with a_pipeline("embedded") as running:
        stream = a_stream()
        running.pipeline.join(stream)
        running.pipeline.submit(services("a", "b"))
        running.pipeline.source_read("embedded")
        await until(lambda: bool(stream.offers))
        assert [sorted(r.name for r in offer.resources(CLUSTER)) for offer in stream.offers] == [["a", "b"]]


async def test_a_stream_that_joins_later_is_offered_the_newest_at_once() -> None:
    async with a_pipeline() as running:
        running.pipeline.submit(services("a"))
        await until(lambda: running.pipeline.ready)
        stream = a_stream()
        running.pipeline.join(stream)
        assert stream.clusters == ["a"]


async def test_a_delta_that_says_nothing_new_resolves_nothing() -> None:
    async with a_pipeline() as running:
        running.pipeline.submit(services("a"))
        await until(lambda: running.pipeline.ready)
        running.pipeline.submit(services("a"))
        running.pipeline.submit(services("a", "b"))
        await until(lambda: running.pipeline.mesh is not None and len(running.pipeline.mesh.layer) == 2)
        assert running.compiler.resolved == 2


async def test_a_burst_is_resolved_once() -> None:
    async with a_pipeline(debounce=Debounce(quiet=0.1, at_most=1.0)) as running:
        stream = a_stream()
        running.pipeline.join(stream)
        for count in range(20):
            running.pipeline.submit(services(*(f"s{n:02}" for n in range(count + 1))))
        await until(lambda: len(stream.clusters) == 20)
        assert running.compiler.resolved == 1
        assert len(stream.offers) == 1


async def test_a_crash_while_resolving_keeps_the_last_good_and_is_a_problem_until_it_works_again() -> None:
    async with a_pipeline() as running:
        pipeline, stream = running.pipeline, a_stream()
        pipeline.submit(services("a"))
        pipeline.join(stream)
        await until(lambda: stream.clusters == ["a"])
        running.compiler.fail_resolve = True
        pipeline.submit(services("a", "b"))
        await until(lambda: bool(pipeline.problems))
        (problem,) = pipeline.problems
        assert problem.code.code == "internal-error"
        assert "resolve has a bug" in problem.message
        late = a_stream("late")
        pipeline.join(late)
        assert late.clusters == ["a"]
        running.compiler.fail_resolve = False
        pipeline.submit(services("a", "b", "c"))
        await until(lambda: stream.clusters == ["a", "b", "c"])
        assert pipeline.problems == ()


async def test_a_crash_while_compiling_for_one_proxy_costs_that_proxy_only() -> None:
    async with a_pipeline() as running:
        pipeline, good, bad = running.pipeline, a_stream("good"), a_stream("bad")
        running.compiler.fail_for = "bad"
        pipeline.join(bad)
        pipeline.join(good)
        pipeline.submit(services("a"))
        await until(lambda: good.clusters == ["a"])
        assert bad.offers == []
        assert "bad.default" in pipeline.problems[0].message
        pipeline.leave(bad)
        assert pipeline.problems == ()


async def test_streams_of_the_older_variant_get_their_own_shape() -> None:
    async with a_pipeline() as running:
        old, new = a_stream("old", "sotw"), a_stream("new")
        running.pipeline.join(old)
        running.pipeline.join(new)
        running.pipeline.submit(services("a"))
        await until(lambda: bool(old.offers and new.offers))
        assert (old.offers[0].version, new.offers[0].version) == ("sotw", "")


async def test_a_stream_that_left_is_offered_nothing() -> None:
    async with a_pipeline() as running:
        stream, other = a_stream("gone"), a_stream("other")
        running.pipeline.join(stream)
        running.pipeline.join(other)
        running.pipeline.leave(stream)
        running.pipeline.submit(services("a"))
        await until(lambda: other.clusters == ["a"])
        assert stream.offers == []


async def test_many_proxies_leave_the_loop_responsive_and_are_all_offered() -> None:
    async with a_pipeline() as running:
        streams = [a_stream(f"p{n}") for n in range(180)]
        for stream in streams:
            running.pipeline.join(stream)
        running.pipeline.submit(services("a"))
        await until(lambda: streams[0].clusters == ["a"])
        await asyncio.sleep(0)
        await until(lambda: all(stream.clusters == ["a"] for stream in streams))
        assert len({id(stream.offers[0]) for stream in streams}) == 1, "one snapshot object is shared"


async def test_problems_of_sources_resolving_and_registries_are_one_list_without_repetition() -> None:
    async with a_pipeline() as running:
        found = Problem(FILE_EMPTY, "", "the file is empty", FileOrigin("a.yaml"))
        running.pipeline.advisers = (lambda: (found,),)
        running.pipeline.submit(ConfigDelta("files", (), (found,)))
        await until(lambda: running.pipeline.ready)
        assert running.pipeline.problems == (found,)

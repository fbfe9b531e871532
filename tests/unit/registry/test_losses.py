"""What each way of losing an agent costs: told, lost, paused, restarted. With a clock that is moved by hand."""

import msgspec

from pilothouse.model.proxy import Workload
from pilothouse.model.registration import Health, Refused
from pilothouse.model.service import ServiceDelta
from pilothouse.model.world import WorkloadDelta
from pilothouse.registry.admission import Admission, parse_networks
from pilothouse.registry.embedded import EmbeddedRules
from pilothouse.registry.leases import Registration
from pilothouse.registry.silence import SilenceRule

from .support import Harness, a_port, a_workload, known

RULES = EmbeddedRules(lease_seconds=3.0, suspect_seconds=30.0)


def many(count: int) -> list[Workload]:
    return [a_workload(f"reviews-{n:03}", f"10.0.{n // 250}.{n % 250 + 1}") for n in range(count)]


def test_a_broken_stream_makes_a_suspect_that_keeps_its_traffic_for_the_set_time() -> None:
    mesh = Harness(RULES)
    registration = mesh.join()
    mesh.take_emitted()
    mesh.registry.lost(registration)
    (suspect,) = mesh.registry.suspects
    assert (suspect.since, suspect.reason) == (mesh.clock.now, "the stream of its agent broke")
    mesh.pass_time(29.75)
    assert mesh.take_emitted() == [], "a suspicion alone changes nothing for proxies"
    mesh.pass_time(0.25)
    assert mesh.service() is None


def test_silence_makes_a_suspect_after_the_lease_and_ends_as_slowly() -> None:
    mesh = Harness(RULES)
    first, _ = mesh.join(), mesh.join(a_workload("reviews-v2", "127.0.0.12"))
    mesh.pass_time(2.75, first)
    assert mesh.suspects() == []
    mesh.pass_time(0.25, first)
    assert mesh.suspects() == ["reviews-v2"]
    assert mesh.registry.suspects[0].reason == "its agent is silent"
    mesh.pass_time(29.75, first)
    assert mesh.serving() == ["reviews-v1", "reviews-v2"]
    mesh.pass_time(0.25, first)
    assert mesh.serving() == ["reviews-v1"]
    assert set(mesh.world.workloads) == {"reviews-v1"}


def test_a_silent_agent_that_speaks_again_is_trusted_at_once() -> None:
    mesh = Harness(RULES)
    registration = mesh.join()
    mesh.take_emitted()
    mesh.pass_time(20.0)
    assert mesh.suspects() == ["reviews-v1"]
    assert mesh.registry.renew(registration)
    assert mesh.suspects() == []
    mesh.pass_time(29.0)
    assert mesh.take_emitted() == []


def test_a_stream_that_breaks_after_silence_gains_no_time_by_it() -> None:
    mesh = Harness(RULES)
    registration = mesh.join()
    mesh.pass_time(23.0)
    mesh.registry.lost(registration)
    assert mesh.registry.suspects[0].reason == "the stream of its agent broke"
    mesh.pass_time(10.0)
    assert mesh.service() is None


def test_an_app_that_fails_or_a_workload_that_deregisters_is_out_at_once_however_many_are_suspect() -> None:
    mesh = Harness(RULES)
    joined = [mesh.join(workload) for workload in many(20)]
    for registration in joined[2:]:
        mesh.registry.lost(registration)
    mesh.registry.health(joined[0], Health(healthy=False))
    mesh.registry.deregister(joined[1])
    assert len(mesh.serving()) == 18
    assert "reviews-000" not in mesh.serving()


def test_when_many_are_lost_only_a_share_leaves_per_minute_and_that_is_told() -> None:
    mesh = Harness(RULES)
    joined = [mesh.join(workload) for workload in many(100)]
    for registration in joined[:40]:
        mesh.registry.lost(registration)
    alive = joined[40:]
    mesh.pass_time(30.0, *alive)
    assert len(mesh.serving()) == 85
    (problem,) = mesh.registry.problems
    assert problem.code.code == "silence-held"
    assert "25 suspect endpoints stay: at most 15 %" in problem.message
    assert all(suspect.held for suspect in mesh.registry.suspects)
    mesh.pass_time(59.0, *alive)
    assert len(mesh.serving()) == 85
    mesh.pass_time(1.5, *alive)
    assert len(mesh.serving()) == 73, "15 % of the 85 that there were"
    mesh.pass_time(125.0, *alive)
    assert set(mesh.serving()) == {registration.workload_id for registration in alive}
    assert mesh.registry.problems == ()


def test_a_service_of_few_loses_one_a_minute_and_in_the_end_all() -> None:
    mesh = Harness(RULES)
    for registration in [mesh.join(workload) for workload in many(3)]:
        mesh.registry.lost(registration)
    seen = []
    for _ in range(4):
        mesh.pass_time(30.5)
        seen.append(len(mesh.serving()))
        mesh.pass_time(30.0)
    assert seen == [2, 1, 0, 0]


def test_the_rule_counts_for_each_service_and_a_workload_needs_room_in_all_of_its_own() -> None:
    mesh = Harness(RULES)
    both = a_workload("both-v1", "127.0.0.11", a_port("reviews"), a_port("ratings", 9081))
    one, other = a_workload("ratings-v1", "127.0.0.12", a_port("ratings", 9081)), a_workload("details-v1", "127.0.0.13")
    joined = [mesh.join(w) for w in (one, both, other)]
    for registration in joined[:2]:
        mesh.registry.lost(registration)
        mesh.pass_time(1.0, joined[2])
    mesh.pass_time(35.0, joined[2])
    assert mesh.serving("ratings") == ["both-v1"]
    assert mesh.serving("reviews") == ["both-v1", "details-v1"]


def test_suspects_that_got_no_traffic_leave_without_taking_the_place_of_others() -> None:
    mesh = Harness(RULES)
    joined = [mesh.join(workload, ready=number > 4) for number, workload in enumerate(many(10))]
    for registration in joined[:6]:
        mesh.registry.lost(registration)
    mesh.pass_time(30.0, *joined[6:])
    assert set(mesh.world.workloads) == {r.workload_id for r in joined[6:]}


def test_the_limit_is_a_setting() -> None:
    mesh = Harness(EmbeddedRules(silence=SilenceRule(share=1.0), suspect_seconds=1.0))
    for registration in [mesh.join(workload) for workload in many(20)]:
        mesh.registry.lost(registration)
    mesh.pass_time(1.25)
    assert mesh.service() is None


def test_a_process_that_stood_still_begins_all_clocks_anew() -> None:
    mesh = Harness(RULES)
    heard, lost = mesh.join(), mesh.join(a_workload("reviews-v2", "127.0.0.12"))
    mesh.pass_time(1.0, heard)
    mesh.registry.lost(lost)
    mesh.pass_time(29.0, heard)
    mesh.clock.advance(3600)
    mesh.registry.expire()
    assert mesh.suspects() == ["reviews-v2"], "what waits unread makes nobody suspect"
    mesh.pass_time(2.75)
    assert mesh.suspects() == ["reviews-v2"]
    mesh.pass_time(27.0, heard)
    assert mesh.serving() == ["reviews-v1", "reviews-v2"]
    mesh.pass_time(0.5, heard)
    assert mesh.serving() == ["reviews-v1"]


def test_streams_that_broke_during_the_pause_have_all_their_time_after_it() -> None:
    mesh = Harness(RULES)
    registration = mesh.join()
    mesh.clock.advance(600)
    mesh.registry.lost(registration)
    mesh.registry.expire()
    mesh.pass_time(29.75)
    assert mesh.serving() == ["reviews-v1"]


def test_a_clock_that_is_set_changes_nothing() -> None:
    mesh = Harness(RULES)
    registration = mesh.join()
    mesh.registry.lost(mesh.join(a_workload("reviews-v2", "127.0.0.12")))
    mesh.take_emitted()
    mesh.clock.wall = lambda: -1e9  # type: ignore[method-assign]  # the calendar of a machine whose battery is empty
    mesh.pass_time(20.0, registration)
    assert mesh.take_emitted() == []
    assert mesh.suspects() == ["reviews-v2"]


def test_a_restart_serves_what_was_known_at_once_and_doubts_it() -> None:
    mesh = Harness(RULES)
    mesh.join()
    mesh.join(a_workload("reviews-v2", "127.0.0.12"), ready=False)
    after = mesh.restart(after=0.5)
    assert after.world == mesh.world, "proxies learn nothing new from a restart"
    services, workloads = sum(isinstance(d, ServiceDelta) for d in after.emitted), len(after.emitted)
    assert (services, workloads) == (1, 2), "in one delta of each kind"
    assert after.suspects() == ["reviews-v1", "reviews-v2"]
    assert "has not returned since the control plane started" in after.registry.suspects[0].reason
    after.take_emitted()
    back = after.join()
    assert after.suspects() == ["reviews-v2"]
    assert after.take_emitted() == []
    after.pass_time(30.0, back)
    assert set(after.world.workloads) == {"reviews-v1"}


def test_an_agent_that_returns_with_other_news_is_believed() -> None:
    mesh = Harness(RULES)
    mesh.join()
    after = mesh.restart()
    after.join(ready=False)
    assert after.serving() == []


def test_restarts_do_not_add_up_to_more_than_the_rule_allows() -> None:
    mesh = Harness(RULES, known(*many(100)))
    mesh.pass_time(30.0)
    assert len(mesh.serving()) == 85
    again = mesh.restart(after=1.0)
    again.pass_time(59.0)
    assert len(again.serving()) == 85
    again.pass_time(1.5)
    assert len(again.serving()) == 73


def test_what_may_not_be_registered_any_more_is_not_taken_back() -> None:
    rules = EmbeddedRules(admission=Admission(networks=parse_networks(("10.0.0.0/8",))))
    twice = a_workload("reviews-v9", "10.0.0.1")
    mesh = Harness(rules, known(a_workload(), a_workload("reviews-v2", "10.0.0.1"), twice))
    assert mesh.serving() == ["reviews-v2"]


def test_a_successor_takes_the_place_of_a_suspect_at_once_and_the_old_handle_ends() -> None:
    mesh = Harness(RULES)
    hung = mesh.join(pid=41)
    refused = mesh.offer(pid=42)
    assert isinstance(refused, Refused)
    assert "pid 41" in refused.reason
    mesh.pass_time(3.0)
    mesh.take_emitted()
    assert isinstance(mesh.offer(pid=42), Registration)
    assert mesh.take_emitted() == []
    assert not mesh.registry.renew(hung), "the hung agent learns it when it wakes up"
    again = mesh.offer(pid=41)
    assert isinstance(again, Refused)
    assert "pid 42" in again.reason


def test_another_workload_on_the_address_of_a_suspect_replaces_it() -> None:
    mesh = Harness(RULES, known(a_workload("reviews-v1")))
    mesh.join(a_workload("reviews-v2"))
    assert mesh.serving() == ["reviews-v2"]
    assert mesh.suspects() == []


def test_a_thousand_agents_that_return_in_a_second_change_nothing() -> None:
    workloads = many(1000)
    mesh = Harness(RULES, known(*workloads))
    assert len(mesh.emitted) == 2
    mesh.take_emitted()
    generation = mesh.registry.generation
    joined = []
    for number, workload in enumerate(workloads):
        joined.append(mesh.join(workload, pid=number))
        if number % 250 == 249:
            mesh.pass_time(0.25, *joined)
    assert mesh.registry.settled
    assert (mesh.take_emitted(), mesh.suspects(), mesh.registry.generation) == ([], [], generation)
    assert len(mesh.serving()) == 1000


def test_a_thousand_agents_that_nobody_knew_are_told_in_few_deltas() -> None:
    mesh = Harness(RULES)
    for number, workload in enumerate(many(1000)):
        mesh.join(workload, pid=number)
        if number % 250 == 249:
            mesh.pass_time(0.25)
    assert len(mesh.serving()) == 1000
    assert len(mesh.world.workloads) == 1000
    assert len(mesh.emitted) <= 2 * 4 * 21, "a few for each look at the registry, not one for each agent"
    sizes = [len(members) for d in mesh.emitted if isinstance(d, ServiceDelta) for _, members in d.endpoints]
    assert sizes == sorted(sizes), "no load assignment ever shrinks"


def test_a_crowd_that_arrives_does_not_delay_who_leaves() -> None:
    mesh = Harness(RULES)
    joined = [mesh.join(workload) for workload in many(100)]
    mesh.registry.health(joined[0], Health(healthy=False))
    assert len(mesh.serving()) == 99
    late = mesh.join(a_workload("late-v1", "127.0.0.99"))
    mesh.registry.deregister(joined[1])
    assert len(mesh.serving()) == 99
    mesh.registry.deregister(late)
    assert len(mesh.serving()) == 98


def test_a_changed_label_is_one_change_of_that_workload() -> None:
    mesh = Harness(RULES, known(a_workload(), a_workload("reviews-v2", "127.0.0.12")))
    mesh.take_emitted()
    mesh.join(msgspec.structs.replace(a_workload(), labels=(("version", "v7"),)))
    workloads, services = mesh.take_emitted()
    assert isinstance(workloads, WorkloadDelta)
    assert [w.id for w in workloads.upserts] == ["reviews-v1"]
    assert isinstance(services, ServiceDelta)
    assert services.services == ()

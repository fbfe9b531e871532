"""Leases, health, conflicts, and the wait after a start; with a clock that is moved by hand."""

from pilothouse.model.proxy import Workload
from pilothouse.model.registration import Health, Refused, Register
from pilothouse.model.service import Protocol, ServiceDelta
from pilothouse.model.world import WorkloadDelta
from pilothouse.registry.embedded import EmbeddedRules
from pilothouse.registry.leases import Registration

from .support import Harness, a_port, a_workload, key_of, known


def test_a_ready_workload_is_a_service_an_endpoint_and_a_workload() -> None:
    mesh = Harness()
    mesh.join()
    assert mesh.serving() == ["reviews-v1"]
    stored = mesh.world.workloads["reviews-v1"]
    assert [port.host for port in stored.ports] == ["reviews.service.mesh"]


def test_a_workload_that_is_not_ready_has_a_proxy_but_no_traffic() -> None:
    mesh = Harness()
    mesh.join(ready=False)
    assert "reviews-v1" in mesh.world.workloads
    assert mesh.service() is not None
    assert mesh.endpoints() == ()


def test_health_moves_a_workload_in_and_out_and_its_service_stays() -> None:
    mesh = Harness()
    registration = mesh.join(ready=False)
    assert mesh.registry.health(registration, Health(healthy=True))
    assert mesh.serving() == ["reviews-v1"]
    assert mesh.registry.health(registration, Health(healthy=False, reason="503"))
    assert mesh.serving() == []
    assert mesh.service() is not None


def test_a_change_of_health_emits_endpoints_of_that_service_and_nothing_else() -> None:
    mesh = Harness()
    registration = mesh.join()
    mesh.join(a_workload("ratings-v1", "127.0.0.12", a_port("ratings")))
    mesh.take_emitted()
    mesh.registry.health(registration, Health(healthy=False))
    (delta,) = mesh.take_emitted()
    assert delta == ServiceDelta("embedded", endpoints=((key_of("reviews"), ()),))


def test_what_is_already_known_is_not_emitted_again() -> None:
    mesh = Harness()
    registration = mesh.join()
    mesh.take_emitted()
    mesh.registry.health(registration, Health(healthy=True))
    mesh.registry.renew(registration)
    mesh.registry.expire()
    again = mesh.join()
    assert mesh.take_emitted() == []
    assert again.serial > registration.serial


def test_an_agent_that_comes_back_within_the_lease_changes_nothing() -> None:
    mesh = Harness()
    mesh.registry.lost(mesh.join())
    mesh.take_emitted()
    again = mesh.join(pid=2)
    mesh.pass_time(10, again)
    assert mesh.take_emitted() == []


def test_the_last_workload_takes_its_service_with_it_at_once_when_it_deregisters() -> None:
    mesh = Harness()
    first, second = mesh.join(), mesh.join(a_workload("reviews-v2", "127.0.0.12"))
    mesh.registry.deregister(first)
    assert mesh.serving() == ["reviews-v2"]
    mesh.take_emitted()
    mesh.registry.deregister(second)
    assert mesh.take_emitted() == [
        ServiceDelta("embedded", removed=(key_of("reviews"),)),
        WorkloadDelta(removed=("reviews-v2",)),
    ]


def test_handles_of_the_past_change_nothing() -> None:
    mesh = Harness()
    old = mesh.join()
    mesh.registry.lost(old)
    mesh.join(pid=2)
    mesh.take_emitted()
    assert not mesh.registry.renew(old)
    assert not mesh.registry.health(old, Health(healthy=False))
    mesh.registry.deregister(old)
    mesh.registry.lost(old)
    assert mesh.take_emitted() == []
    assert isinstance(mesh.offer(pid=3), Refused), "the living stream was not marked as lost by the old handle"


def test_an_expired_registration_must_be_made_again() -> None:
    mesh = Harness(EmbeddedRules(lease_seconds=1.0, suspect_seconds=5.0))
    registration = mesh.join()
    mesh.pass_time(6.5)
    assert not mesh.registry.renew(registration)
    mesh.join()
    assert mesh.serving() == ["reviews-v1"]


def test_a_second_living_agent_with_the_same_id_is_refused_by_the_pid_of_the_first() -> None:
    mesh = Harness()
    mesh.join(pid=41)
    refusal = mesh.offer(a_workload(address="127.0.0.99"), pid=42)
    assert isinstance(refusal, Refused)
    assert "pid 41" in refusal.reason
    assert not refusal.final, "the first may be about to end"
    assert [e.address for e in mesh.endpoints() or ()] == ["127.0.0.11"]


def test_the_newer_agent_takes_over_once_the_older_stream_is_gone() -> None:
    mesh = Harness()
    old = mesh.join(pid=41)
    mesh.registry.lost(old)
    mesh.join(a_workload(address="127.0.0.99"), pid=42)
    assert [e.address for e in mesh.endpoints() or ()] == ["127.0.0.99"]


def test_the_same_agent_may_replace_its_own_stream_before_the_break_is_noticed() -> None:
    mesh = Harness()
    mesh.join(pid=41)
    assert isinstance(mesh.offer(pid=41), Registration)


def test_two_workloads_cannot_have_one_address_and_port() -> None:
    mesh = Harness()
    first = mesh.join(a_workload("reviews-v1"), pid=41)
    refusal = mesh.offer(a_workload("reviews-v2"), pid=42)
    assert isinstance(refusal, Refused)
    assert "127.0.0.11" in refusal.reason
    mesh.registry.lost(first)
    mesh.join(a_workload("reviews-v2"), pid=42)
    assert mesh.serving() == ["reviews-v2"]
    assert set(mesh.world.workloads) == {"reviews-v2"}


def test_a_workload_that_registers_other_ports_leaves_the_services_it_served() -> None:
    mesh = Harness()
    mesh.registry.lost(mesh.join())
    mesh.join(a_workload("reviews-v1", "127.0.0.11", a_port("ratings")))
    assert mesh.service("reviews") is None
    assert mesh.serving("ratings") == ["reviews-v1"]


def test_the_oldest_registration_keeps_its_say_over_a_reconnect() -> None:
    mesh = Harness()
    first = mesh.join()
    grpc = a_workload("reviews-v2", "127.0.0.12", a_port(protocol=Protocol.GRPC))
    mesh.join(grpc)
    assert mesh.serving() == ["reviews-v1"]
    assert [p.origin.subject for p in mesh.registry.problems] == ["reviews-v2"]
    mesh.registry.lost(first)
    mesh.join(pid=9)
    assert mesh.serving() == ["reviews-v1"]
    mesh.registry.deregister(mesh.join(pid=9))
    assert mesh.serving() == ["reviews-v2"], "with the oldest gone, the next decides"
    assert mesh.registry.problems == ()


def test_malformed_workloads_are_refused_for_good_and_change_nothing() -> None:
    mesh = Harness()
    refusal = mesh.offer(a_workload(address="nowhere"))
    assert isinstance(refusal, Refused)
    assert refusal.final
    assert mesh.take_emitted() == []


def test_a_gateway_registers_without_a_workload() -> None:
    mesh = Harness()
    registration = mesh.registry.register(Register("router~127.0.0.1~edge.default~mesh", 7))
    assert isinstance(registration, Registration)
    assert mesh.registry.renew(registration)
    assert mesh.registry.health(registration, Health(healthy=True))
    mesh.registry.lost(registration)
    mesh.registry.deregister(registration)
    assert mesh.take_emitted() == []


def test_a_first_start_waits_for_registrations_as_long_as_it_is_told() -> None:
    mesh = Harness(EmbeddedRules(settle_seconds=1.0))
    mesh.join()
    assert not mesh.registry.settled
    mesh.clock.advance(1.0)
    assert mesh.registry.settled
    assert Harness(EmbeddedRules(settle_seconds=0.0)).registry.settled


def test_a_restart_waits_until_all_who_were_registered_are_back() -> None:
    earlier = known(a_workload(), a_workload("reviews-v2", "127.0.0.12"))
    mesh = Harness(EmbeddedRules(settle_seconds=0.0, restart_seconds=2.5), earlier)
    mesh.join()
    assert not mesh.registry.settled
    mesh.join(a_workload("reviews-v2", "127.0.0.12"))
    assert mesh.registry.settled, "the wait ends early"
    mesh.registry.deregister(mesh.join())
    assert mesh.registry.settled, "and never begins again"


def test_a_restart_does_not_wait_for_ever_for_those_who_are_gone() -> None:
    earlier = known(a_workload(), a_workload("gone-v1", "127.0.0.12"))
    mesh = Harness(EmbeddedRules(restart_seconds=2.5), earlier)
    mesh.join()
    mesh.pass_time(2.25)
    assert not mesh.registry.settled
    mesh.pass_time(0.25)
    assert mesh.registry.settled


def test_a_restart_does_not_wait_for_one_whose_address_another_took() -> None:
    mesh = Harness(EmbeddedRules(restart_seconds=2.5), known(a_workload("old-v1")))
    mesh.join(a_workload("new-v1"))
    assert mesh.registry.settled


def test_the_generation_counts_changes_of_what_is_kept_on_disk() -> None:
    mesh = Harness()
    registration = mesh.join()
    generation, state = mesh.registry.generation, mesh.registry.state()
    mesh.registry.renew(registration)
    mesh.registry.lost(registration)
    again = mesh.join()
    assert (mesh.registry.generation, mesh.registry.state()) == (generation, state)
    assert state == known(a_workload())
    mesh.registry.health(again, Health(healthy=False))
    assert mesh.registry.generation > generation
    assert mesh.registry.state() == known(a_workload(), serving=False)
    generation = mesh.registry.generation
    mesh.registry.deregister(again)
    assert mesh.registry.generation > generation


def test_many_replicas_keep_the_order_of_their_addresses() -> None:
    mesh = Harness()
    for number in (3, 1, 2):
        mesh.join(a_workload(f"reviews-v{number}", f"127.0.0.{number}"))
    assert mesh.serving() == ["reviews-v1", "reviews-v2", "reviews-v3"]


def test_locality_weight_and_account_travel_with_the_endpoint() -> None:
    mesh = Harness()
    plain = a_workload()
    mesh.join(
        Workload(plain.id, plain.namespace, plain.address, plain.ports, weight=7, service_account="reviews-account")
    )
    (endpoint,) = mesh.endpoints() or ()
    assert (endpoint.weight, endpoint.service_account) == (7, "reviews-account")

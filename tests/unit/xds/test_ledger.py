from pilothouse.xds.ledger import Ledger
from pilothouse.xds.resource import Resource


def version(number: int, name: str = "a") -> Resource:
    return Resource(name, str(number), b"")


def held(ledger: Ledger) -> dict[str, str]:
    return {name: resource.version for name, resource in ledger.held.items()}


def test_a_refused_batch_restores_what_was_held_before():
    ledger = Ledger()
    ledger.accept(ledger.record("n1", [version(1), version(1, "b")], [], 0))
    ledger.revert(ledger.record("n2", [version(2), version(1, "c")], ["b"], 0))
    assert held(ledger) == {"a": "1", "b": "1"}


def test_late_refusals_of_overtaken_versions_unwind_to_the_last_good_one():
    ledger = Ledger()
    ledger.accept(ledger.record("n1", [version(1)], [], 0))
    second, third = ledger.record("n2", [version(2)], [], 0), ledger.record("n3", [version(3)], [], 0)
    ledger.revert(second)
    assert held(ledger) == {"a": "3"}
    ledger.revert(third)
    assert held(ledger) == {"a": "1"}


def test_an_older_unanswered_batch_is_what_a_refusal_falls_back_to():
    ledger = Ledger()
    ledger.record("n1", [version(1)], [], 0)
    ledger.revert(ledger.record("n2", [version(2)], [], 0))
    assert held(ledger) == {"a": "1"}


def test_names_refused_within_a_batch_keep_their_version_and_the_others_get_in():
    ledger = Ledger()
    ledger.accept(ledger.record("n1", [version(1)], [], 0))
    second = ledger.record("n2", [version(2), version(2, "b")], [], 0)
    third = ledger.record("n3", [version(3)], [], 0)
    ledger.revert_names(second, ["a"])
    assert held(ledger) == {"a": "3", "b": "2"}
    ledger.revert(third)
    assert held(ledger) == {"a": "1", "b": "2"}


def test_a_dropped_name_does_not_come_back_with_a_refusal():
    ledger = Ledger()
    ledger.accept(ledger.record("n1", [version(1), version(1, "b")], [], 0))
    second = ledger.record("n2", [version(2)], ["b"], 0)
    ledger.forget_where(lambda name: True)
    ledger.revert(second)
    assert held(ledger) == {}


def test_acceptance_settles_a_refusal_of_the_same_name():
    ledger = Ledger()
    first = ledger.record("n1", [version(1)], [], 0)
    ledger.revert(first)
    ledger.refuse(first, version(1), "broken")
    assert ledger.refused("a", "1")
    ledger.accept(ledger.record("n2", [version(2)], [], 0))
    assert not ledger.refusals


def test_only_what_has_waited_long_enough_is_overdue_and_no_longer_awaited():
    ledger = Ledger()
    ledger.record("n1", [version(1)], [], 0)
    ledger.record("n2", [version(2)], [], 3)
    assert ledger.mark_overdue(5, 5)
    assert [batch.nonce for batch in ledger.awaited()] == ["n2"]
    assert ledger.oldest_awaited() == 3
    assert not ledger.mark_overdue(5, 5)

"""Which deletions are held, and how a hold ends."""

import pytest

from pilothouse.config.decode import decode_documents
from pilothouse.config.objects import ConfigObject
from pilothouse.sources.hold import Finding, HoldRules, Served, accept, fold_served, problems_of

from .support import a_route

RULES = HoldRules()


def objects(*numbers: int, timeout: str = "1s") -> tuple[ConfigObject, ...]:
    texts = (a_route(f"r-{number:02}", timeout=timeout) for number in numbers)
    return decode_documents("---\n".join(texts), "a.yaml", "default").objects


def numbers_of(some: tuple[ConfigObject, ...]) -> list[int]:
    return sorted(int(o.key.name[2:]) for o in some)


def after(before: Served, *numbers: int, at: float = 0.0, rules: HoldRules = RULES) -> Served:
    return fold_served(before, Finding(objects(*numbers), monotonic=at, wall=at), rules)


@pytest.mark.parametrize(
    ("total", "left", "held"),
    [
        (20, 10, 0),  # half is not more than half
        (20, 9, 11),
        (19, 9, 10),
        (9, 0, 0),  # fewer than ten
        (10, 0, 10),
        (100, 49, 51),
    ],
)
def test_more_than_half_and_at_least_ten_are_held(total: int, left: int, held: int) -> None:
    served = after(Served(objects(*range(total))), *range(left))
    assert len(served.held) == held
    assert len(served.objects) == left + held


def test_a_vanished_folder_is_held_however_small_it_was() -> None:
    served = fold_served(Served(objects(1)), Finding((), vanished=True), RULES)
    assert numbers_of(served.objects) == [1]
    (problem,) = problems_of(served, "/config")
    assert problem.message.startswith("the folder is gone; its 1 of 1 objects are held since 1970-01-01 00:00:00 UTC")


def test_the_problem_names_how_many_of_how_many_since_when_and_the_way_out() -> None:
    served = after(Served(objects(*range(20))), 0, at=90.0)
    (problem,) = problems_of(served, "/config")
    assert "19 of 20 objects are held since 1970-01-01 00:01:30 UTC" in problem.message
    assert served.change in problem.message
    assert "pilothouse accept" in str(problem)
    assert problem.is_error


def test_additions_and_changes_beside_a_held_deletion_go_on_at_once() -> None:
    found = (*objects(0, timeout="9s"), *objects(50))
    served = fold_served(Served(objects(*range(20))), Finding(found), RULES)
    assert served.objects[:2] == found
    assert numbers_of(served.held) == list(range(1, 20))


def test_a_hold_ends_object_by_object_and_never_by_falling_below_a_threshold() -> None:
    held = after(Served(objects(*range(20))), at=5.0)
    most_are_back = after(held, *range(18), at=60.0)
    assert numbers_of(most_are_back.held) == [18, 19]
    assert most_are_back.since == 5.0
    assert after(most_are_back, *range(20)).held == ()


def test_a_deletion_during_a_hold_joins_it_and_has_another_name() -> None:
    held = after(Served(objects(*range(30))), *range(12))
    more = after(held, *range(11))
    assert len(more.held) == 19
    assert more.change not in ("", held.change)


def test_what_is_deleted_in_slices_is_counted_together_and_comes_back() -> None:
    first = after(Served(objects(*range(20))), *range(8, 20), at=0.0)
    assert len(first.objects) == 12
    second = after(first, *range(14, 20), at=4.0)
    assert numbers_of(second.objects) == list(range(20))
    assert numbers_of(second.held) == list(range(14))


def test_deletions_far_apart_are_not_counted_together() -> None:
    first = after(Served(objects(*range(20))), *range(8, 20), at=0.0)
    second = after(first, *range(14, 20), at=11.0)
    assert numbers_of(second.objects) == list(range(14, 20))


def test_accepting_lets_go_and_is_not_counted_against_the_next_deletion() -> None:
    done = accept(after(Served(objects(*range(40))), *range(15)))
    assert numbers_of(done.objects) == list(range(15))
    assert (done.held, done.change) == ((), "")
    assert after(done, *range(8)).held == ()


def test_without_the_rule_nothing_is_held() -> None:
    assert after(Served(objects(*range(20))), rules=HoldRules(enabled=False)) == Served(
        (), left=tuple((0.0, o) for o in objects(*range(20)))
    )


def test_the_name_of_a_change_says_which_objects_and_nothing_else() -> None:
    one, other = after(Served(objects(*range(20))), at=1.0), after(Served(objects(*range(19, -1, -1))), at=2.0)
    assert one.change == other.change
    assert len(one.change) == 16

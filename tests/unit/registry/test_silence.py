"""The rate rule: who may leave by mere silence, as a function of times and counts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilothouse.registry.silence import Candidate, Removal, SilenceRule, allowance, decide, recent

from .support import key_of

RULE = SilenceRule(share=0.15, window=60.0)
REVIEWS, RATINGS = key_of("reviews"), key_of("ratings")


def candidates(count: int, *services: str) -> list[Candidate]:
    keys = frozenset(key_of(name) for name in services or ("reviews",))
    return [Candidate(f"w{number}", keys) for number in range(count)]


@pytest.mark.parametrize(
    ("members", "allowed"), [(1, 1), (2, 1), (6, 1), (13, 1), (14, 2), (20, 3), (100, 15), (1000, 150)]
)
def test_a_share_may_leave_and_always_one(members: int, allowed: int) -> None:
    assert allowance(0.0, members, (), RULE) == allowed


def test_a_share_of_nothing_still_lets_one_go_and_a_share_of_all_lets_all_go() -> None:
    assert allowance(0.0, 50, (), SilenceRule(share=0.0)) == 1
    assert allowance(0.0, 50, (), SilenceRule(share=1.0)) == 50


def test_a_share_that_is_a_whole_number_is_not_lost_to_rounding() -> None:
    assert allowance(0.0, 100, (), SilenceRule(share=0.29)) == 29


def test_what_left_within_the_window_counts_and_what_left_before_does_not() -> None:
    history = (Removal(0.0, 20), Removal(30.0, 19))
    assert allowance(59.9, 18, history, RULE) == 1
    assert allowance(60.0, 18, history, RULE) == 1, "of 19 two may leave, and one did"
    assert allowance(90.0, 18, history, RULE) == 2
    assert recent(90.0, history, RULE) == ()


def test_members_that_join_within_the_window_raise_the_share_only_by_being_there() -> None:
    history = tuple(Removal(0.0, 100 - number) for number in range(15))
    assert allowance(1.0, 85, history, RULE) == 0
    assert allowance(1.0, 100, history, RULE) == 0
    assert allowance(1.0, 200, history, RULE) == 15


def test_the_most_urgent_leave_first_and_the_rest_is_held() -> None:
    verdict = decide(0.0, candidates(20), {REVIEWS: 20}, {}, RULE)
    assert verdict.leaving == ("w0", "w1", "w2")
    assert [removal.members for removal in verdict.histories[REVIEWS]] == [20, 19, 18]
    assert decide(59.0, candidates(17), {REVIEWS: 17}, verdict.histories, RULE).leaving == ()
    assert len(decide(60.0, candidates(17), {REVIEWS: 17}, verdict.histories, RULE).leaving) == 2


def test_one_of_several_services_needs_room_in_each() -> None:
    full = {RATINGS: (Removal(0.0, 3),)}
    asking = [Candidate("both", frozenset({REVIEWS, RATINGS})), Candidate("one", frozenset({REVIEWS}))]
    verdict = decide(1.0, asking, {REVIEWS: 3, RATINGS: 2}, full, RULE)
    assert verdict.leaving == ("one",)
    assert set(verdict.histories) == {REVIEWS}


def test_who_gets_no_traffic_is_held_by_no_rule() -> None:
    silent = [Candidate(f"w{number}", frozenset()) for number in range(9)]
    assert len(decide(0.0, silent, {}, {}, RULE).leaving) == 9


@given(
    share=st.floats(0, 1),
    steps=st.lists(st.tuples(st.floats(0, 40), st.integers(0, 8), st.integers(0, 40)), max_size=30),
    start=st.integers(1, 60),
)
def test_no_window_ever_sees_more_than_the_share_of_its_largest_size(
    share: float, steps: list[tuple[float, int, int]], start: int
) -> None:
    rule, now, members = SilenceRule(share, 60.0), 0.0, start
    histories: dict[object, tuple[Removal, ...]] = {}
    left: list[float] = []
    sizes = [(0.0, members)]
    for pause, joining, asking in steps:
        now, members = now + pause, members + joining
        sizes.append((now, members))
        asked = candidates(min(asking, members))
        verdict = decide(now, asked, {REVIEWS: members}, {REVIEWS: histories.get(REVIEWS, ())}, rule)
        histories |= verdict.histories
        left += [now] * len(verdict.leaving)
        within = [size for at, size in sizes if now - at < 60.0]
        assert sum(now - at < 60.0 for at in left) <= max(1, int(share * max(within) + 1e-9))
        members -= len(verdict.leaving)
        sizes.append((now, members))

"""The breaker against its three states: who is let through, what opens and closes it, and that it says so once."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vtuber_brain.runtime.breaker import Breaker


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def opened(clock) -> Breaker:
    breaker = Breaker(3, 60, clock)
    assert [breaker.failed() for _ in range(3)] == [False, False, True]
    return breaker


def test_it_opens_at_the_last_failure_allowed_and_lets_nobody_through_until_the_rest_is_over(opened, clock):
    assert (opened.state, opened.num_failures) == ("open", 3)
    clock.now_s += 59.9
    assert not opened.admit()
    clock.now_s += 0.2
    assert opened.state == "half_open"
    assert opened.admit()


def test_half_open_one_call_goes_through_until_it_has_ended(opened, clock):
    clock.now_s += 61
    assert [opened.admit() for _ in range(3)] == [True, False, False]


def test_a_trial_that_ends_well_closes_it_and_the_count_begins_anew(opened, clock):
    clock.now_s += 61
    opened.admit()
    assert opened.succeeded()
    assert (opened.state, opened.num_failures) == ("closed", 0)
    assert [opened.failed() for _ in range(3)] == [False, False, True]


def test_a_trial_that_fails_opens_it_for_a_whole_rest_and_that_is_no_news(opened, clock):
    clock.now_s += 61
    opened.admit()
    assert not opened.failed()
    clock.now_s += 59
    assert not opened.admit()
    clock.now_s += 2
    assert opened.admit()


def test_a_trial_that_was_given_up_leaves_the_place_to_the_next(opened, clock):
    clock.now_s += 61
    opened.admit()
    opened.given_up()
    assert opened.admit()


def test_calls_that_began_before_it_opened_and_fail_after_it_are_no_news(opened, clock):
    clock.now_s += 10
    assert not opened.failed()
    clock.now_s += 59
    assert opened.state == "open"


@given(st.lists(st.booleans()), st.integers(1, 5))
def test_it_opens_when_and_only_when_so_many_failed_in_a_row(ends, max_failures):
    breaker, in_a_row = Breaker(max_failures, 60, Clock()), 0
    for ended_well in ends:
        if not breaker.admit():
            assert in_a_row == max_failures
            return
        assert in_a_row < max_failures
        in_a_row = 0 if ended_well else in_a_row + 1
        assert (breaker.succeeded if ended_well else breaker.failed)() == (in_a_row == max_failures)

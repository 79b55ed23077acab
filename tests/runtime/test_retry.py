"""The pauses between attempts: they double, they vary, they end at a ceiling, they never end."""

import itertools
import random
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vtuber_brain.runtime.retry import backoff

seconds = st.floats(0.001, 1000)


@given(first_s=seconds, max_s=seconds, jitter=st.floats(0, 1))
def test_every_pause_lies_within_the_jitter_of_its_doubling_and_under_the_ceiling(first_s, max_s, jitter):
    for n, pause_s in enumerate(itertools.islice(backoff(first_s, max_s, jitter), 100)):
        nominal_s = first_s if n == 0 else min(max_s, first_s * 2.0**n)
        assert min(max_s, nominal_s * (1 - jitter)) * 0.999 <= pause_s <= min(max_s, nominal_s * (1 + jitter)) * 1.001


def test_without_jitter_the_pauses_are_the_powers_of_two():
    assert list(itertools.islice(backoff(0.5, 4, jitter=0), 6)) == [0.5, 1, 2, 4, 4, 4]


def test_two_that_failed_together_do_not_come_back_together():
    random.seed(1)
    first, second = (list(itertools.islice(backoff(1, 60), 5)) for _ in range(2))
    assert all(a != b for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("first_s", [0.5, 60.0, 100.0])
def test_it_never_ends_and_never_passes_the_ceiling(first_s):
    pauses: Iterator[float] = itertools.islice(backoff(first_s, 60), 5000)
    assert max(pauses) <= 60

"""The token bucket allows a burst, then a rate, and never more however long it rested."""

from hypothesis import given
from hypothesis import strategies as st

from vtuber_brain.runtime.rate import Bucket


def test_a_burst_then_the_rate():
    bucket = Bucket(burst=3, per_s=2, now_s=0)
    assert [bucket.take(0) for _ in range(4)] == [True, True, True, False]
    assert [bucket.take(0.5), bucket.take(0.5)] == [True, False]


def test_a_long_rest_refills_no_more_than_the_burst():
    bucket = Bucket(burst=2, per_s=1, now_s=0)
    assert [bucket.take(1000) for _ in range(3)] == [True, True, False]


@given(st.lists(st.floats(0, 10), max_size=200), st.integers(1, 5), st.floats(0.1, 20))
def test_never_more_than_burst_and_rate_allow(pauses_s, burst, per_s):
    bucket, now_s, taken = Bucket(burst, per_s, 0), 0.0, 0
    for pause_s in pauses_s:
        now_s += pause_s
        taken += bucket.take(now_s)
    assert taken <= burst + per_s * now_s + 1e-6

"""Means over streams, their errors and their bounds."""

import math
import random

import pytest

from vtuber_brain.retrain.clustered import Mean, Sum, clustered, difference, student


@pytest.mark.parametrize(
    ("confidence", "degrees", "wanted"),
    [
        (0.95, 1, 6.314),
        (0.95, 11, 1.796),
        (0.975, 11, 2.201),
        (0.95, 30, 1.697),
        (0.99, 5, 3.365),
        (0.95, 10**6, 1.645),
    ],
)
def test_the_quantiles_are_those_of_the_tables(confidence, degrees, wanted):
    assert student(confidence, degrees) == pytest.approx(wanted, abs=5e-4)


def test_the_mean_is_that_of_all_tokens_and_equal_streams_give_the_usual_error():
    sums = [Sum("a", 10.0, 10), Sum("a", 14.0, 10), Sum("b", 40.0, 20), Sum("c", 12.0, 20)]
    found = clustered(sums)
    assert (found.value, found.clusters, found.tokens) == (pytest.approx(76 / 60), 3, 60)
    means = [1.2, 2.0, 0.6]
    mean = sum(means) / 3
    assert found.error == pytest.approx(math.sqrt(sum((m - mean) ** 2 for m in means) / 2 / 3))
    assert found.upper(0.95) == pytest.approx(found.value + 2.920 * found.error, rel=1e-3)
    assert found.perplexity == pytest.approx(math.exp(76 / 60))


def test_replies_of_one_stream_that_hang_together_are_no_more_than_one_observation():
    apart = clustered([Sum(f"{stream} {n}", float(stream), 1) for stream in range(6) for n in range(50)])
    together = clustered([Sum(f"{stream}", float(stream), 1) for stream in range(6) for _ in range(50)])
    assert together.error == pytest.approx(apart.error * math.sqrt(50), rel=0.1)


def test_of_one_stream_nothing_is_sure_and_of_none_there_is_no_mean():
    assert clustered([Sum("a", 3.0, 2), Sum("a", 1.0, 1)]).upper() == math.inf
    assert math.isnan(clustered([]).value)
    assert clustered([]).upper() == math.inf


def test_a_pairs_difference_is_surer_than_either():
    random.seed(3)
    hard = [random.gauss(3, 1) for _ in range(12)]
    theirs = [Sum(f"s{n}", 40 * value, 40) for n, value in enumerate(hard)]
    ours = [Sum(f"s{n}", 40 * (value - 0.05 + random.gauss(0, 0.01)), 40) for n, value in enumerate(hard)]
    found = difference(ours, theirs)
    assert found.value == pytest.approx(-0.05, abs=0.01)
    assert found.error < 0.1 * clustered(ours).error
    assert found.upper() < 0


def test_other_replies_are_no_pair():
    with pytest.raises(AssertionError):
        difference([Sum("a", 1.0, 2)], [Sum("a", 1.0, 3)])


def test_a_bound_holds_as_often_as_it_says():
    random.seed(5)
    held = 0
    for _ in range(2000):
        sums = [Sum(f"s{n}", random.gauss(0, 1) * 10, 10) for n in range(8)]
        held += clustered(sums).upper(0.95) >= 0
    assert held / 2000 == pytest.approx(0.95, abs=0.02)


def test_a_hopeless_likelihood_is_still_a_number():
    assert Mean(1e6, 0.0, 2, 2).perplexity < math.inf

"""Means over tokens that come in clusters, and how sure they are. Pure arithmetic.

What is said in one stream hangs together, so a stream counts as one observation: the mean is that of all tokens, its
standard error is linearised over the clusters (a ratio estimator; Cochran 1977, 6.3), and bounds are Student's with one
degree less than there are clusters. A test that takes every reply for itself passes far too much by chance.
"""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

_STEPS = 300
_TINY = 1e-300


@dataclass(frozen=True, slots=True)
class Sum:
    """What one reply gives to a mean: its cluster, the sum over its tokens, and how many they are.

    `hits` of these tokens were held the likeliest, where that was looked at.
    """

    cluster: str
    total: float
    tokens: int
    hits: int = 0


@dataclass(frozen=True, slots=True)
class Mean:
    """A mean per token. `error` is its standard error, infinite for fewer than two clusters."""

    value: float
    error: float
    clusters: int
    tokens: int

    def upper(self, confidence: float = 0.95) -> float:
        """What the true mean is at most, with this confidence (one-sided); infinite where nothing can be said."""
        if self.clusters < 2:
            return math.inf
        return self.value + student(confidence, self.clusters - 1) * self.error

    @property
    def perplexity(self) -> float:
        """Its exponential, where it is a negative log-likelihood in nats."""
        return math.exp(min(self.value, 700.0))


def clustered(sums: Sequence[Sum]) -> Mean:
    """The mean over all tokens, with its error by cluster. Of nothing it is NaN."""
    totals: dict[str, float] = defaultdict(float)
    counts: dict[str, int] = defaultdict(int)
    for one in sums:
        totals[one.cluster] += one.total
        counts[one.cluster] += one.tokens
    num_tokens, num_clusters = sum(counts.values()), len(counts)
    if not num_tokens:
        return Mean(math.nan, math.inf, 0, 0)
    mean = math.fsum(totals.values()) / num_tokens
    if num_clusters < 2:
        return Mean(mean, math.inf, num_clusters, num_tokens)
    squares = math.fsum((totals[name] - mean * counts[name]) ** 2 for name in totals)
    error = math.sqrt(num_clusters / (num_clusters - 1) * squares) / num_tokens
    return Mean(mean, error, num_clusters, num_tokens)


def difference(ours: Sequence[Sum], theirs: Sequence[Sum]) -> Mean:
    """The mean of `ours` less `theirs`, paired reply by reply: the same replies, in the same order."""
    pairs = list(zip(ours, theirs, strict=True))
    assert all((one.cluster, one.tokens) == (other.cluster, other.tokens) for one, other in pairs), "other replies"
    return clustered([Sum(one.cluster, one.total - other.total, one.tokens) for one, other in pairs])


def student(confidence: float, degrees: int) -> float:
    """The quantile of Student's distribution, for a confidence of 0.5 to 1."""
    low, high = 0.0, 1e7
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if _student_below(middle, degrees) < confidence:
            low = middle
        else:
            high = middle
    return high


def _student_below(value: float, degrees: int) -> float:
    """The probability of at most `value`, which is not negative."""
    return 1 - _incomplete_beta(degrees / 2, 0.5, degrees / (degrees + value * value)) / 2


def _incomplete_beta(a: float, b: float, x: float) -> float:
    """The regularised incomplete beta function by Lentz's continued fraction (Abramowitz and Stegun 26.5.8)."""
    if x <= 0 or x >= 1:
        return min(1.0, max(0.0, x))
    if x > (a + 1) / (a + b + 2):
        return 1 - _incomplete_beta(b, a, 1 - x)
    scale = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)) / a
    above, below = 1.0, 1 / _not_zero(1 - (a + b) * x / (a + 1))
    fraction = below
    for m in range(1, _STEPS):
        for step in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            below = 1 / _not_zero(1 + step * below)
            above = _not_zero(1 + step / above)
            fraction *= below * above
        if abs(below * above - 1) < 1e-14:
            break
    return scale * fraction


def _not_zero(value: float) -> float:
    return value if abs(value) > _TINY else _TINY

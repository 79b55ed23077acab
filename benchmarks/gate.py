"""The gate's rules against each other, simulated: what passes by chance, what harm gets through, what gain is kept.

No model: a candidate's replies are drawn. Each differs from the current one's by the candidate's true effect, by what
its whole stream has in common, and by itself; seeded, a few seconds.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from benchmarks.table import Table
from vtuber_brain.night_sections import GateSettings
from vtuber_brain.retrain.clustered import student

STREAMS, REPLIES = 12, 30
REPLY_SD, STREAM_SHARE = 0.28, 0.033
HARM, NIGHTS = 0.06, 90
NIGHTLY_MEAN, NIGHTLY_SD = -0.005, 0.015
TRIALS, CHAINS = 20_000, 400
CONFIDENCE = GateSettings().confidence

Floats = np.ndarray[tuple[int, ...], np.dtype[np.float64]]


@dataclass(frozen=True, slots=True)
class Seen:
    """What a night sees of each of many candidates: the mean difference, and its error two ways, `[candidates]`."""

    mean: Floats
    error_by_reply: Floats
    error_by_stream: Floats

    @property
    def bound(self) -> Floats:
        """The upper bound on the true difference, as the gate takes it."""
        return self.mean + student(CONFIDENCE, STREAMS - 1) * self.error_by_stream


Rule = Callable[[Seen], "np.ndarray[tuple[int, ...], np.dtype[np.bool_]]"]
RULES: dict[str, Rule] = {
    "test, every reply for itself": lambda seen: (
        seen.mean + student(CONFIDENCE, STREAMS * REPLIES - 1) * seen.error_by_reply < 0
    ),
    "test, by stream": lambda seen: seen.bound < 0,
    "no harm proven, by stream": lambda seen: 2 * seen.mean - seen.bound <= 0,
    "better on average": lambda seen: seen.mean < 0,
    "the gate: better on average, bound at most +0.02": lambda seen: (
        (seen.mean < 0) & (seen.bound <= GateSettings().max_nll_rise)
    ),
}


def see(effects: Floats, rng: np.random.Generator) -> Seen:
    """Draw the replies of candidates whose true effect (nats per token, negative is better) is `effects`."""
    shape = (*effects.shape, STREAMS, REPLIES)
    stream_sd, own_sd = REPLY_SD * STREAM_SHARE**0.5, REPLY_SD * (1 - STREAM_SHARE) ** 0.5
    of_stream = rng.normal(0, stream_sd, shape[:-1])
    # of a stream only the mean and the spread of its replies count: drawn as such, not reply by reply
    means = effects[..., None] + of_stream + rng.normal(0, own_sd / REPLIES**0.5, shape[:-1])
    within = own_sd**2 * rng.chisquare(STREAMS * (REPLIES - 1), effects.shape)
    between = REPLIES * means.var(-1) * STREAMS
    num = STREAMS * REPLIES
    return Seen(
        means.mean(-1),
        np.sqrt((within + between) / (num - 1) / num),
        means.std(-1, ddof=1) / STREAMS**0.5,
    )


def passes(rule: Rule, effect: float, seed: int = 0, trials: int = TRIALS) -> float:
    """The share of candidates of this true effect that a rule lets pass."""
    return float(rule(see(np.full(trials, effect), np.random.default_rng(seed))).mean())


def gain_kept(rule: Rule, seed: int = 0, chains: int = CHAINS) -> float:
    """Of what ninety nights could gain, releasing exactly what is truly better, the share that a rule keeps.

    Every night's candidate is better or worse than the current one by a little; what is released becomes the current.
    """
    rng = np.random.default_rng(seed)
    effects = rng.normal(NIGHTLY_MEAN, NIGHTLY_SD, (chains, NIGHTS))
    released = rule(see(effects, rng))
    return float((effects * released).sum() / effects[effects < 0].sum())


def measure() -> Table:
    """False passes, harm caught and gain kept of each rule."""
    table = Table(
        "Gate",
        f"Simulated: {STREAMS} held-out streams of {REPLIES} replies, a reply's difference scatters by {REPLY_SD} nats "
        f"a token, {STREAM_SHARE:.1%} of that variance common to its stream. Null: no difference. Harm: {HARM} nats "
        f"worse. Margin: exactly {GateSettings().max_nll_rise} worse. Gain: {NIGHTS} nights whose candidates are "
        f"better by {-NIGHTLY_MEAN} on average (sd {NIGHTLY_SD}), against releasing exactly the truly better ones.",
        ["rule", "null passes", "margin passes", "harm caught", "gain kept"],
    )
    for name, rule in RULES.items():
        shares = (
            passes(rule, 0.0),
            passes(rule, GateSettings().max_nll_rise),
            1 - passes(rule, HARM),
            gain_kept(rule),
        )
        table.rows.append([name, *(f"{share:.1%}" for share in shares)])
    return table

"""The simulation behind the gate's rules: who passes by chance, what harm is caught, what many nights keep."""

import numpy as np
import pytest

from benchmarks import gate

BY_REPLY, BY_STREAM, NO_HARM, MEAN, GATE = gate.RULES.values()


def test_a_test_by_reply_passes_too_many_and_one_by_stream_its_nominal_share():
    assert 0.11 <= gate.passes(BY_REPLY, 0.0) <= 0.13
    assert 0.04 <= gate.passes(BY_STREAM, 0.0) <= 0.06


def test_a_candidate_at_the_margin_passes_the_gate_once_in_twenty_at_most():
    assert gate.passes(GATE, gate.GateSettings().max_nll_rise) <= 0.055


def test_a_harm_of_six_hundredths_is_caught_and_even_proven_most_of_the_time():
    assert 1 - gate.passes(GATE, gate.HARM) >= 0.99
    assert 1 - gate.passes(NO_HARM, gate.HARM) >= 0.84


def test_over_ninety_nights_the_gate_keeps_twice_what_a_strict_test_does():
    strict, ours, loose = (gate.gain_kept(rule) for rule in (BY_STREAM, GATE, MEAN))
    assert ours > 1.9 * strict
    assert loose > ours > 0.5


def test_the_errors_are_those_of_replies_drawn_one_by_one():
    rng = np.random.default_rng(1)
    shape = (4000, gate.STREAMS, gate.REPLIES)
    common = rng.normal(0, gate.REPLY_SD * gate.STREAM_SHARE**0.5, shape[:2])[..., None]
    replies = common + rng.normal(0, gate.REPLY_SD * (1 - gate.STREAM_SHARE) ** 0.5, shape)
    flat = replies.reshape(len(replies), -1)
    seen = gate.see(np.zeros(4000), np.random.default_rng(2))
    by_reply = flat.std(1, ddof=1) / flat.shape[1] ** 0.5
    assert seen.error_by_reply.mean() == pytest.approx(by_reply.mean(), rel=0.01)
    by_stream = replies.mean(2).std(1, ddof=1) / gate.STREAMS**0.5
    assert seen.error_by_stream.mean() == pytest.approx(by_stream.mean(), rel=0.03)
    assert seen.mean.std() == pytest.approx(flat.mean(1).std(), rel=0.05)


def test_the_table_is_the_same_every_time():
    assert gate.measure().rows == gate.measure().rows

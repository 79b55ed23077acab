"""The filters do what their names say, and a seed gives the same tokens in any company."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vtuber_brain.engine.sampling import Sampler, choose_all
from vtuber_brain.engine.wire import Sampling

CPU = torch.device("cpu")


def draws(sampling, logits, count=400, prompt=()):
    sampler = Sampler(sampling, prompt, CPU)
    return {sampler.choose(logits) for _ in range(count)}


def test_greedy_takes_the_largest():
    logits = torch.randn(5, 50)
    samplers = [Sampler(Sampling(), [], CPU) for _ in range(5)]
    assert choose_all(logits, samplers) == logits.argmax(-1).tolist()


def test_top_k_keeps_the_k_likeliest():
    logits = torch.linspace(0, 1, 60)
    assert draws(Sampling(temperature=5, top_k=3, seed=1), logits) == {57, 58, 59}


def test_top_p_keeps_the_smallest_nucleus_that_reaches_p():
    logits = torch.tensor([0.5, 0.3, 0.15, 0.05]).log()
    assert draws(Sampling(temperature=1, top_p=0.7, seed=1), logits) == {0, 1}
    assert draws(Sampling(temperature=1, top_p=0.4, seed=1), logits) == {0}


def test_a_nucleus_wider_than_the_guess_is_found_whole():
    logits = torch.zeros(1000)
    kept = Sampler(Sampling(temperature=1, top_p=0.9, seed=1), [], CPU)._candidates(logits)[1]
    assert len(kept) in range(898, 903)


def test_min_p_drops_what_is_unlikely_beside_the_best():
    logits = torch.tensor([0.6, 0.3, 0.1]).log()
    assert draws(Sampling(temperature=1, min_p=0.4, seed=1), logits) == {0, 1}


def test_repetition_penalty_moves_seen_tokens_down_on_both_sides_of_zero():
    sampler = Sampler(Sampling(repetition_penalty=2.0), [0, 1], CPU)
    assert sampler._penalise(torch.tensor([2.0, -2.0, 1.0])).tolist() == [1.0, -4.0, 1.0]
    assert sampler.choose(torch.tensor([1.5, -2.0, 1.0])) == 2


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**63 - 1), company=st.integers(0, 5))
def test_a_seed_gives_the_same_tokens_in_any_company(seed, company):
    logits = torch.randn(12, 100, generator=torch.Generator().manual_seed(0))
    sampling = Sampling(temperature=1.0, top_p=0.95, seed=seed)
    alone = Sampler(sampling, [], CPU)
    expected = [choose_all(row.unsqueeze(0), [alone])[0] for row in logits]
    among = Sampler(sampling, [], CPU)
    others = [Sampler(Sampling(temperature=1.0), [], CPU) for _ in range(company)]
    got = [choose_all(torch.stack([row] * (company + 1)), [among, *others])[0] for row in logits]
    assert got == expected


def test_without_a_seed_two_samplers_differ():
    logits = torch.zeros(10_000)
    first, second = (Sampler(Sampling(temperature=1.0), [], CPU) for _ in range(2))
    assert [first.choose(logits) for _ in range(4)] != [second.choose(logits) for _ in range(4)]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_the_draw_follows_the_probabilities(dtype):
    sampler = Sampler(Sampling(temperature=1.0, seed=3), [], CPU)
    logits = torch.tensor([0.7, 0.2, 0.1]).log().to(dtype).float()
    counts = torch.bincount(torch.tensor([sampler.choose(logits) for _ in range(4000)]), minlength=3) / 4000
    assert torch.allclose(counts, torch.tensor([0.7, 0.2, 0.1]), atol=0.03)

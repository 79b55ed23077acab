"""The filters do what their names say, and a seed gives the same tokens in any company."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vtuber_brain.engine.sampling import ALL, MAX_CANDIDATES, Mode, SamplingTable, _uniform
from vtuber_brain.engine.wire import Sampling

CPU = torch.device("cpu")


def table(samplings, vocabulary, prompts=None):
    rows = SamplingTable(len(samplings), 4096, vocabulary, CPU)
    for row, sampling in enumerate(samplings):
        rows.set(row, sampling, prompts[row] if prompts else ())
    return rows


def choose(rows, samplings, logits, position=0, mode=None, **limits):
    index = torch.arange(len(samplings))
    positions = torch.full_like(index, position)
    return rows.choose(logits, index, positions, mode or Mode.of(samplings), **limits).tolist()


def draws(sampling, logits, count=400, **options):
    """What one row draws for the same logits at many positions."""
    rows = table([sampling], len(logits))
    return [choose(rows, [sampling], logits.unsqueeze(0), position, **options)[0] for position in range(count)]


def test_greedy_takes_the_largest_and_needs_nothing_else():
    logits, samplings = torch.randn(5, 50), [Sampling()] * 5
    assert Mode.of(samplings) == Mode()
    assert choose(table(samplings, 50), samplings, logits) == logits.argmax(-1).tolist()


def test_top_k_keeps_the_k_likeliest():
    assert set(draws(Sampling(temperature=5, top_k=3, seed=1), torch.linspace(0, 1, 60))) == {57, 58, 59}


def test_top_p_keeps_the_smallest_nucleus_that_reaches_p():
    logits = torch.tensor([0.5, 0.3, 0.15, 0.05]).log()
    assert set(draws(Sampling(temperature=1, top_p=0.7, seed=1), logits)) == {0, 1}
    assert set(draws(Sampling(temperature=1, top_p=0.4, seed=1), logits)) == {0}


def test_top_p_counts_what_top_k_left():
    logits = torch.tensor([0.4, 0.3, 0.2, 0.1]).log()
    assert set(draws(Sampling(temperature=1, top_k=2, top_p=0.5, seed=1), logits)) == {0}, "0.4 of 0.7 is enough"


def test_a_nucleus_wider_than_the_guess_is_found_whole_where_the_host_may_look():
    logits = torch.linspace(0, 0.01, 3000)
    sampling = Sampling(temperature=1, top_p=0.9, seed=1)
    assert min(draws(sampling, logits, 3000)) in range(290, 320)
    in_a_graph = draws(sampling, logits, 3000, mode=ALL, max_candidates=MAX_CANDIDATES)
    assert min(in_a_graph) >= 3000 - MAX_CANDIDATES


def test_top_k_beyond_the_guess_is_found_whole():
    logits = torch.linspace(0, 0.01, 3000)
    assert min(draws(Sampling(temperature=1, top_k=1500, seed=1), logits, 3000)) in range(1500, 1520)


def test_min_p_drops_what_is_unlikely_beside_the_best():
    logits = torch.tensor([0.6, 0.3, 0.1]).log()
    assert set(draws(Sampling(temperature=1, min_p=0.4, seed=1), logits)) == {0, 1}
    assert set(draws(Sampling(temperature=1, top_k=3, min_p=0.4, seed=1), logits)) == {0, 1}


def test_repetition_penalty_moves_seen_tokens_down_on_both_sides_of_zero():
    sampling = Sampling(repetition_penalty=2.0)
    rows = table([sampling], 3, [[0, 1]])
    assert choose(rows, [sampling], torch.tensor([[1.5, -2.0, 1.0]]), 1) == [2]
    assert choose(rows, [sampling], torch.tensor([[-1.5, -2.0, -2.5]]), 1) == [2], "which now is seen too"
    assert choose(rows, [sampling], torch.tensor([[-1.0, -3.0, -2.6]]), 2) == [0]


def test_presence_penalty_counts_the_reply_and_not_the_prompt():
    sampling = Sampling(presence_penalty=1.0)
    rows = table([sampling], 3, [[0]])
    logits = torch.tensor([[2.0, 1.5, 0.0]])
    assert [choose(rows, [sampling], logits, position)[0] for position in range(3)] == [0, 1, 0]


def test_a_negative_presence_penalty_draws_her_back_to_what_she_said():
    sampling = Sampling(presence_penalty=-1.0)
    rows = table([sampling], 3, [[2]])
    logits = torch.tensor([[1.0, 1.5, 1.6]])
    assert choose(rows, [sampling], logits) == [2]
    assert choose(rows, [sampling], torch.tensor([[2.0, 1.5, 1.6]]), 1) == [2]


def test_a_banned_token_is_never_chosen():
    logits = torch.tensor([5.0, 1.0, 0.0])
    assert 0 not in draws(Sampling(temperature=1, banned=(0,), seed=1), logits)
    assert set(draws(Sampling(banned=(0, 1)), logits, 3)) == {2}


def test_a_row_given_to_the_next_request_forgets_the_marks_of_the_last():
    first, second = Sampling(banned=(0,)), Sampling(banned=(1,))
    rows = table([first], 3)
    rows.set(0, second, ())
    assert choose(rows, [second], torch.tensor([[3.0, 2.0, 1.0]])) == [0]


SAMPLINGS = st.builds(
    Sampling,
    temperature=st.sampled_from([0.0, 0.7, 1.3]),
    top_k=st.sampled_from([0, 1, 5, 300]),
    top_p=st.sampled_from([0.3, 0.95, 1.0]),
    min_p=st.sampled_from([0.0, 0.05]),
    repetition_penalty=st.sampled_from([1.0, 1.2]),
    presence_penalty=st.sampled_from([0.0, 0.5]),
    seed=st.integers(0, 2**63 - 1),
)


@settings(max_examples=150, deadline=None)
@given(sampling=SAMPLINGS, company=st.lists(SAMPLINGS, max_size=5))
def test_a_row_chooses_the_same_in_any_company_and_in_a_graph(sampling, company):
    logits = torch.randn(8, 600, generator=torch.Generator().manual_seed(0)) * 2
    everybody = [sampling, *company]

    def tokens(samplings, **options):
        rows = table(samplings, 600, [[1, 2, 3]] * len(samplings))
        return [
            choose(rows, samplings, row.repeat(len(samplings), 1), position, **options)[0]
            for position, row in enumerate(logits)
        ]

    alone = tokens([sampling])
    assert tokens(everybody) == alone
    assert tokens(everybody, mode=ALL, max_candidates=MAX_CANDIDATES) == alone


def test_without_a_seed_two_rows_differ():
    logits, samplings = torch.zeros(2, 10_000), [Sampling(temperature=1.0)] * 2
    first, second = choose(table(samplings, 10_000), samplings, logits)
    assert first != second


@pytest.mark.parametrize("sampling", [Sampling(1.0, seed=3), Sampling(1.0, top_k=3, seed=3)])
def test_the_draw_follows_the_probabilities(sampling):
    logits = torch.tensor([0.7, 0.2, 0.1]).log()
    counts = torch.bincount(torch.tensor(draws(sampling, logits, 4000)), minlength=3) / 4000
    assert torch.allclose(counts, torch.tensor([0.7, 0.2, 0.1]), atol=0.03)


def test_the_hash_is_splitmix64():
    """Against the published generator's first numbers for seed 1234567, which it gives at positions 1, 2, ..."""
    published = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431]
    positions = torch.arange(1, 5)
    drawn = _uniform(torch.full_like(positions, 1234567), positions).double()
    assert torch.allclose(drawn, torch.tensor([number / 2**64 for number in published], dtype=torch.double), atol=1e-6)

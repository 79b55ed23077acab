"""Attention over pages, by a kernel's contract on a CPU: what it is given, and that one that errs is not used."""

import pytest
import torch
from structlog.testing import capture_logs
from torch.nn.attention import varlen
from torch.nn.functional import scaled_dot_product_attention

from tests.support.families import save_model
from vtuber_brain.engine.kvcache import PAGE
from vtuber_brain.engine.load import _pages_agree, load_runner
from vtuber_brain.engine.wire import Configure

CAPACITY = 2 * PAGE


@pytest.fixture(scope="module", params=["llama", "mistral"])
def loaded(request, tmp_path_factory):
    """Of a family without and of one with a sliding window."""
    folder = save_model(request.param, tmp_path_factory.mktemp(request.param), max_position_embeddings=CAPACITY)
    return load_runner(Configure(str(folder), dtype="fp32", threads=1, num_slots=3, context=CAPACITY - 100))


@pytest.fixture
def runner(loaded):
    loaded.attention.paged = False
    return loaded


def by_the_book(query, key, value, starts, key_starts, max_q, max_k, *, scale, window_size, enable_gqa, **paged):
    """What torch's documentation says of `varlen_attn`, span by span."""
    seqused_k, block_table, num_splits = paged["seqused_k"], paged["block_table"], paged["num_splits"]
    assert num_splits == 1, "else a reply depends on its company"
    assert key_starts.tolist() == [CAPACITY * n for n in range(len(starts))]
    assert (key_starts.dtype, starts.dtype, block_table.dtype) == (torch.int32,) * 3
    assert (max_k, enable_gqa) == (CAPACITY, True)
    outputs = []
    for n, used in enumerate(seqused_k.tolist()):
        mine = query[starts[n] : starts[n + 1]].transpose(0, 1)
        assert mine.shape[1] <= max_q
        keys, values = (side[block_table[n]].flatten(0, 1)[:used].transpose(0, 1) for side in (key, value))
        at, places = torch.arange(used - mine.shape[1], used).unsqueeze(1), torch.arange(used)
        seen = places <= at
        if window_size[0] >= 0:
            seen &= places >= at - window_size[0]
        out = scaled_dot_product_attention(mine, keys, values, attn_mask=seen, scale=scale, enable_gqa=True)
        outputs.append(out.transpose(0, 1))
    return torch.cat(outputs)


def first_alone(query, key, value, starts, *rest, **options):
    """A kernel that leaves all spans but the first unwritten."""
    out = by_the_book(query, key, value, starts, *rest, **options)
    out[starts[1] :] = 0
    return out


def first_page_alone(query, key, value, starts, *rest, seqused_k, **options):
    """A kernel that looks at no page but a row's first, where a single token asks."""
    used = seqused_k.clamp_max(PAGE) if len(query) == len(seqused_k) else seqused_k
    return by_the_book(query, key, value, starts, *rest, seqused_k=used, **options)


def not_built(*given, **options):
    raise RuntimeError("no kernel for heads of 8\nand a stack")


def test_pages_are_used_where_they_agree_with_rows(runner, monkeypatch):
    monkeypatch.setattr(varlen, "varlen_attn", by_the_book)
    with capture_logs() as logs:
        assert _pages_agree(runner)
    assert logs == []


@pytest.mark.parametrize("kernel", [first_alone, first_page_alone, not_built])
def test_a_kernel_that_errs_for_a_crowd_or_a_long_row_is_not_used_and_the_log_says_why(runner, monkeypatch, kernel):
    monkeypatch.setattr(varlen, "varlen_attn", kernel)
    with capture_logs() as logs:
        assert not _pages_agree(runner)
    (told,) = logs
    assert told["event"] == "pages_not_used"
    assert told["reason"] == "no kernel for heads of 8" if kernel is not_built else "logits off" in told["reason"]

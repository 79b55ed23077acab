"""What is not captured draws alike, and what cannot be runs without. That all say the same stands in test_swaps.py."""

import pytest
import torch
from structlog.testing import capture_logs

from tests.support.families import save_model
from vtuber_brain.engine.core import Core
from vtuber_brain.engine.graphs import DecodeGraphs, capture_steps
from vtuber_brain.engine.load import load_runner
from vtuber_brain.engine.wire import Configure, Delta, Generate, Sampling


@pytest.fixture(scope="module")
def runner(tmp_path_factory):
    folder = save_model("llama", tmp_path_factory.mktemp("llama"))
    return load_runner(Configure(str(folder), dtype="model", threads=1, num_slots=2, context=64))


def eager(run):
    """Stands for a capture on a GPU: the same step, computed anew at each replay."""
    run()
    return run


def test_where_there_are_graphs_a_nucleus_of_thousands_is_cut_alike_in_steps_outside_of_them(tmp_path):
    folder = save_model("llama", tmp_path, vocab_size=4000)
    shape = Configure(str(folder), dtype="model", threads=1, num_slots=2, context=128, prefill_chunk=2)
    runner = load_runner(shape)

    def drawn(*company):
        core = Core(runner, None, shape)
        core._graphs = DecodeGraphs(runner, 2, eager)
        flat = Sampling(temperature=20.0, top_p=0.99, seed=7)
        core.add(Generate("one", token_ids=(5, 6, 7), max_tokens=20, ignore_eos=True, sampling=flat))
        for prompt in company:
            core.add(Generate("other", token_ids=prompt, max_tokens=2))
        got = []
        while core.busy:
            for event in core.step():
                if isinstance(event, Delta) and event.id == "one":
                    got += event.token_ids
        return got

    assert drawn(tuple(range(3, 50))) == drawn()


def failing(cause):
    """A capture whose end says only that it failed, as CUDA's does."""

    def capture(run):
        try:
            run()
            raise cause
        finally:
            raise RuntimeError("the capture was invalidated")

    return capture


def test_a_model_that_cannot_be_captured_is_served_without_and_the_log_says_why(runner):
    with capture_logs() as logs:
        assert capture_steps(runner, 2, failing(RuntimeError("is_nonzero waits for the device\nmore"))) is None
    (told,) = logs
    assert (told["event"], told["reason"]) == ("steps_not_captured", "is_nonzero waits for the device")


def test_a_capture_that_finds_no_memory_is_no_reason_to_go_without(runner):
    with pytest.raises(torch.OutOfMemoryError):
        capture_steps(runner, 2, failing(torch.OutOfMemoryError("tried to allocate 1 GiB")))

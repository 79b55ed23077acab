"""What cannot be captured runs uncaptured. That captured steps say what plain ones say stands in test_swaps.py."""

import pytest
import torch
from structlog.testing import capture_logs

from tests.support.families import save_model
from vtuber_brain.engine.graphs import capture_steps
from vtuber_brain.engine.load import load_runner
from vtuber_brain.engine.wire import Configure


@pytest.fixture(scope="module")
def runner(tmp_path_factory):
    folder = save_model("llama", tmp_path_factory.mktemp("llama"))
    return load_runner(Configure(str(folder), dtype="model", threads=1, num_slots=2, context=64))


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

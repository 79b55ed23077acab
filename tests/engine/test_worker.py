"""What a step that breaks ends: its requests, or the whole process where no later step could work."""

import pytest
import torch

from tests.support.families import save_model
from vtuber_brain.engine.core import Core
from vtuber_brain.engine.load import load_runner
from vtuber_brain.engine.wire import Configure, Failed, Generate
from vtuber_brain.engine.worker import _step


@pytest.fixture
def core(tmp_path):
    folder = save_model("llama", tmp_path)
    shape = Configure(str(folder), dtype="model", threads=1, num_slots=2, context=64)
    core = Core(load_runner(shape), None, shape)
    core.add(Generate("a", token_ids=(5, 6, 7), max_tokens=4))
    return core


def break_with(core, error):
    """The model's forward raises `error`, as a kernel does."""

    def hook(module, inputs):
        raise error

    core.runner.model.register_forward_pre_hook(hook)


def test_whatever_breaks_in_a_step_fails_its_requests_and_the_worker_lives(core):
    break_with(core, RuntimeError("no such kernel"))
    assert _step(core) == [Failed("a", "internal", "RuntimeError: no such kernel")]
    assert not core.busy


def test_memory_that_runs_out_fails_the_requests_and_halves_the_slots(core):
    break_with(core, torch.OutOfMemoryError("tried to allocate 1 GiB"))
    failed, shrunk = _step(core)
    assert (failed.code, shrunk.num_slots) == ("out_of_memory", 1)


def test_a_device_that_is_broken_for_good_ends_the_process(core):
    break_with(core, torch.AcceleratorError("CUDA error: an illegal memory access was encountered"))
    with pytest.raises(torch.AcceleratorError):
        _step(core)

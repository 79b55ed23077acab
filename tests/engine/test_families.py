"""The law of the engine: a request answered in a crowd equals the same request alone, and both equal `generate`."""

import json
import random

import pytest
import torch
from transformers import AutoModelForCausalLM

from tests.support.families import REFUSED, SERVED, VOCABULARY, save_model
from vtuber_brain.engine.load import load_runner
from vtuber_brain.engine.offline import generate
from vtuber_brain.engine.wire import Configure
from vtuber_brain.errors import ModelRefused

NEW_TOKENS = 20


@pytest.fixture(scope="module", params=SERVED)
def served(request, tmp_path_factory):
    """A family, its random model's folder, prompts longer than its window, and what `generate` says to each."""
    folder = save_model(request.param, tmp_path_factory.mktemp(request.param))
    rng = random.Random(request.param)
    prompts = [[rng.randrange(3, VOCABULARY) for _ in range(length)] for length in (1, 2, 5, 9, 17, 18, 33, 40, 41, 60)]
    model = AutoModelForCausalLM.from_pretrained(folder)
    expected = [
        model.generate(torch.tensor([prompt]), max_new_tokens=NEW_TOKENS, do_sample=False, pad_token_id=0)[0]
        for prompt in prompts
    ]
    return folder, prompts, [ids[len(prompt) :].tolist() for ids, prompt in zip(expected, prompts, strict=True)]


def answers(folder, prompts, **shape):
    lines = [json.dumps({"id": n, "token_ids": ids, "max_tokens": NEW_TOKENS}) for n, ids in enumerate(prompts)]
    configure = Configure(model=str(folder), dtype="model", threads=1, **shape)
    return [answer["token_ids"] for answer in generate(lines, configure)]


def test_alone_equals_generate(served):
    folder, prompts, expected = served
    assert [answers(folder, [prompt])[0] for prompt in prompts] == expected


def test_in_a_crowd_equals_generate(served):
    folder, prompts, expected = served
    assert answers(folder, prompts, num_slots=8) == expected


def test_chunked_prompts_between_decode_steps_change_nothing(served):
    folder, prompts, expected = served
    assert answers(folder, prompts, num_slots=3, prefill_chunk=4) == expected


def test_shared_beginnings_reused_and_copied_change_nothing(served):
    folder, prompts, _ = served
    start = prompts[-1][:30]
    alike = [[*start, *prompt[:9]] for prompt in prompts]
    assert answers(folder, alike, num_slots=4, prefill_chunk=7) == [answers(folder, [ids])[0] for ids in alike]


def test_the_random_models_answer_differently_to_different_prompts(served):
    _, _, expected = served
    assert len({tuple(answer) for answer in expected}) > len(expected) // 2


def test_with_longrope_nobodys_positions_depend_on_how_long_another_prompt_is(tmp_path):
    """Beyond its first length such a model turns the positions of a whole step another way: a row never gets there."""
    first = {"original_max_position_embeddings": 64}
    factors = {"short_factor": [1.0] * 4, "long_factor": [1.0, 2.0, 4.0, 8.0], "factor": 2.0}
    rope = {"rope_type": "longrope", "rope_theta": 10000.0, **factors, **first}
    folder = save_model("phi3", tmp_path, rope_parameters=rope, sliding_window=None, **first)
    short, long = [(7 * n) % 90 + 3 for n in range(20)], [(5 * n) % 90 + 3 for n in range(60)]
    alone, *_ = answers(folder, [short], context=128, num_slots=2)
    together, cut = answers(folder, [short, long], context=128, num_slots=2)
    assert together == alone
    assert len(cut) == 64 - len(long)


@pytest.mark.parametrize("family", REFUSED)
def test_a_family_that_cannot_be_served_is_refused_by_name(family, tmp_path):
    folder = save_model(family, tmp_path)
    with pytest.raises(ModelRefused, match=f"family '{family}'"):
        load_runner(Configure(model=str(folder), dtype="model"))


def test_a_model_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ModelRefused, match="could not be loaded"):
        load_runner(Configure(model=str(tmp_path / "nothing-here"), dtype="model"))

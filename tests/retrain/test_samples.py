"""Samples of the tutorial's path: several ways of choosing, the same words for the same seed."""

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.support.families import save_talker
from tests.support.trainer import small_settings
from vtuber_brain.engine.render import Renderer
from vtuber_brain.retrain.conversations import Text
from vtuber_brain.retrain.rows import end_tokens, text_rows
from vtuber_brain.retrain.samples import WAYS, samples
from vtuber_brain.retrain.train import train

PROMPTS = ("Mori keeps", "The lamp")


@pytest.fixture(scope="module")
def talker(tmp_path_factory, bundled_model):
    folder = save_talker(tmp_path_factory.mktemp("talker"), bundled_model)
    return folder, AutoTokenizer.from_pretrained(folder)


def test_every_way_answers_every_prompt_and_a_seed_says_how(talker):
    folder, tokenizer = talker
    model = AutoModelForCausalLM.from_pretrained(folder)
    torch.manual_seed(5)
    first = samples(model, tokenizer, PROMPTS, 1, new_tokens=8)
    torch.manual_seed(6)
    assert samples(model, tokenizer, PROMPTS, 1, new_tokens=8) == first
    assert samples(model, tokenizer, PROMPTS[:1], 1, new_tokens=8) == first[: len(WAYS)]
    other = samples(model, tokenizer, PROMPTS, 2, new_tokens=8)
    changed = {one.way for one, two in zip(first, other, strict=True) if one != two}
    assert changed == WAYS.keys() - {"greedy"}
    assert [(one.prompt, one.way) for one in first] == [(prompt, way) for prompt in PROMPTS for way in WAYS]
    assert model.training is False


def test_a_model_trained_on_plain_text_says_it_again(talker, tmp_path):
    folder, tokenizer = talker
    words = "Mori keeps lost buttons in a tin box."
    rows = text_rows(
        [Text(f"t{n}", "mori_corpus.txt", n, words) for n in range(24)], Renderer(tokenizer), 64, end_tokens(folder)[0]
    )
    settings = small_settings(method="full", learning_rate=0.01, epochs=16, step_rows=1, pack_tokens=64)
    train(folder, rows, rows[:1], settings, tmp_path / "mori_brain_final")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "mori_brain_final")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "mori_brain_final")
    assert {one.text for one in samples(model, tokenizer, ["Mori keeps"], 3)} == {" lost buttons in a tin box."}

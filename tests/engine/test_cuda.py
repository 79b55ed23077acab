"""The same engine on a CUDA device; `make test-gpu` runs these where there is one."""

import json
import random

import pytest
import torch
from transformers import AutoModelForCausalLM

from tests.support.families import VOCABULARY, save_model
from vtuber_brain.engine.load import choose_device, choose_dtype
from vtuber_brain.engine.offline import generate
from vtuber_brain.engine.wire import Configure
from vtuber_brain.errors import ModelRefused

on_gpu = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]


@pytest.mark.parametrize("family", [pytest.param(name, marks=on_gpu) for name in ("llama", "gemma2", "gpt2", "qwen2")])
def test_a_crowd_on_the_gpu_equals_generate_on_the_gpu(family, tmp_path):
    folder = save_model(family, tmp_path)
    rng = random.Random(0)
    prompts = [[rng.randrange(3, VOCABULARY) for _ in range(length)] for length in (1, 5, 17, 33, 40, 41, 60, 61)]
    model = AutoModelForCausalLM.from_pretrained(folder).to("cuda")
    expected = [
        model.generate(torch.tensor([ids], device="cuda"), max_new_tokens=20, do_sample=False, pad_token_id=0)[0]
        for ids in prompts
    ]
    lines = [json.dumps({"id": n, "token_ids": ids, "max_tokens": 20}) for n, ids in enumerate(prompts)]
    answers = generate(lines, Configure(model=str(folder), dtype="model", device="cuda", prefill_chunk=16))
    assert [answer["token_ids"] for answer in answers] == [
        ids[len(prompt) :].tolist() for ids, prompt in zip(expected, prompts, strict=True)
    ]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_a_gpu_asking_for_one_is_refused_with_what_to_do():
    with pytest.raises(ModelRefused, match="set it to auto or cpu"):
        choose_device("cuda")


def test_a_gpu_computes_in_bf16_unless_told_otherwise():
    assert choose_dtype("auto", torch.device("cuda")) is torch.bfloat16
    assert choose_dtype("fp16", torch.device("cuda")) is torch.float16

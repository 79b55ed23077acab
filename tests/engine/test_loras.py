"""Loras mixed in one batch answer as PEFT's own model does; what is only partly understood is refused by name."""

import json

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from tests.support.families import VOCABULARY, save_model
from tests.support.loras import save_lora
from vtuber_brain.engine.attention import lay_out
from vtuber_brain.engine.load import load_runner
from vtuber_brain.engine.loras import CONFIG, WEIGHTS, read_lora
from vtuber_brain.engine.offline import generate
from vtuber_brain.engine.scheduler import Job, Span, Step
from vtuber_brain.engine.wire import Configure
from vtuber_brain.errors import LoraRejected

NEW_TOKENS = 12
PARTS = {
    "llama": ["q_proj", "v_proj"],
    "qwen2": ["k_proj", "up_proj"],
    "gemma2": ["o_proj", "gate_proj", "down_proj"],
    "gpt2": ["c_attn"],
    "phi3": ["qkv_proj", "gate_up_proj"],
    "gpt_neox": ["query_key_value", "dense_4h_to_h"],
    "opt": ["fc1", "v_proj"],
}


@pytest.fixture(scope="module", params=PARTS)
def dressed(request, tmp_path_factory):
    """A base, five loras of it that differ in rank, scaling and reach, and PEFT's greedy answers for each."""
    family, folder = request.param, tmp_path_factory.mktemp(request.param)
    base = save_model(family, folder / "base")
    parts = PARTS[family]
    loras = [
        save_lora(folder / "r4", base, seed=1, rank=4, lora_alpha=8, strength=0.4),
        save_lora(folder / "r8", base, seed=2, rank=8, lora_alpha=8, strength=0.15, target_modules=parts),
        save_lora(folder / "r16", base, seed=3, rank=16, lora_alpha=4, use_rslora=True, strength=0.15),
        save_lora(folder / "first", base, seed=4, rank=2, layers_to_transform=[0], strength=0.5, target_modules=parts),
    ]
    if family == "llama":
        patterns = {"rank_pattern": {"q_proj": 3, r"layers\.1\.mlp\.up_proj": 7}, "alpha_pattern": {"q_proj": 30}}
        loras.append(save_lora(folder / "patterns", base, seed=5, rank=5, strength=0.15, **patterns))
    prompts = [[5 + n, 9, 40 - n, 17, 3 + n] for n in range(8)]
    return base, loras, prompts


def peft_model(base, lora):
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    return (PeftModel.from_pretrained(model, lora) if lora is not None else model).eval()


def peft_answer(base, lora, prompt):
    model = peft_model(base, lora)
    ids = model.generate(
        input_ids=torch.tensor([prompt]), max_new_tokens=NEW_TOKENS, do_sample=False, pad_token_id=0, eos_token_id=None
    )
    return ids[0, len(prompt) :].tolist()


def test_a_mixed_crowd_with_base_rows_between_equals_peft_one_by_one(dressed):
    base, loras, prompts = dressed
    wearing = [loras[n // 2 % len(loras)] if n % 2 == 0 else None for n in range(len(prompts))]
    lines = [
        {"token_ids": prompt, "max_tokens": NEW_TOKENS, "ignore_eos": True, "lora": str(lora) if lora else None}
        for prompt, lora in zip(prompts, wearing, strict=True)
    ]
    configure = Configure(model=str(base), dtype="model", threads=1, num_slots=8)
    answers = [answer["token_ids"] for answer in generate(map(json.dumps, lines), configure)]
    expected = [peft_answer(base, lora, prompt) for prompt, lora in zip(prompts, wearing, strict=True)]
    assert answers == expected
    bare = [peft_answer(base, None, prompt) for prompt in prompts]
    assert sum(one != other for one, other in zip(expected, bare, strict=True)) >= 2, "the loras change too little"


def test_logits_equal_pefts_within_a_ten_thousandth(dressed):
    base, loras, prompts = dressed
    shape = Configure(
        model=str(base), dtype="model", threads=1, num_slots=2, context=32, max_loras=len(loras), max_lora_rank=16
    )
    runner = load_runner(shape)
    for place, lora in enumerate(loras):
        runner.bank.put(place, read_lora(lora, runner.bank.shapes, 16))
    for place, lora in enumerate(loras):
        span = Span(Job("a", prompts[0], 1), 0, 0, prompts[0], wants_token=True)
        with torch.inference_mode():
            batch = lay_out(Step((span,), 0), runner.device)
            runner.bank.let_through(torch.full_like(batch.rows, place), len(loras))
            ours = runner.forward(batch)[0]
            theirs = peft_model(base, lora)(input_ids=torch.tensor([prompts[0]])).logits[0, -1]
        assert (ours - theirs).abs().max() < 1e-4


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return save_model("llama", tmp_path_factory.mktemp("llama"))


@pytest.fixture(scope="module")
def shapes(base):
    configure = Configure(model=str(base), dtype="model", threads=1, num_slots=1, context=32, max_loras=1)
    return load_runner(configure).bank.shapes


@pytest.fixture
def good(base, tmp_path):
    return save_lora(tmp_path / "lora", base)


def test_the_same_weights_have_the_same_hash_and_another_alpha_another(good, shapes):
    first = read_lora(good, shapes, 16).content_hash
    assert read_lora(good, shapes, 16).content_hash == first
    change_config(good, lora_alpha=9)
    assert read_lora(good, shapes, 16).content_hash != first


def change_config(folder, **changes):
    path = folder / CONFIG
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def change_weights(folder, change):
    tensors = load_file(folder / WEIGHTS)
    change(tensors, next(key for key in tensors if "lora_A" in key))
    save_file(tensors, folder / WEIGHTS)


def refusal(folder, shapes, **limits):
    with pytest.raises(LoraRejected) as rejection:
        read_lora(folder, shapes, **{"max_rank": 16, **limits})
    return str(rejection.value)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"use_dora": True}, "use_dora"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
        ({"bias": "all"}, "bias"),
        ({"lora_bias": True}, "lora_bias"),
        ({"trainable_token_indices": [3]}, "trainable_token_indices"),
        ({"init_lora_weights": "pissa_niter_4"}, "pissa"),
        ({"peft_type": "IA3"}, "peft_type"),
        ({"lora_alpha": "loud"}, "lora_alpha"),
        ({"alpha_pattern": {"q_proj(": 3}}, "alpha_pattern"),
    ],
)
def test_what_is_not_a_plain_lora_is_refused_by_the_name_of_its_key(good, shapes, changes, named):
    change_config(good, **changes)
    assert named in refusal(good, shapes)


def test_a_saved_module_in_the_file_is_refused_by_name(good, shapes):
    change_weights(good, lambda tensors, _: tensors.update({"base_model.model.lm_head.weight": torch.zeros(2, 2)}))
    assert "lm_head.weight is no part" in refusal(good, shapes)


def test_wrong_shapes_ranks_types_and_numbers_are_refused_with_the_module(good, shapes):
    name = "self_attn.q_proj"
    assert "down_proj has rank 4; engine.max_lora_rank is 3" in refusal(good, shapes, max_rank=3)
    narrow = {**shapes, f"model.layers.0.{name}": (16, 32)}
    assert f"{name} has shapes [4, 32] and [32, 4], the model needs [r, 16] and [32, r]" in refusal(good, narrow)
    change_weights(good, lambda tensors, key: tensors.update({key: tensors[key].fill_(float("nan"))}))
    assert "NaN" in refusal(good, shapes)
    change_weights(good, lambda tensors, key: tensors.update({key: tensors[key].nan_to_num().to(torch.int32)}))
    assert "not floating point" in refusal(good, shapes)
    change_weights(good, lambda tensors, key: tensors.pop(key))
    assert "lacks one of lora_A and lora_B" in refusal(good, shapes)


def test_a_module_the_model_does_not_have_is_refused(good, shapes):
    fewer = {name: shape for name, shape in shapes.items() if "layers.2" not in name}
    assert "no projection model.layers.2" in refusal(good, fewer)


def test_missing_broken_and_empty_files_are_refused_with_what_to_do(good, shapes, tmp_path):
    assert "give a directory that PEFT has saved" in refusal(tmp_path / "nowhere", shapes)
    (good / WEIGHTS).write_bytes(b"\0" * 64)
    assert "cannot be read" in refusal(good, shapes)
    (good / WEIGHTS).unlink()
    assert "save the lora with safetensors" in refusal(good, shapes)
    (good / CONFIG).write_text("{")
    assert "is not JSON" in refusal(good, shapes)


def test_a_release_made_for_another_base_is_refused(good, shapes):
    (good / "manifest.json").write_text(json.dumps({"base": {"sha256": "a" * 64}}))
    assert "made for another base model (aaaaaaaaaaaa, served is bbbbbbbbbbbb)" in refusal(
        good, shapes, base_hash="b" * 64
    )
    assert read_lora(good, shapes, 16, "a" * 64).rank == 4
    (good / "manifest.json").write_text("{}")
    assert "base.sha256" in refusal(good, shapes, base_hash="b" * 64)


def test_a_line_with_a_bad_lora_fails_alone(base, good):
    lines = [
        {"id": "bad", "token_ids": [5], "lora": "nowhere/at/all"},
        {"id": "good", "token_ids": [5], "lora": str(good), "max_tokens": 3},
        {"id": "base", "token_ids": [VOCABULARY - 1], "max_tokens": 3},
    ]
    answers = list(generate(map(json.dumps, lines), Configure(model=str(base), dtype="model", threads=1)))
    assert "lora_rejected" in answers[0]["error"]
    assert [len(answer["token_ids"]) for answer in answers[1:]] == [3, 3]

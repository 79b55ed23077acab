"""A run learns, keeps its best, stops for a reason it says, and ends in the same bytes every time."""

import hashlib
import itertools
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from peft import PeftModel, get_peft_model_state_dict
from pydantic import ValidationError
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from tests.support.families import save_model, save_talker
from tests.support.rows import random_rows
from tests.support.trainer import small_rows, small_settings
from vtuber_brain.engine.load import load_runner
from vtuber_brain.engine.loras import read_lora
from vtuber_brain.engine.wire import Configure
from vtuber_brain.errors import ConfigError, ModelRefused
from vtuber_brain.night_sections import TrainSettings
from vtuber_brain.retrain.loop import Plan, learning_rate, overfits
from vtuber_brain.retrain.losses import plain_row_cost
from vtuber_brain.retrain.matching import shapes_of
from vtuber_brain.retrain.outputs import merged
from vtuber_brain.retrain.train import train, work_folder
from vtuber_brain.retrain.tuning import load_base


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return save_model("llama", tmp_path_factory.mktemp("base"))


def run(base, out, *, rows=None, **changed):
    given, validation = rows or small_rows()
    told = []
    trained = train(base, given, validation, small_settings(**changed), out, on_progress=told.append, base_name="base")
    return trained, told


def bytes_of(folder):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def costs(model, rows):
    return sum(plain_row_cost(model, row) for row in rows) / len(rows)


def test_it_learns_and_what_it_wrote_costs_what_it_said(base, tmp_path):
    trained, told = run(base, tmp_path / "lora", dropout=0.0, epochs=8)
    assert trained.best_nll < trained.first_nll - 0.3
    assert trained.stopped_by == "epochs"
    assert trained.steps == trained.num_steps == len(trained.losses) == 32
    assert trained.packing_error < 1e-4
    assert trained.row_tokens > 1.2 * trained.computed_tokens
    model = AutoModelForCausalLM.from_pretrained(base)
    _, validation = small_rows()
    weights = [sum(row.weights) for row in validation]
    adapted = PeftModel.from_pretrained(model, tmp_path / "lora").eval()
    nll = sum(plain_row_cost(adapted, row) * weight for row, weight in zip(validation, weights, strict=True))
    assert nll / sum(weights) == pytest.approx(trained.best_nll, abs=1e-4)
    assert [one.step for one in told if one.loss is not None] == list(range(1, 33))


def test_the_same_rows_give_the_same_bytes_and_another_seed_others(base, tmp_path):
    run(base, tmp_path / "one")
    run(base, tmp_path / "two")
    run(base, tmp_path / "three", seed=8)
    assert set(bytes_of(tmp_path / "one")) == {"adapter_config.json", "adapter_model.safetensors"}
    assert bytes_of(tmp_path / "one") == bytes_of(tmp_path / "two")
    assert bytes_of(tmp_path / "one") != bytes_of(tmp_path / "three")


def test_what_it_writes_is_pefts_own_output_and_the_engine_takes_it(base, tmp_path):
    run(base, tmp_path / "lora", dropout=0.0)
    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), tmp_path / "lora")
    model.save_pretrained(tmp_path / "again", save_embedding_layers=False)
    ours, theirs = (load_file(tmp_path / name / "adapter_model.safetensors") for name in ("lora", "again"))
    assert ours.keys() == theirs.keys() == get_peft_model_state_dict(model, save_embedding_layers=False).keys()
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)
    configs = [json.loads((tmp_path / name / "adapter_config.json").read_text()) for name in ("lora", "again")]
    targets = {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}
    assert [set(config.pop("target_modules")) for config in configs] == [targets, targets]
    assert configs[0] == configs[1]
    assert configs[0]["base_model_name_or_path"] == "base"
    runner = load_runner(Configure(model=str(base), dtype="fp32", max_loras=1, max_lora_rank=4, threads=1))
    weights = read_lora(tmp_path / "lora", runner.bank.shapes, 4)
    assert weights.rank == 4
    assert len(weights.matrices) == 3 * 7


def test_the_base_is_left_as_it_was(base, tmp_path):
    before = bytes_of(base)
    run(base, tmp_path / "lora")
    merged(base, tmp_path / "lora", tmp_path / "merged")
    assert bytes_of(base) == before


def test_a_merged_model_answers_as_base_and_lora_do(base, tmp_path):
    run(base, tmp_path / "lora")
    merged(base, tmp_path / "lora", tmp_path / "merged")
    ids = torch.arange(3, 40).unsqueeze(0)
    adapted = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), tmp_path / "lora").eval()
    alone = AutoModelForCausalLM.from_pretrained(tmp_path / "merged")
    plain = AutoModelForCausalLM.from_pretrained(base)
    with torch.inference_mode():
        together, ours, without = (model(ids).logits for model in (adapted, alone, plain))
    torch.testing.assert_close(ours, together, atol=1e-4, rtol=1e-4)
    assert (together - without).abs().max() > 0.1
    with pytest.raises(ConfigError, match="already there"):
        merged(base, tmp_path / "lora", tmp_path / "merged")


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_a_whole_model_is_trained_to_a_folder_that_loads(family, tmp_path, bundled_model):
    folder = (
        save_talker(tmp_path / "base", bundled_model) if family == "llama" else save_model(family, tmp_path / "base")
    )
    trained, _ = run(folder, tmp_path / "model", method="full", learning_rate=0.003)
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    rows, _ = small_rows()
    assert trained.best_nll < trained.first_nll
    assert costs(model, rows) < costs(AutoModelForCausalLM.from_pretrained(folder), rows)
    tokens = {path.name for path in folder.glob("tokenizer*")}
    assert tokens <= {path.name for path in (tmp_path / "model").iterdir()}
    assert bool(tokens) == (family == "llama")


def test_it_stops_when_patience_is_out_keeps_the_best_and_says_that_it_overfits(base, tmp_path):
    rows = random_rows(8, seed=1), random_rows(8, seed=2)
    trained, _ = run(base, tmp_path / "lora", rows=rows, epochs=60, patience=4, learning_rate=0.05, dropout=0.0)
    assert trained.stopped_by == "patience"
    assert trained.steps < trained.num_steps
    assert trained.best_nll == min(nll for _, _, nll in trained.looks)
    assert trained.best_step < trained.steps
    assert any(note.startswith("overfitting") for note in trained.notes)
    assert any(note.startswith("patience") for note in trained.notes)


def test_numbers_that_are_none_end_the_run_with_the_best_so_far(base, tmp_path):
    trained, _ = run(base, tmp_path / "lora", learning_rate=1e30, warm_up=0.0)
    assert trained.stopped_by == "not_finite"
    assert trained.steps < trained.num_steps
    tensors = load_file(tmp_path / "lora" / "adapter_model.safetensors")
    assert all(tensor.isfinite().all() for tensor in tensors.values())


def test_without_validation_rows_the_last_weights_are_kept(base, tmp_path):
    rows, _ = small_rows()
    trained, _ = run(base, tmp_path / "lora", rows=(rows, []))
    assert (trained.best_nll, trained.best_step, trained.first_nll) == (None, None, None)
    assert load_file(tmp_path / "lora" / "adapter_model.safetensors").popitem()[1].abs().sum() > 0
    assert trained.losses[-1] < trained.losses[0]


def test_rows_with_nothing_to_learn_are_refused(base, tmp_path):
    rows, validation = small_rows()
    silent = [replace(row, weights=(0.0,) * len(row.weights)) for row in rows]
    with pytest.raises(ConfigError, match="nothing to learn"):
        run(base, tmp_path / "lora", rows=(silent, validation))


def test_a_folder_that_is_taken_is_refused(base, tmp_path):
    (tmp_path / "lora").mkdir()
    with pytest.raises(ConfigError, match="already there"):
        run(base, tmp_path / "lora")


def test_a_base_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ModelRefused, match="could not be loaded"):
        run(tmp_path / "nothing", tmp_path / "lora")


def test_every_update_is_in_the_log(base, tmp_path):
    trained, _ = run(base, tmp_path / "lora")
    lines = [json.loads(line) for line in (work_folder(tmp_path / "lora") / "log.jsonl").read_text().splitlines()]
    updates = [line for line in lines if "loss" in line]
    assert [line["step"] for line in updates] == list(range(1, trained.steps + 1))
    assert updates[0].keys() == {"step", "num_steps", "loss", "learning_rate", "grad_norm", "tokens_per_s"}
    looks = [(line["step"], line["validation_nll"]) for line in lines if "validation_nll" in line]
    assert looks == [(step, nll) for step, _, nll in trained.looks]


def test_gradient_checkpointing_changes_nothing_but_memory(base, tmp_path):
    run(base, tmp_path / "kept", dropout=0.0)
    run(base, tmp_path / "again", dropout=0.0, gradient_checkpointing=True)
    kept, again = (load_file(tmp_path / name / "adapter_model.safetensors") for name in ("kept", "again"))
    for key in kept:
        torch.testing.assert_close(kept[key], again[key], atol=1e-5, rtol=1e-4)


def test_rslora_and_bf16_are_taken(base, tmp_path):
    trained, _ = run(base, tmp_path / "lora", rslora=True, dtype="bf16")
    assert json.loads((tmp_path / "lora" / "adapter_config.json").read_text())["use_rslora"] is True
    assert {tensor.dtype for tensor in load_file(tmp_path / "lora" / "adapter_model.safetensors").values()} == {
        torch.bfloat16
    }
    assert trained.best_nll < trained.first_nll


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"init": "pissa"}, "pissa.*changes the base"),
        ({"init": "pissa_niter_16"}, "pissa.*changes the base"),
        ({"init": "OLoRA"}, "OLoRA.*changes the base"),
        ({"init": "lora_ga"}, "lora_ga.*changes the base"),
        ({"init": "eva"}, "eva.*not supported"),
        ({"init": "gaussian"}, "gaussian.*not known"),
        ({"dora": True}, "dora.*several loras"),
        ({"rnak": 3}, "rnak"),
    ],
)
def test_what_cannot_be_served_is_refused_by_name(changed, reason):
    with pytest.raises(ValidationError, match=f"(?s){reason}"):
        TrainSettings(**changed)


def test_four_bits_without_cuda_are_refused(base, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match="qlora needs a CUDA device"):
        run(base, tmp_path / "lora", method="qlora")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_over_a_base_of_four_bits_it_learns_a_lora_that_the_engine_takes(tmp_path):
    pytest.importorskip("bitsandbytes")
    shape = {"hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 2, "num_attention_heads": 4}
    LlamaForCausalLM(LlamaConfig(vocab_size=256, **shape)).save_pretrained(tmp_path / "base")
    trained, _ = run(tmp_path / "base", tmp_path / "lora", method="qlora", device="cuda", dtype="bf16")
    assert trained.best_nll < trained.first_nll
    assert read_lora(tmp_path / "lora", shapes_of(tmp_path / "base"), 4).rank == 4


def test_four_bits_without_bitsandbytes_are_refused_with_what_to_install(monkeypatch):
    monkeypatch.setattr("vtuber_brain.retrain.tuning.find_spec", lambda _name: None)
    with pytest.raises(ConfigError, match="gpu extra"):
        load_base(Path("nowhere"), small_settings(method="qlora"), torch.device("cuda"))


def test_projections_that_the_model_lacks_are_refused(base, tmp_path):
    with pytest.raises(ConfigError, match="targets"):
        run(base, tmp_path / "lora", targets=["c_attn"])


def test_every_row_is_dealt_once_a_pass_and_the_deal_changes():
    rows, _ = small_rows()
    plan = Plan(tuple(rows), small_settings(step_rows=7))
    passes = [[row.id for pack in plan.packs(step) for row in pack.rows] for step in range(plan.num_steps)]
    first, second = (passes[at : at + plan.steps_per_epoch] for at in (0, plan.steps_per_epoch))
    dealt = [sorted(itertools.chain(*one)) for one in (first, second)]
    assert dealt == [sorted(row.id for row in rows)] * 2
    assert first != second
    assert max(map(len, first)) - min(map(len, first)) <= 1


def test_the_rate_rises_and_falls_like_a_cosine():
    settings = small_settings(warm_up=0.1, learning_rate=1.0)
    rates = [learning_rate(step, 100, settings) for step in range(100)]
    assert rates[:10] == pytest.approx([n / 10 for n in range(1, 11)])
    assert rates[10] == 1.0
    assert rates[55] == pytest.approx(0.5)
    assert 0 < rates[99] < 0.001
    assert all(one > other for one, other in itertools.pairwise(rates[10:]))


def test_overfitting_is_a_training_loss_that_falls_while_the_other_rises():
    assert overfits([(1, 2.0, 2.0), (2, 1.9, 2.1)])
    assert not overfits([(1, 2.0, 2.0), (2, 1.9, 1.9)])
    assert not overfits([(1, 2.0, 2.0), (2, 2.1, 2.1)])
    assert not overfits([(0, None, 2.0), (2, 2.1, 2.1)])
    assert not overfits([(0, None, None)])

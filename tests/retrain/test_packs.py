"""Rows that share a pack cost what each costs alone, in every family, and so does their gradient."""

import contextlib

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

from tests.support.families import SERVED, save_model
from tests.support.rows import random_rows
from vtuber_brain.errors import ModelRefused
from vtuber_brain.retrain.lora_products import quicken
from vtuber_brain.retrain.losses import cost, plain_row_cost, prove_packs_fit, row_costs
from vtuber_brain.retrain.packs import Pack, PackAttention, alone, packed, sheet
from vtuber_brain.retrain.rows import Row

PLAIN = contextlib.nullcontext()


@pytest.fixture(scope="module", params=SERVED)
def model(request, tmp_path_factory):
    return AutoModelForCausalLM.from_pretrained(save_model(request.param, tmp_path_factory.mktemp(request.param)))


def test_a_row_in_a_pack_costs_what_the_models_own_forward_says_of_it_alone(model):
    rows = random_rows(9) + random_rows(3, num_opening=0, seed=5)
    packs = packed(rows, 90)
    expected = [plain_row_cost(model, row) for pack in packs for row in pack.rows]
    attention = PackAttention()
    with attention.serving(model):
        found = row_costs(model, packs, attention, PLAIN)
    assert len(packs) < len(rows)
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64), atol=1e-5, rtol=0)
    assert prove_packs_fit(model, rows, 90) < 1e-5


@pytest.mark.parametrize("multiple", [1, 64])
def test_the_gradient_of_a_pack_is_the_sum_of_those_of_its_rows(multiple, tmp_path):
    model = AutoModelForCausalLM.from_pretrained(save_model("llama", tmp_path))
    rows = random_rows(6)

    def gradients(packs, multiple=1):
        model.zero_grad()
        attention = PackAttention()
        with attention.serving(model):
            for pack in packs:
                cost(model, sheet(pack, "cpu", multiple), attention, PLAIN, 1.0).total.backward()
        return [parameter.grad.clone() for parameter in model.parameters()]

    for together, apart in zip(gradients(packed(rows, 4096), multiple), gradients(alone(rows)), strict=True):
        torch.testing.assert_close(together, apart, atol=2e-4, rtol=1e-4)


def test_a_pack_without_position_reset_would_be_noticed(tmp_path, monkeypatch):
    model = AutoModelForCausalLM.from_pretrained(save_model("llama", tmp_path))
    from vtuber_brain.retrain import losses

    def running_on(pack, device="cpu"):
        page = sheet(pack, device)
        page.positions.copy_(torch.arange(len(page.positions)))
        return page

    monkeypatch.setattr(losses, "sheet", running_on)
    with pytest.raises(ModelRefused, match="family 'llama' cannot be trained: rows packed together"):
        prove_packs_fit(model, random_rows(9), 400)


def test_the_proof_leaves_the_model_as_it_was(tmp_path):
    model = AutoModelForCausalLM.from_pretrained(save_model("llama", tmp_path), dtype=torch.bfloat16)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    how = model.config._attn_implementation
    prove_packs_fit(model, random_rows(9), 400)
    assert model.dtype == torch.bfloat16
    assert model.config._attn_implementation == how
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_no_pack_is_larger_than_asked_and_no_row_is_lost():
    rows = random_rows(60) + random_rows(20, num_opening=5, seed=2)
    packs = packed(rows, 100)
    assert all(pack.num_tokens <= 100 or len(pack.rows) == 1 for pack in packs)
    assert sorted(row.id for pack in packs for row in pack.rows) == sorted(row.id for row in rows)
    assert all(
        row.tokens[: pack.num_opening] == pack.rows[0].tokens[: pack.num_opening] for pack in packs for row in pack.rows
    )
    assert sum(pack.num_tokens for pack in packs) < 0.8 * sum(len(row.tokens) for row in rows)


def test_each_row_goes_where_it_fits_first_the_longest_before_the_others():
    def row(name, num_own):
        return Row((1, 2, *range(num_own + 1)), (0.0,) * (num_own + 2) + (1.0,), 2, name, "random")

    packs = packed([row("a", 3), row("b", 5), row("c", 6), row("d", 2), row("e", 20)], 2 + 10)
    assert [[one.id for one in pack.rows] for pack in packs] == [["e"], ["c", "a"], ["b", "d"]]
    assert [pack.num_tokens for pack in packs] == [22, 11, 9]


def test_packing_measures_every_row_once(monkeypatch):
    """Whatever the number of packs it is tried in: thousands of rows are dealt at every update."""
    from vtuber_brain.retrain import packs

    measured = []
    real = packs._num_own
    monkeypatch.setattr(packs, "_num_own", lambda row: measured.append(row.id) or real(row))
    rows = random_rows(60)
    assert len(packed(rows, 40)) > 20
    assert len(measured) == len(rows)


def test_the_order_of_the_rows_does_not_matter_and_a_row_to_learn_nothing_from_is_left_out():
    rows = random_rows(30)
    silent = Row((1, 2, 3), (0.0, 0.0, 0.0), 0, "silent", "random")
    assert packed(rows[::-1], 100) == packed([*rows, silent], 100)


def test_what_stands_behind_the_last_learnt_token_is_not_computed():
    row = Row((1, 2, 3, 4, 5, 6), (0.0, 0.0, 0.0, 1.0, 0.0, 0.0), 1, "a", "b")
    page = sheet(Pack((row,)))
    assert page.ids.tolist() == [1, 2, 3]
    assert (page.sources.tolist(), page.targets.tolist()) == ([2], [4])


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_a_quickened_lora_computes_what_peft_computes_forwards_and_backwards(family, tmp_path):
    folder, rows = save_model(family, tmp_path), random_rows(4)
    found = []
    for quick in (False, True):
        torch.manual_seed(3)
        config = LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", fan_in_fan_out=family == "gpt2")
        base = AutoModelForCausalLM.from_pretrained(folder)
        model = get_peft_model(base, config)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if ".lora_B." in name:
                    parameter.normal_(0, 0.1)
        assert quicken(model) > 0 if quick else True
        attention = PackAttention()
        with attention.serving(base):
            (pack,) = packed(rows, 4096)
            loss = cost(model, sheet(pack), attention, PLAIN, 0.1).total
            loss.backward()
        found.append([loss.detach(), *(p.grad for p in model.parameters() if p.requires_grad)])
    for theirs, ours in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)
    assert all(part.abs().sum() > 0 for part in found[1])


def test_dropout_hides_the_same_inputs_forwards_and_backwards():
    from vtuber_brain.retrain.lora_products import _Product

    torch.manual_seed(0)
    x, a, b = (torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in ((5, 6), (2, 6), (4, 2)))
    weight = torch.randn(4, 6, dtype=torch.float64)

    def product(x, a, b):
        torch.manual_seed(1)
        return _Product.apply(x, weight, None, a, b, 2.0, 0.4)

    assert torch.autograd.gradcheck(product, (x, a, b))

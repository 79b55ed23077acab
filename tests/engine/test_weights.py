"""Smaller weights answer nearly as the whole ones do, alike for few tokens and many; a budget sizes the cache."""

import sys
import weakref
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.testing._internal.two_tensor import TwoTensor
from transformers import AutoModelForCausalLM

from tests.support.families import save_model
from tests.support.loras import save_lora
from vtuber_brain.engine.attention import lay_out
from vtuber_brain.engine.load import _model_bytes, load_runner
from vtuber_brain.engine.loras import read_lora
from vtuber_brain.engine.products import _INT8_MAX_TOKENS, Bank, join_products
from vtuber_brain.engine.scheduler import Job, Span, Step
from vtuber_brain.engine.weights import _nf4, _torchao
from vtuber_brain.engine.wire import Configure
from vtuber_brain.errors import ModelRefused

PROMPT = [5, 9, 40, 17, 3, 22]
SHAPE = Configure("", dtype="bf16", threads=1, num_slots=4, context=64, max_loras=1, max_lora_rank=4)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return save_model("llama", tmp_path_factory.mktemp("llama"))


@pytest.fixture(scope="module")
def lora(base, tmp_path_factory):
    return save_lora(tmp_path_factory.mktemp("lora"), base)


def logits(runner, prompt, place=None):
    span = Span(Job("a", prompt, 1), 0, 0, prompt, wants_token=True)
    with torch.inference_mode():
        batch = lay_out(Step((span,), 0), runner.device)
        runner.bank.let_through(torch.full_like(batch.rows, place or 0), 0 if place is None else 1)
        return runner.forward(batch)[0].float()


def token_by_token(runner, prompt, place=None):
    """The same prompt as decode steps: one token each."""
    for position, token in enumerate(prompt):
        span = Span(Job("a", prompt, 1), 1, position, [token], wants_token=True)
        with torch.inference_mode():
            batch = lay_out(Step((span,), 0), runner.device)
            runner.bank.let_through(torch.full_like(batch.rows, place or 0), 0 if place is None else 1)
            last = runner.forward(batch)[0].float()
    return last


@pytest.mark.parametrize("place", [None, 0])
def test_int8_on_a_cpu_is_near_the_whole_weights_for_few_tokens_and_many(base, lora, place):
    whole = load_runner(replace(SHAPE, model=str(base)))
    small = load_runner(replace(SHAPE, model=str(base), weights="int8"))
    prompt = PROMPT * 4
    assert len(prompt) > _INT8_MAX_TOKENS
    for runner in (whole, small):
        runner.bank.put(0, read_lora(lora, runner.bank.shapes, 4))
    expected = logits(whole, prompt, place)
    assert (logits(small, prompt, place) - expected).abs().max() < 0.15 * expected.std()
    assert (token_by_token(small, prompt, place) - expected).abs().max() < 0.15 * expected.std()


def test_int8_touches_every_projection_and_the_output_layer(base):
    runner = load_runner(replace(SHAPE, model=str(base), weights="int8"))
    layers = 3
    assert sum(product.int8 is not None for product in runner.bank.products) == 4 * layers + 1
    assert set(runner.bank.shapes) == {
        name
        for name, module in AutoModelForCausalLM.from_pretrained(base).named_modules()
        if isinstance(module, nn.Linear) and name != "lm_head"
    }


class Watched(list):
    """Products as they are made, and how many of `modules` are still there at each."""

    def __init__(self, modules):
        super().__init__()
        self.modules, self.num_left = [weakref.ref(module) for module in modules], []

    def append(self, product):
        super().append(product)
        self.num_left.append(sum(module() is not None for module in self.modules))


def test_a_projection_is_let_go_before_the_next_product_is_made(base):
    model, bank = AutoModelForCausalLM.from_pretrained(base), Bank(2, 4)
    bank.products = Watched(module for module in model.modules() if type(module) is nn.Linear)
    join_products(model, bank, head=True)
    assert bank.products.num_left == [22, 19, 18, 16, 15, 12, 11, 9, 8, 5, 4, 2, 1]


def test_a_base_computed_elsewhere_still_carries_its_loras(base, lora):
    """What torchao and bitsandbytes make of a projection takes the place of the base's part, whatever it is."""
    runner = load_runner(replace(SHAPE, model=str(base), dtype="fp32"))
    runner.bank.put(0, read_lora(lora, runner.bank.shapes, 4))
    expected = [logits(runner, PROMPT, place) for place in (None, 0)]
    for product in runner.bank.products:
        whole = nn.Linear(product.inputs, product.outputs, bias=False)
        whole.weight.data = product.weight[: product.outputs].clone()
        product.keep_as(whole)
    for place, before in zip((None, 0), expected, strict=True):
        assert torch.allclose(logits(runner, PROMPT, place), before, atol=1e-5)
    assert not torch.allclose(*expected, atol=0.1)
    runner.bank.put(0, read_lora(lora, runner.bank.shapes, 4))
    assert torch.allclose(logits(runner, PROMPT, 0), expected[1], atol=1e-5)


@pytest.mark.parametrize("weights", ["fp8", "nf4"])
def test_what_a_cpu_cannot_keep_is_refused_with_what_it_can(base, weights):
    with pytest.raises(ModelRefused, match="needs a CUDA device; on a CPU there is int8"):
        load_runner(replace(SHAPE, model=str(base), weights=weights))


def test_weights_that_are_made_of_tensors_count_as_what_they_are_made_of(base):
    model = AutoModelForCausalLM.from_pretrained(base)
    whole, tied = _model_bytes(model), model.get_input_embeddings()
    linears = [module for module in model.modules() if type(module) is nn.Linear and module.weight is not tied.weight]
    for linear in linears:
        halves = TwoTensor(linear.weight.data.half(), linear.weight.data.half())
        linear.weight = nn.Parameter(halves, requires_grad=False)
    assert _model_bytes(model) == whole


class Torchao:
    """What torchao would be asked for, where it is not installed; it turns down every dtype but bf16."""

    def __init__(self):
        self.PerRow = lambda: "by row"
        self.Int8WeightOnlyConfig = lambda: "int8"
        self.Float8DynamicActivationFloat8WeightConfig = lambda granularity=None: f"fp8 {granularity}"
        self.asked = []

    def quantize_(self, holder, config):
        self.asked.append(config)
        if holder[0].weight.dtype != torch.bfloat16:
            raise AssertionError("only works for bfloat16")


@pytest.fixture
def torchao(monkeypatch):
    fake = Torchao()
    monkeypatch.setitem(sys.modules, "torchao", SimpleNamespace(quantization=fake))
    monkeypatch.setitem(sys.modules, "torchao.quantization", fake)
    return fake


def test_fp8_scales_each_token_by_itself(torchao):
    for weights in ("fp8", "int8"):
        _torchao(weights)(nn.Linear(16, 16, dtype=torch.bfloat16))
    assert torchao.asked == ["fp8 by row", "int8"]


def test_what_torchao_turns_down_is_refused_with_what_it_needs(torchao):
    with pytest.raises(ModelRefused, match=r"fp8 .*only works for bfloat16.*8\.9 or newer and model\.dtype bf16"):
        _torchao("fp8")(nn.Linear(16, 16, dtype=torch.float16))


@pytest.mark.parametrize("bias", [True, False])
def test_nf4_is_made_of_the_weights_and_draws_none_of_its_own(monkeypatch, bias):
    made = []

    class Linear4bit(nn.Linear):
        def __init__(self, inputs, outputs, bias, compute_dtype, quant_type, device=None):
            super().__init__(inputs, outputs, bias, device)
            made.append((self.weight.device.type, compute_dtype, quant_type))

    def packed(data, requires_grad, quant_type, module):
        return nn.Parameter(data, requires_grad)

    fake = SimpleNamespace(nn=SimpleNamespace(Linear4bit=Linear4bit, Params4bit=packed))
    monkeypatch.setitem(sys.modules, "bitsandbytes", fake)
    monkeypatch.setitem(sys.modules, "bitsandbytes.nn", fake.nn)
    base, inputs = nn.Linear(16, 8, bias), torch.randn(2, 16)
    assert torch.equal(_nf4(base)(inputs), base(inputs))
    assert made == [("meta", torch.float32, "nf4")]


def test_a_memory_budget_makes_fewer_slots_and_is_kept(base):
    roomy = load_runner(replace(SHAPE, model=str(base), num_slots=64, context=128))
    needs = sum(part.nbytes for part in [*roomy.model.parameters(), *roomy.model.buffers()])
    logits(roomy, PROMPT)
    budget = needs + roomy.cache.num_bytes // 4
    tight = load_runner(replace(SHAPE, model=str(base), num_slots=64, context=128, memory_bytes=budget))
    logits(tight, PROMPT)
    assert 10 <= tight.cache.num_rows <= 16
    assert needs + tight.cache.num_bytes <= budget


def test_a_budget_without_room_for_one_slot_is_refused_with_the_numbers(base):
    with pytest.raises(ModelRefused, match=r"engine.memory_gb is 0.00, but weights and loras take .* raise"):
        load_runner(replace(SHAPE, model=str(base), memory_bytes=1000))

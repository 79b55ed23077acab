"""The same engine on a CUDA device; `make test-gpu` runs these where there is one."""

import inspect
import json
import random
import subprocess
import sys
import threading

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from tests.support.families import VOCABULARY, save_model
from tests.support.loras import save_lora
from vtuber_brain.engine.core import Core
from vtuber_brain.engine.graphs import on_cuda
from vtuber_brain.engine.load import choose_device, choose_dtype
from vtuber_brain.engine.loras import read_lora
from vtuber_brain.engine.offline import generate
from vtuber_brain.engine.wire import Configure, Delta, Generate, Sampling
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


def on_every(parameter, values):
    return pytest.mark.parametrize(parameter, [pytest.param(value, marks=on_gpu) for value in values])


def replies(folder, loras, sampling, **shape):
    """Eight requests, mixed over base and loras, and what the core made of them."""
    configure = Configure(str(folder), num_slots=8, context=512, max_loras=len(loras), max_lora_rank=8, **shape)
    core = Core.load(configure)
    for number, lora in enumerate(loras):
        core.install(str(number), core.runner.bank.staged(read_lora(lora, core.runner.bank.shapes, 8)))
    for number in range(8):
        name = str(number % (len(loras) + 1) - 1) if number % (len(loras) + 1) else None
        prompt = tuple((7 * number + k) % 90 + 3 for k in range(5 + 9 * number))
        core.add(Generate(str(number), token_ids=prompt, max_tokens=40, ignore_eos=True, sampling=sampling, lora=name))
    got = {str(number): [] for number in range(8)}
    while core.busy:
        for event in core.step():
            if isinstance(event, Delta):
                got[event.id] += event.token_ids
        core.check_integrity()
    return core, got


@on_every("family", ["llama", "gemma2", "gpt2"])
def test_captured_steps_give_what_plain_ones_give_with_loras_mixed_in(family, tmp_path):
    folder = save_model(family, tmp_path / "base")
    loras = [save_lora(tmp_path / str(rank), folder, rank=rank, seed=rank) for rank in (4, 8)]
    for sampling in (Sampling(), Sampling(1.0, 20, 0.9, seed=3)):
        _, plain = replies(folder, loras, sampling, dtype="fp32", device="cuda", graphs=False)
        _, captured = replies(folder, loras, sampling, dtype="fp32", device="cuda", graphs=True)
        assert captured == plain


@on_every("kind", ["dynamic"])
def test_a_model_that_looks_at_values_in_its_forward_is_served_without_graphs(kind, tmp_path):
    """This way of stretching positions asks the device in every forward, which nothing that is captured may."""
    rope = {"rope_type": kind, "rope_theta": 10000.0, "factor": 4.0}
    folder = save_wide(tmp_path, rope_parameters=rope, max_position_embeddings=512)
    _, plain = replies(folder, [], Sampling(), dtype="fp32", device="cuda", graphs=False)
    core, got = replies(folder, [], Sampling(), dtype="fp32", device="cuda", graphs=True)
    assert core._graphs is None
    assert got == plain
    assert torch.cuda.current_stream() == torch.cuda.default_stream()


@on_every("megabytes", [512])
def test_a_capture_bears_that_another_thread_takes_memory(megabytes):
    def bring():
        with torch.cuda.stream(torch.cuda.Stream()):
            torch.empty(megabytes * 2**20, dtype=torch.uint8, device="cuda")

    def run():
        bringing = threading.Thread(target=bring)
        bringing.start()
        bringing.join()
        return torch.ones(4, device="cuda") * 2

    assert on_cuda()(run)().tolist() == [2.0] * 4


@on_every("dtype", ["bf16", "fp16"])
def test_attention_over_pages_is_used_where_torch_has_it(dtype, tmp_path):
    folder = save_wide(tmp_path)
    core, got = replies(folder, [], Sampling(), dtype=dtype, device="cuda")
    from torch.nn.attention.varlen import varlen_attn

    has_pages = {"block_table", "num_splits"} <= set(inspect.signature(varlen_attn).parameters)
    assert core.runner.attention.paged == has_pages
    assert all(len(tokens) == 40 for tokens in got.values())


@on_every("weights", ["int8", "fp8", "nf4"])
def test_smaller_weights_take_less_room_and_answer(weights, tmp_path):
    pytest.importorskip("bitsandbytes" if weights == "nf4" else "torchao")
    folder = save_wide(tmp_path)
    whole, _ = replies(folder, [], Sampling(), dtype="bf16", device="cuda", graphs=False)
    small, got = replies(folder, [], Sampling(), dtype="bf16", device="cuda", graphs=False, weights=weights)
    assert all(len(tokens) == 40 for tokens in got.values())
    assert sum(product.weight.nbytes for product in small.runner.bank.products) < sum(
        product.weight.nbytes for product in whole.runner.bank.products
    )


def save_wide(folder, **more):
    """A Llama whose sizes suit the kernels of real models: head size 64, everything a multiple of 64."""
    shape = {"hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = AutoConfig.for_model("llama", **shape, num_key_value_heads=2, vocab_size=VOCABULARY, **more)
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config, dtype=torch.float32).save_pretrained(folder)
    return folder


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_a_gpu_its_benchmark_says_so():
    told = subprocess.run(
        [sys.executable, "-m", "benchmarks.gpu"], capture_output=True, text=True, timeout=120, check=False
    )
    assert (told.returncode, told.stdout) == (3, "")
    assert told.stderr == "no CUDA device: `make bench-gpu` needs one; `make bench` measures on the CPU\n"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_a_gpu_asking_for_one_is_refused_with_what_to_do():
    with pytest.raises(ModelRefused, match="set it to auto or cpu"):
        choose_device("cuda")


def test_a_gpu_computes_in_bf16_unless_told_otherwise():
    assert choose_dtype("auto", torch.device("cuda")) is torch.bfloat16
    assert choose_dtype("fp16", torch.device("cuda")) is torch.float16

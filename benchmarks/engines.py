"""The engine and its peers behind one call: so many requests of so many new tokens, on the same weights and device.

A decode speed is taken from two runs of the same requests, one with a single new token: what the prompts cost falls
out, for every engine in the same way.
"""

import itertools
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import GenerationConfig, PreTrainedModel

from vtuber_brain.engine.core import Core
from vtuber_brain.engine.load import make_runner
from vtuber_brain.engine.loras import read_lora
from vtuber_brain.engine.wire import Configure, Generate

NUM_LORAS, RANK = 4, 16
_first_tokens = itertools.count(100)

Run = Callable[[int, int], None]
"""Answers so many requests with so many new tokens each; returns when all are done."""

NewModel = Callable[[], PreTrainedModel]
"""A fresh model on the device of the benchmark, the same weights each time."""


@dataclass(frozen=True, slots=True)
class Speed:
    """Tokens per second of all requests together: decode alone, and with the prompts."""

    decode: float
    whole: float


def speed(run: Run, num_requests: int, new_tokens: int, rounds: int) -> Speed:
    """The median of `rounds`, after one run to warm up."""
    run(num_requests, new_tokens)
    prompts_s, wholes_s = [], []
    for _ in range(rounds):
        prompts_s.append(_timed(run, num_requests, 1))
        wholes_s.append(_timed(run, num_requests, new_tokens))
    whole_s, prompt_s = statistics.median(wholes_s), statistics.median(prompts_s)
    num_tokens = num_requests * new_tokens
    return Speed((num_tokens - num_requests) / max(whole_s - prompt_s, 1e-9), num_tokens / whole_s)


def new_core(model: PreTrainedModel, configure: Configure, loras: list[Path]) -> Core:
    """Our engine over `model`, with `loras` in the bank as lora-0, lora-1, ..."""
    core = Core(make_runner(model, configure, model.device), None, configure)
    for number, folder in enumerate(loras):
        core.install(f"lora-{number}", read_lora(folder, core.runner.bank.shapes, RANK))
    core.warm_up()
    return core


def ours(core: Core, prompts: list[list[int]], num_loras: int = 0) -> Run:
    """Our engine; with loras, request n runs under lora n mod `num_loras`."""

    def run(num_requests: int, new_tokens: int) -> None:
        first = next(_first_tokens)  # a first token of its own, so that no prompt is found in a row
        for n, prompt in enumerate(prompts[:num_requests]):
            lora, ids = f"lora-{n % num_loras}" if num_loras else None, (first, *prompt[1:])
            core.add(Generate(f"{first}-{n}", token_ids=ids, max_tokens=new_tokens, ignore_eos=True, lora=lora))
        while core.busy:
            core.step()

    return run


def padded_generate(model: PreTrainedModel, prompts: list[list[int]], names: list[str] | None = None) -> Run:
    """Transformers' `generate` over one batch; with `names`, PEFT's mixed batch of these adapters."""

    def run(num_requests: int, new_tokens: int) -> None:
        ids = torch.tensor(prompts[:num_requests], device=model.device)  # prompts of one length: nothing to pad
        mixed: dict[str, Any] = {}
        if names is not None:
            mixed["adapter_names"] = [names[n % len(names)] for n in range(num_requests)]
        model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=new_tokens,
            min_new_tokens=new_tokens,
            do_sample=False,
            pad_token_id=2,
            **mixed,
        )
        _synchronize(model)

    return run


def continuous(model: PreTrainedModel, prompts: list[list[int]]) -> Run:
    """Transformers' continuous batching."""

    def run(num_requests: int, new_tokens: int) -> None:
        config = GenerationConfig(max_new_tokens=new_tokens, do_sample=False, eos_token_id=-1, pad_token_id=2)
        answers = model.generate_batch(
            inputs=prompts[:num_requests], generation_config=config, progress_bar=False, warmup=False
        )
        assert sum(len(answer.generated_tokens) for answer in answers.values()) == num_requests * new_tokens

    return run


def with_peft(model: PreTrainedModel, loras: list[Path]) -> tuple[PreTrainedModel, list[str]]:
    """The model with all loras attached, and their names."""
    names = [f"lora{n}" for n in range(len(loras))]
    adapted = PeftModel.from_pretrained(model, loras[0], adapter_name=names[0])
    for name, folder in zip(names[1:], loras[1:], strict=True):
        adapted.load_adapter(folder, adapter_name=name)
    return adapted.eval(), names


@contextmanager
def random_loras(new_model: NewModel, count: int = NUM_LORAS) -> Iterator[list[Path]]:
    """So many loras of rank 16 on all projections, as PEFT saves them."""
    with tempfile.TemporaryDirectory() as folder:
        adapted = get_peft_model(new_model(), LoraConfig(r=RANK, lora_alpha=RANK, target_modules="all-linear"))
        paths = [Path(folder) / str(number) for number in range(count)]
        for path in paths:
            with torch.no_grad():
                for name, parameter in adapted.named_parameters():
                    if ".lora_B." in name:
                        parameter.normal_(0, 0.01)
            adapted.save_pretrained(path)
        del adapted
        yield paths


def read_speed(device: torch.device, num_bytes: int) -> float:
    """Bytes per second at which the device reads memory: the sum of a block far larger than any cache, best of ten."""
    block = torch.ones(num_bytes // 4, device=device)
    best_s = float("inf")
    for _ in range(10):
        _synchronize(block)
        start_s = time.perf_counter()
        block.sum()
        _synchronize(block)
        best_s = min(best_s, time.perf_counter() - start_s)
    return num_bytes / best_s


def step_s(core: Core, prompts: list[list[int]], num_rows: int, num_loras: int, steps: int = 40) -> float:
    """The median time of a decode step of `num_rows` rows."""
    first, new_tokens = next(_first_tokens), steps + num_rows + 20
    for n, prompt in enumerate(prompts[:num_rows]):
        lora, ids = f"lora-{n % num_loras}" if num_loras else None, (first, *prompt[1:])
        core.add(Generate(f"{first}-{n}", token_ids=ids, max_tokens=new_tokens, ignore_eos=True, lora=lora))
    for _ in range(num_rows + 10):  # each prompt is read in one step
        core.step()
    times_s = []
    for _ in range(steps):
        start_s = time.perf_counter()
        core.step()
        times_s.append(time.perf_counter() - start_s)
    core.fail_all("done", "")
    core.runner.synchronize()
    return statistics.median(times_s)


def _timed(run: Run, num_requests: int, new_tokens: int) -> float:
    start_s = time.perf_counter()
    run(num_requests, new_tokens)
    return time.perf_counter() - start_s


def _synchronize(holder: Any) -> None:
    if holder.device.type == "cuda":
        torch.cuda.synchronize()

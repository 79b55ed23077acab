"""Decode tokens per second of the engine against transformers' `generate` and its continuous batching, same weights."""

import statistics
import time
from collections.abc import Callable

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from benchmarks.table import Table
from vtuber_brain.engine.core import Core
from vtuber_brain.engine.load import choose_dtype, load_runner
from vtuber_brain.engine.wire import Configure, Generate
from vtuber_brain.models import resolve

MODEL = "bundled:smollm2-135m-instruct"
NEW_TOKENS = 64
ROUNDS = 5
CROWDS = (1, 8)


def measure() -> Table:
    """Prompts of about 130 tokens, 64 new tokens each, whole requests (prompt and decode), median of five rounds."""
    folder = resolve(MODEL)
    dtype = choose_dtype("auto", torch.device("cpu"))
    prompts = _prompts(folder)
    peers = {
        "vtuber_brain engine": _ours(folder, prompts),
        "transformers `generate` (padded batch)": _generate(folder, dtype, prompts),
        "transformers continuous batching": _continuous(folder, dtype, prompts),
    }
    speed = {(name, crowd): _speed(run, crowd) for crowd in CROWDS for name, run in peers.items()}
    table = Table(
        "Decode on CPU",
        f"{MODEL}, {str(dtype).removeprefix('torch.')}, {measure.__doc__}",
        ["engine", "1 request, tok/s", "8 requests, tok/s", "ours is faster at 1", "ours is faster at 8"],
    )
    ours = next(iter(peers))
    for name in peers:
        ratios = ["" if name == ours else f"{speed[ours, crowd] / speed[name, crowd]:.2f}x" for crowd in CROWDS]
        table.rows.append([name, *(f"{speed[name, crowd]:.0f}" for crowd in CROWDS), *ratios])
    table.notes.append(
        "The aims are 1.5x of `generate` at 1 and 8 requests and 3x of continuous batching. Four fifths of a step are "
        "products with bf16 weights, which `generate` computes with the same kernels; only smaller weights (int8) or "
        "fewer, larger products can be much faster. That is the engine's next work."
    )
    return table


def _prompts(folder: str) -> list[list[int]]:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    topics = ["rivers", "cats", "old trains", "noodles", "the moon", "umbrellas", "libraries", "lost keys"]
    asked = [f"Please tell me a long and gentle story about {topic}. " * 10 for topic in topics]
    return [
        list(tokenizer.apply_chat_template([{"role": "user", "content": text}], return_dict=True)["input_ids"])
        for text in asked
    ]


def _speed(run: Callable[[int], int], crowd: int) -> float:
    run(crowd)
    speeds = []
    for _ in range(ROUNDS):
        start_s = time.perf_counter()
        num_tokens = run(crowd)
        speeds.append(num_tokens / (time.perf_counter() - start_s))
    return statistics.median(speeds)


def _ours(folder: str, prompts: list[list[int]]) -> Callable[[int], int]:
    configure = Configure(folder, num_slots=8, context=512)
    core = Core(load_runner(configure), None, configure)
    rounds = iter(range(10_000))

    def run(crowd: int) -> int:
        n = next(rounds)  # a first token of its own, so that no prompt is found in a slot
        for index, prompt in enumerate(prompts[:crowd]):
            core.add(Generate(f"{n}-{index}", token_ids=(100 + n, *prompt), max_tokens=NEW_TOKENS, ignore_eos=True))
        while core.busy:
            core.step()
        return crowd * NEW_TOKENS

    return run


def _generate(folder: str, dtype: torch.dtype, prompts: list[list[int]]) -> Callable[[int], int]:
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype)
    tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left")

    def run(crowd: int) -> int:
        batch = tokenizer.pad({"input_ids": prompts[:crowd]}, return_tensors="pt")
        model.generate(**batch, max_new_tokens=NEW_TOKENS, min_new_tokens=NEW_TOKENS, do_sample=False, pad_token_id=2)
        return crowd * NEW_TOKENS

    return run


def _continuous(folder: str, dtype: torch.dtype, prompts: list[list[int]]) -> Callable[[int], int]:
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype)
    config = GenerationConfig(max_new_tokens=NEW_TOKENS, do_sample=False, eos_token_id=-1, pad_token_id=2)

    def run(crowd: int) -> int:
        answers = model.generate_batch(inputs=prompts[:crowd], generation_config=config, progress_bar=False)
        return sum(len(answer.generated_tokens) for answer in answers.values())

    return run

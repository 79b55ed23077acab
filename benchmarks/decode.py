"""Decode tokens per second of the engine against transformers' `generate`, its continuous batching and PEFT's batch."""

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from benchmarks import engines
from benchmarks.engines import NUM_LORAS, RANK, Run, Speed, speed
from benchmarks.table import Table
from vtuber_brain.engine.load import choose_dtype
from vtuber_brain.engine.wire import Configure
from vtuber_brain.models import resolve

MODEL = "bundled:smollm2-135m-instruct"
NEW_TOKENS, PROMPT_TOKENS = 64, 128
CROWDS = (1, 8, 32)
OURS = "vtuber_brain, int8 weights"


def measure() -> Table:
    """Prompts of 128 tokens, 64 new tokens each, greedy; decode alone / whole requests."""
    folder = resolve(MODEL)
    dtype = choose_dtype("auto", torch.device("cpu"))
    speeds = {name: _speeds(run, rounds) for name, run, rounds in _engines(folder, dtype)}
    table = Table(
        "Decode on CPU",
        f"{MODEL}, {str(dtype).removeprefix('torch.')}. {measure.__doc__} Tokens per second of all requests together.",
        ["engine", *(f"{crowd} at once" for crowd in CROWDS), *(f"int8 is faster at {crowd}" for crowd in CROWDS)],
    )
    for name, found in speeds.items():
        ratios = [f"{speeds[OURS][n].decode / found[n].decode:.2f}x" for n in range(len(CROWDS))]
        table.rows.append([name, *(f"{one.decode:.0f} / {one.whole:.0f}" for one in found), *ratios])
    table.notes.append(
        "Median of three rounds; one round at 32, and of the two slowest. Aims, for decode: 1.5x of `generate` at 1 "
        "and 8 requests, 3x of continuous batching. `generate` and PEFT are "
        "given prompts of one length, so that they pad nothing. int8 weights change what the model says a little: on "
        "22,000 tokens of dialogue its perplexity is 5.96 instead of 5.93."
    )
    for name in ("transformers `generate`", "transformers continuous batching"):
        ratios = [f"{speeds[OURS][n].whole / speeds[name][n].whole:.2f}x" for n in range(len(CROWDS))]
        table.notes.append(f"Of whole requests, int8 is {', '.join(ratios)} as fast as {name}.")
    return table


def _engines(folder: str, dtype: torch.dtype) -> list[tuple[str, Run, int]]:
    """Name, how to run it, and how many rounds its slowness allows."""

    def new_model() -> PreTrainedModel:
        return AutoModelForCausalLM.from_pretrained(folder, dtype=dtype)

    def configure(**changes: object) -> Configure:
        return Configure(folder, num_slots=max(CROWDS), context=PROMPT_TOKENS + NEW_TOKENS, **changes)

    prompts = _prompts(folder)
    with engines.random_loras(new_model) as loras:
        bank = {"max_loras": NUM_LORAS, "max_lora_rank": RANK}
        adapted, names = engines.with_peft(new_model(), loras)
        whole = engines.new_core(new_model(), configure(), [])
        small = engines.new_core(new_model(), configure(weights="int8"), [])
        dressed = engines.new_core(new_model(), configure(weights="int8", **bank), loras)
    return [
        (OURS, engines.ours(small, prompts), 3),
        (f"vtuber_brain, int8 weights, {NUM_LORAS} loras mixed", engines.ours(dressed, prompts, NUM_LORAS), 3),
        ("vtuber_brain, whole weights", engines.ours(whole, prompts), 3),
        ("transformers `generate`", engines.padded_generate(new_model(), prompts), 3),
        ("transformers continuous batching", engines.continuous(new_model(), prompts), 1),
        (f"PEFT's mixed batch, {NUM_LORAS} loras", engines.padded_generate(adapted, prompts, names), 1),
    ]


def _speeds(run: Run, rounds: int) -> list[Speed]:
    return [speed(run, crowd, NEW_TOKENS, rounds if crowd < max(CROWDS) else 1) for crowd in CROWDS]


def _prompts(folder: str) -> list[list[int]]:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    topics = ["rivers", "cats", "old trains", "noodles", "the moon", "umbrellas", "libraries", "lost keys"]
    told = ["long and gentle", "short and odd", "slow and sad", "loud and merry"]
    asked = [f"Please tell me a {manner} story about {topic}. " * 15 for manner in told for topic in topics]
    return [list(tokenizer(text).input_ids)[:PROMPT_TOKENS] for text in asked]

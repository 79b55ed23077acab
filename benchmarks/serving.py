"""What the engine does beside plain decoding: cached beginnings, loras coming in, what they cost, and the floor."""

import statistics
from collections.abc import Callable
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, PreTrainedModel

from benchmarks import engines
from benchmarks.decode import MODEL
from benchmarks.engines import NUM_LORAS, RANK
from benchmarks.table import Table, percentile
from vtuber_brain.engine.core import Core, Event
from vtuber_brain.engine.load import choose_dtype
from vtuber_brain.engine.loras import read_lora
from vtuber_brain.engine.wire import Configure, Done, Generate
from vtuber_brain.models import resolve

PREFIX_TOKENS, OWN_TOKENS, ROUNDS, SWAPS = 640, 40, 15, 200
CONTEXT = 1024


def measure() -> Table:
    """The bundled model on CPU, int8 weights; one request unless said otherwise; medians."""
    folder = resolve(MODEL)
    dtype = choose_dtype("auto", torch.device("cpu"))

    def new_model() -> PreTrainedModel:
        return AutoModelForCausalLM.from_pretrained(folder, dtype=dtype)

    shape = Configure(
        folder, weights="int8", num_slots=8, context=CONTEXT, max_loras=NUM_LORAS, max_lora_rank=RANK
    )  # fmt: skip
    with engines.random_loras(new_model) as loras:
        core = engines.new_core(new_model(), shape, loras)
        table = Table("Serving on CPU", f"{MODEL}. {measure.__doc__}", ["what", "measured", "aim"])
        table.rows += rows(core, loras)
        table.rows += floor_rows(core, torch.device("cpu"), 2**28, [(1, 0), (8, 0), (8, NUM_LORAS)])
        table.notes.append(
            "With int8 weights a swap copies a lora twice, in bfloat16 for prompts and in float32 for decode steps, "
            "which are about a third quicker for it under one lora; the second copy takes the pause over its aim."
        )
    return table


def rows(core: Core, loras: list[Path]) -> list[list[str]]:
    """First token with and without a cached beginning; the pause of a swap while eight replies run."""
    computed_s, cached_s = _first_token_s(core, fresh=True), _first_token_s(core, fresh=False)
    pauses_ms = [pause * 1000 for pause in _swap_pauses_s(core, loras)]
    pause = f"p50 {statistics.median(pauses_ms):.1f} ms, p99 {percentile(pauses_ms, 0.99):.1f} ms"
    return [
        [f"first token, {PREFIX_TOKENS + OWN_TOKENS} tokens computed", f"{computed_s * 1000:.1f} ms", ""],
        [
            f"first token, {PREFIX_TOKENS} of them cached",
            f"{cached_s * 1000:.1f} ms ({cached_s / computed_s:.2f}x)",
            "0.45x",
        ],
        [f"pause of a lora swap (rank {RANK}, all projections), {SWAPS} swaps under 8 replies", pause, "10 ms"],
    ]


def floor_rows(
    core: Core, device: torch.device, block_bytes: int, kinds: list[tuple[int, int]], aims: dict[int, str] | None = None
) -> list[list[str]]:
    """Decode steps against the time it takes to read what they must read at the speed memory was read in this run."""
    bytes_per_s = engines.read_speed(device, block_bytes)
    prompts = [[5] * 200 for _ in range(max(num_rows for num_rows, _ in kinds))]
    found = [[f"memory read speed, {block_bytes >> 20} MiB block", f"{bytes_per_s / 1e9:.0f} GB/s", ""]]
    for num_rows, num_loras in kinds:
        seconds = engines.step_s(core, prompts, num_rows, num_loras)
        floor_s = _bytes_read(core, num_rows, 230, with_loras=num_loras > 0) / bytes_per_s
        what = f"decode step, {num_rows} rows, {f'{num_loras} loras mixed' if num_loras else 'base'}"
        said = f"{seconds * 1000:.2f} ms, floor {floor_s * 1000:.2f} ms ({floor_s / seconds:.0%} of the floor's speed)"
        found.append([what, said, (aims or {}).get(num_rows, "")])
    return found


def _bytes_read(core: Core, num_rows: int, length: int, *, with_loras: bool) -> float:
    """Weights once, each row's keys and values, and the bank (as such a step reads it) if a lora is in the step."""
    weights = bank = 0
    for product in core.runner.bank.products:
        kept = product.int8 if product.int8 is not None else product.weight[: product.outputs]
        weights += kept.nbytes
        bank += product.lora_bytes if product.fine_a is None else product.fine_a.nbytes + product.fine_b.nbytes
    head = core.runner.model.get_output_embeddings()
    weights += head.weight.nbytes if isinstance(head, torch.nn.Linear) else 0
    cache = core.runner.cache
    kv = cache.num_bytes / ((cache.num_rows + 1) * cache.capacity) * length * num_rows
    return weights + kv + (bank if with_loras else 0)


def _first_token_s(core: Core, *, fresh: bool) -> float:
    numbers = iter(range(5000, 5000 + ROUNDS + 1))

    def once() -> float:
        number = next(numbers)
        beginning = [number if fresh else 4999, *[9] * (PREFIX_TOKENS - 1)]
        return _until_first_token_s(core, [*beginning, number, *[11] * (OWN_TOKENS - 1)])

    return _median(once)


def _until_first_token_s(core: Core, prompt: list[int]) -> float:
    core.add(Generate("timed", token_ids=tuple(prompt), max_tokens=2, ignore_eos=True))
    events: list[Event] = []
    while core.busy:
        events += core.step()
    return next(event.usage.first_token_ms for event in events if isinstance(event, Done)) / 1000


def _swap_pauses_s(core: Core, loras: list[Path]) -> list[float]:
    staged = [
        core.runner.bank.staged(read_lora(folder, core.runner.bank.shapes, RANK)) for folder in [*loras, *loras]
    ]  # fmt: skip
    pauses_s: list[float] = []
    for number in range(SWAPS):
        if not core.busy:
            for row in range(8):
                core.add(Generate(f"{number}-{row}", token_ids=(row + 5, 6, 7), max_tokens=100, lora="lora-0"))
        weights = staged[number % len(staged)]
        fresh = type(weights)(f"swap-{number}", weights.rank, weights.matrices)  # or it would be found in its place
        pause_s = core.install("lora-3", fresh)
        assert pause_s is not None
        pauses_s.append(pause_s)
        core.step()
    core.fail_all("done", "")
    return pauses_s


def _median(once: Callable[[], float]) -> float:
    once()
    return statistics.median(once() for _ in range(ROUNDS))

"""`make bench-gpu`: the engine on a CUDA device against its peers, with random weights of an 8B model's shape."""

import sys
from pathlib import Path

import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from benchmarks import engines, serving
from benchmarks.engines import NUM_LORAS, RANK, Run, Speed, speed
from benchmarks.table import DOCS, Table, write_page
from vtuber_brain.engine.core import Core
from vtuber_brain.engine.wire import Configure

SHAPE = {
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "vocab_size": 128256,
    "max_position_embeddings": 8192,
    "rope_theta": 500000.0,
}
"""Llama 3.1 8B's."""

PROMPT_TOKENS, NEW_TOKENS, ROUNDS = 1024, 64, 3
CROWDS = (1, 8, 32)
STEP_AIMS = {1: "80 %", 8: "75 %", 32: "65 %"}
READ_BYTES = 2**33
DEVICE = torch.device("cuda")


def main() -> None:
    """Measure on the first CUDA device and write docs/benchmarks-gpu.md; without one, say so and exit 3."""
    if not torch.cuda.is_available():
        print("no CUDA device: `make bench-gpu` needs one; `make bench` measures on the CPU", file=sys.stderr)
        sys.exit(3)
    with engines.random_loras(_new_model) as loras:
        core = engines.new_core(_new_model(), _configure(Path("random")), loras)
        tables = [_steps(core), _serving(core, loras), _speeds(core, loras)]
    for table in tables:
        print(table.markdown(), flush=True)
    write_page(tables, "make bench-gpu", DOCS / "benchmarks-gpu.md")


def _new_model() -> PreTrainedModel:
    config = AutoConfig.for_model("llama", **SHAPE)
    with DEVICE:
        return AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16).eval()


def _configure(model: Path) -> Configure:
    return Configure(
        str(model),
        num_slots=max(CROWDS),
        context=PROMPT_TOKENS + 2 * NEW_TOKENS,
        prefill_chunk=1024,
        max_loras=NUM_LORAS,
        max_lora_rank=RANK,
    )


def _steps(core: Core) -> Table:
    """Median of 40 steps at about 230 positions a row, one step behind the device."""
    kinds = [(crowd, num_loras) for num_loras in (0, NUM_LORAS) for crowd in CROWDS]
    how = "Floor: the bytes of weights, live keys and values, and loras, over the read speed measured in this run."
    table = Table("Decode step against the memory floor", f"{_steps.__doc__} {how}", ["what", "measured", "aim"])
    table.rows += serving.floor_rows(core, DEVICE, READ_BYTES, kinds, STEP_AIMS)
    return table


def _serving(core: Core, loras: list[Path]) -> Table:
    table = Table("Serving", "One request unless said otherwise; medians.", ["what", "measured", "aim"])
    table.rows += serving.rows(core, loras)
    return table


def _speeds(core: Core, loras: list[Path]) -> Table:
    """Prompts of 1,024 tokens, 64 new tokens each, greedy; decode alone / whole requests; median of three rounds."""
    prompts = [[(7 * n + 31 * k) % 90_000 + 100 for k in range(PROMPT_TOKENS)] for n in range(max(CROWDS))]
    plain = _new_model()
    adapted, names = engines.with_peft(_new_model(), loras)
    runs: dict[str, Run] = {
        "vtuber_brain": engines.ours(core, prompts),
        f"vtuber_brain, {NUM_LORAS} loras mixed": engines.ours(core, prompts, NUM_LORAS),
        "transformers `generate`": engines.padded_generate(plain, prompts),
        "transformers continuous batching": engines.continuous(plain, prompts),
        f"PEFT's mixed batch, {NUM_LORAS} loras": engines.padded_generate(adapted, prompts, names),
    }
    speeds: dict[str, list[Speed]] = {
        name: [speed(run, crowd, NEW_TOKENS, ROUNDS) for crowd in CROWDS] for name, run in runs.items()
    }
    columns = ["engine", *(f"{crowd} at once, tok/s" for crowd in CROWDS)]
    table = Table(
        "Against peers", _speeds.__doc__ or "", [*columns, *(f"ours is faster at {crowd}" for crowd in CROWDS)]
    )
    ours, ours_dressed = list(speeds)[:2]
    for name, found in speeds.items():
        against = speeds[ours_dressed if "loras" in name else ours]
        ratios = [f"{against[n].decode / found[n].decode:.2f}x" for n in range(len(CROWDS))]
        table.rows.append([name, *(f"{one.decode:.0f} / {one.whole:.0f}" for one in found), *ratios])
    table.notes.append(
        "Aims: 4x of continuous batching at 8, 17x of PEFT's mixed batch at 32 (with loras on both sides)."
    )
    return table


if __name__ == "__main__":
    main()

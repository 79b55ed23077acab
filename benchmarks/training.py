"""Our training loop against plain Trainer + peft and TRL's SFTTrainer, on the same rows, each in its own process.

TRL is no dependency of the project: where it is not installed, it is put into an environment of its own in the cache,
which sees our packages and thus computes with the very same torch; where that fails, its lines are left out.
"""

import json
import os
import resource
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
import venv
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks.table import Table
from vtuber_brain.config import cache_dir, shipped
from vtuber_brain.models import resolve

PEER = "trl==1.16.0"
MODEL = "bundled:smollm2-135m-instruct"
NUM_ROWS = int(os.environ.get("BENCH_ROWS", "96"))
NUM_JUDGED = 8
MAX_TOKENS = 1024
LORA = {"r": 16, "lora_alpha": 32, "lora_dropout": 0.05, "target_modules": "all-linear", "task_type": "CAUSAL_LM"}


def measure() -> Table:
    """One pass over the first rows of Mori's corpus, each row with her opening as live prompts have it."""
    peer_python = _peer_python()
    pythons = {name: peer_python if "TRL" in name else sys.executable for name in _WAYS}
    ways = {name: _run(name, python) for name, python in pythons.items() if python is not None}
    table = Table(
        "Training",
        f"{MODEL}, {NUM_ROWS} rows, a lora of rank 16 on all projections. {measure.__doc__} Tokens are those of the "
        "rows with their openings, whatever a way spares itself; CPU-seconds are those of the updates.",
        ["way", "tokens per CPU-second", "against TRL defaults", "peak RSS", "NLL before the first update"],
    )
    peer = ways.get("TRL SFTTrainer, defaults")
    for name, one in ways.items():
        ratio = f"{one['speed'] / peer['speed']:.1f}x" if peer else "-"
        table.rows.append([name, f"{one['speed']:.0f}", ratio, f"{one['rss'] / 1e6:,.0f} MB", f"{one['nll']:.5f}"])
    ours = ways["ours"]
    table.notes.append(
        f"Ours computes {ours['computed']:,} tokens for the rows' {ours['tokens']:,}, for the opening is computed once "
        f"a pack: {ours['computed'] / ours['cpu_s']:.0f} computed tokens per CPU-second. Aims: 300 tokens per "
        "CPU-second, 2.9x TRL defaults, at most 2,000 MB. What lies above that are freed blocks that the C library "
        "keeps; packs of 512 tokens (`retrain.train.pack_tokens`) took 1,993 MB, at three quarters of the speed."
    )
    exact = [one["nll"] for name, one in ways.items() if "fp32" in name]
    table.notes.append(
        f"The NLLs of the ways that compute in fp32 differ by {max(exact) - min(exact):.1e} (aim: 1e-4)."
    )
    if peer is None:
        table.notes.append(f"{PEER} could not be installed, so its lines are missing.")
    else:
        table.notes.append(f"TRL is {PEER}, both with the same torch and transformers, in one run.")
    return table


def _peer_python() -> str | None:
    """A Python that has TRL beside what ours has; None where it cannot be had."""
    if find_spec("trl"):
        return sys.executable
    home = cache_dir() / "bench" / PEER
    python = home / "bin" / "python"
    if not (home / "ready").exists():
        shutil.rmtree(home, ignore_errors=True)
        venv.create(home, with_pip=False, symlinks=True)
        site = Path(sysconfig.get_path("purelib", vars={"base": str(home), "platbase": str(home)}))
        (site / "ours.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
        command = [sys.executable, "-m", "pip", "--python", str(python), "install", "-q", "-c", "constraints.txt", PEER]
        if subprocess.run(command, check=False).returncode:
            return None
        (home / "ready").touch()
    return str(python)


def _run(name: str, python: str) -> dict[str, float]:
    command = [python, "-W", "ignore", "-m", "benchmarks.training", name]
    quiet = {**os.environ, "GOMP_SPINCOUNT": "1000"}  # threads that wait would count as CPU-seconds
    told = subprocess.run(command, capture_output=True, text=True, check=False, env=quiet)
    if told.returncode:
        raise RuntimeError(f"{name}: {told.stderr[-2000:]}")
    result: dict[str, float] = json.loads(told.stdout.splitlines()[-1])
    return result


def _rows() -> list[Any]:
    from transformers import AutoTokenizer

    from vtuber_brain.context.personas import load_persona
    from vtuber_brain.engine.render import Renderer
    from vtuber_brain.retrain.conversations import Message
    from vtuber_brain.retrain.rows import Example, end_tokens, rows

    corpus = shipped("configs", "personas") / "mori" / "corpus.jsonl"
    examples = []
    for line in corpus.read_text(encoding="utf-8").splitlines()[:NUM_ROWS]:
        record = json.loads(line)
        said = tuple(Message(one["role"], one["content"]) for one in record["messages"])
        examples.append(Example(record["id"], "mori", frozenset(), said))
    base = Path(resolve(MODEL))
    renderer = Renderer(AutoTokenizer.from_pretrained(base))
    return rows(examples, renderer, load_persona("mori"), MAX_TOKENS, ends=end_tokens(base))


def _ours(dtype: str) -> dict[str, float]:
    from vtuber_brain.night_sections import TrainSettings
    from vtuber_brain.retrain.train import train

    rows, base = _rows(), Path(resolve(MODEL))
    settings = TrainSettings(dtype=dtype, epochs=1, checkpoint_steps=1000)
    with tempfile.TemporaryDirectory() as folder:
        done = train(base, rows, [], settings, Path(folder) / "lora")
    rss = _peak()
    return {
        "speed": done.row_tokens / done.cpu_s,
        "tokens": done.row_tokens,
        "computed": done.computed_tokens,
        "cpu_s": done.cpu_s,
        "rss": rss,
        "nll": _first_nll(rows[:NUM_JUDGED], settings),
    }


def _first_nll(rows: list[Any], settings: Any) -> float:
    """The mean over the rows of their mean costs, as `evaluate` of both trainers gives it for batches of one."""
    import torch

    from vtuber_brain.retrain.losses import row_costs
    from vtuber_brain.retrain.packs import PackAttention, packed
    from vtuber_brain.retrain.tuning import load_base, tune

    base = resolve(MODEL)
    tuned = tune(load_base(Path(base), settings, torch.device("cpu")), settings, base)
    tuned.model.eval()
    attention = PackAttention()
    with attention.serving(tuned.base):
        costs = row_costs(tuned.model, packed(rows, settings.pack_tokens), attention, tuned.cast())
    return float(costs.mean())


def _dataset() -> list[dict[str, list[int]]]:
    """The rows as both trainers take them."""
    return [
        {
            "input_ids": list(row.tokens),
            "labels": [token if weight else -100 for token, weight in zip(row.tokens, row.weights, strict=True)],
        }
        for row in _rows()
    ]


def _trainer() -> dict[str, float]:
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import (
        AutoModelForCausalLM,
        AutoTokenizer,
        DataCollatorForSeq2Seq,
        Trainer,
        TrainingArguments,
    )

    base, data = resolve(MODEL), _dataset()
    torch.manual_seed(7)
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            folder,
            num_train_epochs=1,
            per_device_train_batch_size=8,
            per_device_eval_batch_size=1,
            use_cpu=True,
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
            learning_rate=2e-4,
        )
        trainer = Trainer(
            get_peft_model(model, LoraConfig(**LORA)),
            arguments,
            train_dataset=data,
            eval_dataset=data[:NUM_JUDGED],
            data_collator=DataCollatorForSeq2Seq(AutoTokenizer.from_pretrained(base)),
        )
        return _timed(trainer, data)


def _trl(**changed: Any) -> dict[str, float]:
    import torch
    from datasets import Dataset
    from peft import LoraConfig
    from trl import SFTConfig, SFTTrainer

    data = _dataset()
    torch.manual_seed(7)
    with tempfile.TemporaryDirectory() as folder:
        arguments = SFTConfig(
            folder,
            num_train_epochs=1,
            per_device_eval_batch_size=1,
            use_cpu=True,
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
            dataset_kwargs={"skip_prepare_dataset": True},
            **changed,
        )
        trainer = SFTTrainer(
            resolve(MODEL),
            arguments,
            train_dataset=Dataset.from_list(data),
            eval_dataset=Dataset.from_list(data[:NUM_JUDGED]),
            peft_config=LoraConfig(**LORA),
        )
        return _timed(trainer, data)


def _timed(trainer: Any, data: list[dict[str, list[int]]]) -> dict[str, float]:
    nll = trainer.evaluate()["eval_loss"]
    start_s = time.process_time()
    trainer.train()
    cpu_s, tokens = time.process_time() - start_s, sum(len(row["input_ids"]) for row in data)
    return {"speed": tokens / cpu_s, "tokens": tokens, "computed": tokens, "cpu_s": cpu_s, "rss": _peak(), "nll": nll}


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


_WAYS: dict[str, Callable[[], dict[str, float]]] = {
    "ours": lambda: _ours("auto"),
    "ours, fp32": lambda: _ours("fp32"),
    "plain Trainer + peft, fp32, batches of 8": _trainer,
    "TRL SFTTrainer, defaults": _trl,
    "TRL SFTTrainer, fp32": lambda: _trl(bf16=False, model_init_kwargs={"dtype": "float32"}),
}


if __name__ == "__main__":
    print(json.dumps(_WAYS[sys.argv[1]]()))

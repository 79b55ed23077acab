"""The step `trained` of a night whose lora was trained elsewhere: it is taken over as a plain PEFT directory."""

from importlib.metadata import version
from pathlib import Path
from typing import Any

from vtuber_brain.engine.loras import largest_rank
from vtuber_brain.releases.manifest import Fingerprint
from vtuber_brain.retrain.foreign import Foreign
from vtuber_brain.retrain.journal import Results
from vtuber_brain.retrain.matching import take_over
from vtuber_brain.retrain.task import Task


def arrival_inputs(foreign: Foreign, base: Fingerprint) -> dict[str, Any]:
    """What decides the outcome: its two files, and the base it is to fit."""
    return {"imported": foreign.content, "base": base.model_dump()}


def arrival(task: Task, foreign: Foreign, base: Fingerprint, folder: Path) -> Results:
    """The lora as the engine takes it, and where it came from. Raises LoraRejected, with what to do."""
    out = folder / "lora"
    match = take_over(foreign, out, task.base, task.base_name, base, task.configure.max_lora_rank)
    for note in match.notes:
        task.say(f"  {note}")
    told = {
        "from": foreign.folder.name,
        "trainer": foreign.trainer,
        "base": foreign.base,
        "fits_by": match.by,
        "notes": list(match.notes),
        "rank": largest_rank(out),
        "alpha": foreign.config.get("lora_alpha"),
        "rslora": bool(foreign.config.get("use_rslora")),
        "targets": foreign.config.get("target_modules"),
        "peft": foreign.config.get("peft_version"),
    }
    figures = {
        "imported": told,
        "steps": 0,
        "row_tokens": 0,
        "cpu_s": 0.0,
        "peak_bytes": 0,
        "versions": {name: version(name).partition("+")[0] for name in ("torch", "transformers", "peft")},
    }
    return Results({"lora": out, "log.jsonl": b""}, figures)

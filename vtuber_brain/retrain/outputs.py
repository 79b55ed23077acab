"""What a run leaves: a PEFT directory as PEFT writes it, or a whole model's folder; and a lora merged into a copy."""

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, GenerationConfig

from vtuber_brain.engine.load import base_hash
from vtuber_brain.engine.loras import read_lora
from vtuber_brain.errors import ConfigError, Problem
from vtuber_brain.retrain.checkpoints import whole
from vtuber_brain.retrain.matching import shapes_of
from vtuber_brain.retrain.tuning import Tuned

MAX_RANK = 4096
_BESIDE_WEIGHTS = (
    "tokenizer*",
    "vocab*",
    "merges.txt",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template*",
    "*.model",
    "generation_config.json",
)


def save_trained(tuned: Tuned, base: Path, out: Path, base_name: str) -> None:
    """Write what was trained to `out`, which appears whole; the same weights give the same bytes."""
    with whole(out) as folder:
        if tuned.model is tuned.base:
            _save_model(tuned.model.to(_dtype(base)), base, folder)
        else:
            _save_lora(tuned, folder, base_name)


def merged(base: Path, lora: Path, out: Path) -> None:
    """The base with the lora added to its weights, for engines that take no lora: a folder of its own, in fp32.

    `base` and `lora` stay as they are. Raises ConfigError where `out` is there already.
    """
    if out.exists():
        raise ConfigError([Problem(str(out), "already there", "Give a folder that does not exist yet")])
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32, local_files_only=True)
    whole_model = PeftModel.from_pretrained(model, lora, local_files_only=True).merge_and_unload(safe_merge=True)
    with whole(out) as folder:
        _save_model(whole_model, base, folder)


def export_merged(base: Path, lora: Path, out: Path) -> None:
    """`merged` of a lora that is known to be of this base.

    Raises ConfigError where `out` is taken, LoraRejected for one that does not fit the base or is no plain lora.
    """
    read_lora(lora, shapes_of(base), MAX_RANK, base_hash(str(base)))
    merged(base, lora, out)


def _save_lora(tuned: Tuned, folder: Path, base_name: str) -> None:
    """In the type it was computed in: bf16 halves the file, and the live engine would round to it anyway."""
    model, lora = tuned.model, tuned.model.peft_config["default"]
    for parameter in tuned.trained.values():
        parameter.data = parameter.data.to(tuned.dtype)
    lora.base_model_name_or_path = base_name
    lora.target_modules = sorted(lora.target_modules)  # a set comes in any order
    model.save_pretrained(folder, save_embedding_layers=False)
    (folder / "README.md").unlink(missing_ok=True)
    (folder / "adapter_model.safetensors").chmod(0o644)


def _save_model(model: Any, base: Path, folder: Path) -> None:
    """Weights and config by transformers, the rest copied from the base byte for byte."""
    model.config.use_cache = True
    model.generation_config = GenerationConfig.from_model_config(model.config)  # the base's own is copied after it
    model.save_pretrained(folder)
    for pattern in _BESIDE_WEIGHTS:
        for path in base.glob(pattern):
            shutil.copyfile(path, folder / path.name)


def _dtype(base: Path) -> torch.dtype:
    """What the base's weights were saved in."""
    config = json.loads((base / "config.json").read_text(encoding="utf-8"))
    dtype = getattr(torch, str(config.get("dtype") or config.get("torch_dtype")), torch.float32)
    return dtype if isinstance(dtype, torch.dtype) else torch.float32

"""A PEFT directory, read and checked before any of it is used. It holds no place in the bank and touches no model.

What PEFT can write and this reader refuses is refused by name: a lora that is only partly understood would answer in
another voice. https://huggingface.co/docs/peft/package_reference/lora names the keys of adapter_config.json.
"""

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from vtuber_brain.errors import LoraRejected

CONFIG, WEIGHTS, MANIFEST = "adapter_config.json", "adapter_model.safetensors", "manifest.json"
_KEY = re.compile(r"^(?:base_model\.model\.)?(?P<module>.+)\.lora_(?P<side>[AB])\.weight$")
_OFF: dict[str, tuple[Any, ...]] = {
    "use_dora": (None, False),
    "modules_to_save": (None, []),
    "bias": (None, "none"),
    "lora_bias": (None, False),
    "trainable_token_indices": (None, [], {}),
    "target_parameters": (None, []),
    "layer_replication": (None, []),
    "alora_invocation_tokens": (None, []),
    "use_qalora": (None, False),
    "use_bdlora": (None, False),
    "arrow_config": (None,),
    "kasa_config": (None,),
    "monteclora_config": (None,),
}
MAX_ALPHA = 1e6
_CHANGES_THE_BASE = ("pissa", "olora", "corda", "loftq", "lora_ga")
_SCALING = ("lora_alpha", "r", "use_rslora", "rank_pattern", "alpha_pattern")

Shapes = Mapping[str, tuple[int, int]]
"""Inputs and outputs of every projection of the model that may carry a lora, by module name."""


@dataclass(frozen=True, slots=True)
class LoraWeights:
    """One lora, ready to be copied: `matrices[module]` is A `[rank, inputs]` and B `[outputs, rank]`, B scaled.

    `fine` are the same numbers as float32, where the engine wants them and they were staged for it.
    """

    content_hash: str
    rank: int
    matrices: dict[str, tuple[Tensor, Tensor]] = field(repr=False)
    fine: dict[str, tuple[Tensor, Tensor]] = field(default_factory=dict, repr=False)


def read_lora(folder: Path, shapes: Shapes, max_rank: int, base_hash: str | None = None) -> LoraWeights:
    """Read and check `folder`. `base_hash` is the served base's, compared with a manifest's when there is one.

    Raises LoraRejected naming the file, what is wrong with it, and what to do.
    """
    config = _config(folder)
    _check_manifest(folder, base_hash)
    try:
        with safe_open(folder / WEIGHTS, framework="pt", device="cpu") as file:
            modules = _modules(file.keys(), shapes)
            _check_shapes(file, modules, shapes, max_rank)
            matrices = {module: _matrices(file, keys, module, config) for module, keys in modules.items()}
        content = (folder / WEIGHTS).read_bytes()
    except FileNotFoundError:
        raise LoraRejected(f"{folder / WEIGHTS} is missing; save the lora with safetensors") from None
    except (OSError, SafetensorError) as error:
        raise LoraRejected(f"{folder / WEIGHTS} cannot be read: {error}") from None
    scaling = json.dumps({key: config.get(key) for key in _SCALING}, sort_keys=True)
    rank = max(a.shape[0] for a, _ in matrices.values())
    return LoraWeights(hashlib.sha256(content + scaling.encode()).hexdigest(), rank, matrices)


def largest_rank(folder: Path) -> int:
    """The largest rank in the file of `folder`; 0 where it cannot be read, which `read_lora` will say better."""
    try:
        with safe_open(folder / WEIGHTS, framework="pt", device="cpu") as file:
            return max((file.get_slice(key).get_shape()[0] for key in file.keys() if ".lora_A." in key), default=0)  # noqa: SIM118
    except (OSError, SafetensorError):
        return 0


def has_manifest(folder: Path) -> bool:
    """Whether the directory is a release that tells which base it was made for."""
    return (folder / MANIFEST).exists()


def _config(folder: Path) -> dict[str, Any]:
    path = folder / CONFIG
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise LoraRejected(f"{path}: {error.strerror}; give a directory that PEFT has saved") from None
    except (ValueError, RecursionError) as error:
        raise LoraRejected(f"{path} is not JSON: {error}") from None
    if not isinstance(config, dict) or config.get("peft_type") != "LORA":
        raise LoraRejected(f"{path}: peft_type is not LORA")
    for key, off in _OFF.items():
        if config.get(key) not in off:
            raise LoraRejected(f"{path}: {key} is not supported; train without it, or merge it into the base")
    start = config.get("init_lora_weights")
    if isinstance(start, str) and start.startswith(_CHANGES_THE_BASE):
        raise LoraRejected(
            f"{path}: init_lora_weights {start!r} changed the base; convert it to a plain lora with PEFT"
        )
    patterns = config.get("alpha_pattern") or {}
    if not isinstance(config.get("r"), int) or not isinstance(patterns, dict):
        raise LoraRejected(f"{path}: r must be a number, alpha_pattern a table of numbers")
    if not all(_is_factor(alpha) for alpha in (config.get("lora_alpha"), *patterns.values())):
        raise LoraRejected(f"{path}: lora_alpha and what alpha_pattern holds must be numbers up to {MAX_ALPHA:g}")
    return config


def _is_factor(value: object) -> bool:
    return isinstance(value, int | float) and abs(value) <= MAX_ALPHA  # which NaN is not


def _check_manifest(folder: Path, base_hash: str | None) -> None:
    path = folder / MANIFEST
    if base_hash is None or not path.exists():
        return
    try:
        made_for = str(json.loads(path.read_text(encoding="utf-8"))["base"]["sha256"])
    except (OSError, ValueError, RecursionError, KeyError, TypeError):
        raise LoraRejected(f"{path} does not tell base.sha256; publish the release again") from None
    if made_for != base_hash:
        raise LoraRejected(f"{path}: made for another base model ({made_for[:12]}, served is {base_hash[:12]})")


def _modules(keys: list[str], shapes: Shapes) -> dict[str, dict[str, str]]:
    """The file's keys of sides A and B, by module of the model."""
    modules: dict[str, dict[str, str]] = {}
    for key in keys:
        found = _KEY.match(key)
        if found is None:
            raise LoraRejected(f"{WEIGHTS}: {key} is no part of a plain lora")
        if found["module"] not in shapes:
            raise LoraRejected(f"{WEIGHTS}: the model has no projection {found['module']} that can carry a lora")
        modules.setdefault(found["module"], {})[found["side"]] = key
    if not modules:
        raise LoraRejected(f"{WEIGHTS} holds no lora")
    for module, sides in modules.items():
        if len(sides) != 2:
            raise LoraRejected(f"{WEIGHTS}: {module} lacks one of lora_A and lora_B")
    return modules


def _check_shapes(file: Any, modules: Mapping[str, Mapping[str, str]], shapes: Shapes, max_rank: int) -> None:
    """By the file's header alone: nothing large is read before it is known to fit."""
    for module, sides in modules.items():
        inputs, outputs = shapes[module]
        a, b = (file.get_slice(sides[side]).get_shape() for side in "AB")
        rank = a[0] if a else 0
        if a != [rank, inputs] or b != [outputs, rank]:
            expected = f"[r, {inputs}] and [{outputs}, r]"
            raise LoraRejected(f"{WEIGHTS}: {module} has shapes {a} and {b}, the model needs {expected}")
        if not 1 <= rank <= max_rank:
            raise LoraRejected(f"{WEIGHTS}: {module} has rank {rank}; engine.max_lora_rank is {max_rank}")


def _matrices(file: Any, keys: Mapping[str, str], module: str, config: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
    a, b = (file.get_tensor(keys[side]) for side in "AB")
    for key, matrix in zip((keys["A"], keys["B"]), (a, b), strict=True):
        if not matrix.is_floating_point():
            raise LoraRejected(f"{WEIGHTS}: {key} is {matrix.dtype}, not floating point")
        if not matrix.isfinite().all():
            raise LoraRejected(f"{WEIGHTS}: {key} holds NaN or infinite numbers")
    rank = a.shape[0]
    alpha = _by_pattern(config.get("alpha_pattern") or {}, module, config["lora_alpha"])
    scale = alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)
    return a.to(torch.float32), b.to(torch.float32) * scale


def _by_pattern(patterns: Mapping[str, float], module: str, default: float) -> float:
    """PEFT's rule: the first pattern that matches the module's whole name, or all of its end after a dot."""
    for pattern, value in patterns.items():
        try:
            found = re.fullmatch(rf"(?:.*\.)?(?:{pattern})", module)
        except re.error as error:
            raise LoraRejected(f"{CONFIG}: alpha_pattern {pattern!r} is no regular expression: {error}") from None
        if found:
            return value
    return default

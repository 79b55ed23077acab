"""A lora that was trained elsewhere: found in what its trainer left, read without a pickle, made a plain PEFT folder.

TRL, Unsloth, Axolotl, AutoTrain and Olive all write PEFT's files, each with more beside them: checkpoints, tokenizers,
optimizers, credentials. Three kinds of files are read here and no others: the lora's two, a tokenizer's vocabulary and
template, and a few words that tell the trainer. What the engine cannot serve is refused by `engine/loras.py`, by name.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save

from vtuber_brain.engine.loras import CONFIG, WEIGHTS
from vtuber_brain.errors import ConfigError, LoraRejected, Problem
from vtuber_brain.retrain.journal import hash_path

PICKLES = ("adapter_model.bin", "adapter_model.pt", "adapter_model.pth")
MAX_DEPTH, MAX_TEXT = 3, 65_536
_CHECKPOINT = re.compile(r"checkpoint-(\d+)")
_WRAPPERS = ("_orig_mod.", "_fsdp_wrapped_module.", "_checkpoint_wrapped_module.")
"""What torch.compile, FSDP and checkpointing put into the names of weights."""
_NAMED = re.compile(r"\.lora_(?P<side>[AB])\.(?!weight$)[^.]+\.weight$")
_TRAINERS = ("unsloth", "axolotl", "autotrain", "olive", "trl", "llama-factory")


@dataclass(frozen=True, slots=True)
class Foreign:
    """What was found: the `folder` with PEFT's files, its settings, who trained it, and the base as they call it."""

    folder: Path
    config: dict[str, Any]
    trainer: str
    base: str

    @property
    def content(self) -> str:
        """SHA-256 of the files that are taken over."""
        return hash_path(self.folder / CONFIG) + hash_path(self.folder / WEIGHTS)


def find(folder: Path) -> Foreign:
    """The lora in what a trainer left in `folder`. Raises LoraRejected; ConfigError where there is none or are many."""
    if not folder.is_dir():
        raise ConfigError([Problem(str(folder), "no such folder", "Give the folder that the trainer has written")])
    own = _lora_folder(folder)
    for name in PICKLES:
        if (own / name).exists() and not (own / WEIGHTS).exists():
            raise LoraRejected(
                f"{own / name} is a pickle, which may run any code when it is opened, so it never is. Save it again "
                f"where it was trained: model.save_pretrained(DIR, safe_serialization=True) writes {WEIGHTS}"
            )
    config = _object(own / CONFIG)
    if config.get("peft_type") != "LORA":
        raise LoraRejected(f"{own / CONFIG}: peft_type is {config.get('peft_type')!r}, not LORA as PEFT writes it")
    if not (own / WEIGHTS).is_file():
        raise LoraRejected(f"{own / WEIGHTS} is missing; save the lora with safetensors")
    return Foreign(own, config, _trainer(folder, own, config), str(config.get("base_model_name_or_path") or ""))


def plain(foreign: Foreign, out: Path, base_name: str) -> None:
    """Write it to `out` as the engine takes it: two files, names without wrappers, its base by our name.

    Raises LoraRejected for weights that cannot be read, OSError for a disk that takes no more.
    """
    out.mkdir(parents=True, exist_ok=True)
    config = {**foreign.config, "base_model_name_or_path": base_name}
    try:
        weights = load_file(foreign.folder / WEIGHTS)
    except (OSError, SafetensorError) as error:
        raise LoraRejected(f"{foreign.folder / WEIGHTS} cannot be read: {error}") from None
    named = {_plain_key(key): tensor.contiguous() for key, tensor in weights.items()}
    if len(named) != len(weights):
        raise LoraRejected(f"{foreign.folder / WEIGHTS} holds several loras in one file; save the one that is meant")
    (out / WEIGHTS).write_bytes(save({key: named[key] for key in sorted(named)}, {"format": "pt"}))
    (out / CONFIG).write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _plain_key(key: str) -> str:
    """`base_model.model.X._orig_mod.lora_A.default.weight` is `base_model.model.X.lora_A.weight`."""
    for wrapper in _WRAPPERS:
        key = key.replace(wrapper, "")
    return _NAMED.sub(r".lora_\g<side>.weight", key.removeprefix("module."))


def _lora_folder(folder: Path) -> Path:
    """The folder itself, else the checkpoint that was best or came last, else the one folder below that is a lora."""
    if (folder / CONFIG).is_file():
        return folder
    numbered = [(int(found[1]), path) for path in folder.iterdir() if (found := _CHECKPOINT.fullmatch(path.name))]
    if numbered:
        _, last = max(numbered)
        best = str(_quiet_object(last / "trainer_state.json").get("best_model_checkpoint") or "")
        chosen = next((path for _, path in numbered if path.name == Path(best).name), last)
        if (chosen / CONFIG).is_file():
            return chosen
    depths = ["*/" * depth + CONFIG for depth in range(1, MAX_DEPTH + 1)]
    there = sorted(path.parent for pattern in depths for path in folder.glob(pattern))
    if len(there) == 1:
        return there[0]
    if there:
        named = ", ".join(str(path.relative_to(folder)) for path in there[:8])
        raise ConfigError([Problem(str(folder), f"holds {len(there)} loras: {named}", "Give the folder of one")])
    if (folder / "config.json").is_file():
        fix = "Give the lora before it was merged, or serve the model itself: model.path"
        raise ConfigError([Problem(str(folder), f"holds a whole model and no {CONFIG}", fix)])
    raise ConfigError([Problem(str(folder), f"holds no {CONFIG}", "Give the folder that PEFT has saved")])


def _trainer(folder: Path, own: Path, config: dict[str, Any]) -> str:
    """Who wrote it, by the marks each leaves; `unknown` is no harm."""
    mapping = config.get("auto_mapping")
    if isinstance(mapping, dict) and mapping.get("unsloth_fixed"):
        return "unsloth"
    if any((place / "training_params.json").is_file() for place in (folder, own)):
        return "autotrain"
    words = "\n".join(_text(place / "README.md") for place in dict.fromkeys((own, folder))).lower()
    if found := next((name for name in _TRAINERS if re.search(rf"\b{name}\b", words)), None):
        return found
    marks = ("footprint.json", "model_config.json", "olive_config.json")
    return "olive" if any((folder / name).is_file() for name in marks) else "unknown"


def _object(path: Path) -> dict[str, Any]:
    """A file that must be a JSON object."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise LoraRejected(f"{path}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise LoraRejected(f"{path} is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise LoraRejected(f"{path} is no JSON object")
    return found


def _quiet_object(path: Path) -> dict[str, Any]:
    """The same of a file that is a hint at most."""
    try:
        return _object(path)
    except LoraRejected:
        return {}


def _text(path: Path) -> str:
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return file.read(MAX_TEXT)
    except OSError:
        return ""

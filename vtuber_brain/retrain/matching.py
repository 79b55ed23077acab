"""Whether a lora that was trained elsewhere fits the base that is served: by hash where that can be known, by shape.

Nothing is fetched: a hub's name is looked up among what the machine has already.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.pytorch_utils import Conv1D

from vtuber_brain.engine.load import base_hash
from vtuber_brain.engine.loras import MANIFEST, Shapes, read_lora
from vtuber_brain.errors import LoraRejected
from vtuber_brain.releases.manifest import Fingerprint
from vtuber_brain.retrain.foreign import Foreign, plain

BY_MANIFEST, BY_HASH, BY_NAME, BY_SHAPE = "manifest", "hash", "name", "shape"


@dataclass(frozen=True, slots=True)
class Match:
    """How it was found to fit, `by` the surest of manifest, hash, name and shape; `notes` are for whoever decides."""

    by: str
    notes: tuple[str, ...] = ()


def take_over(foreign: Foreign, out: Path, base: Path, base_name: str, served: Fingerprint, max_rank: int) -> Match:
    """Write it to `out` as a plain PEFT directory that the engine will take. Raises LoraRejected, with what to do."""
    by, notes = _base(foreign, base_name, served)
    notes += _words(foreign.folder, base)
    plain(foreign, out, base_name)
    read_lora(out, shapes_of(base), max_rank)
    return Match(by, tuple(notes))


def shapes_of(base: Path) -> Shapes:
    """Inputs and outputs of every projection of the model in `base`; none of its weights is read."""
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(base, local_files_only=True))
    head = model.get_output_embeddings()
    found = {}
    for name, module in model.named_modules():
        if module is not head and type(module) in (torch.nn.Linear, Conv1D):
            rows, columns = module.weight.shape
            found[name] = (rows, columns) if isinstance(module, Conv1D) else (columns, rows)
    return found


def _base(foreign: Foreign, base_name: str, served: Fingerprint) -> tuple[str, list[str]]:
    """By what its base is known to be ours. Raises LoraRejected where it is known to be another."""
    made_for = _manifest_base(foreign.folder)
    if made_for is not None:
        _check(made_for, served.base, f"{foreign.folder / MANIFEST}")
        return BY_MANIFEST, []
    there = _folder_of(foreign.base)
    if there is not None and (found := base_hash(str(there))) is not None:
        if not _is_quantised(there):
            _check(found, served.base, f"its base {foreign.base}")
            return BY_HASH, []
        return BY_SHAPE, [f"its base {foreign.base} is a quantised copy, which has no hash in common with ours"]
    if foreign.base and foreign.base == base_name:
        return BY_NAME, []
    return BY_SHAPE, [f"its base {foreign.base or 'has no name and'} is not on this machine; the shapes fit ours"]


def _check(found: str, served: str | None, what: str) -> None:
    if found != served:
        raise LoraRejected(
            f"{what} is another model ({found[:12]}, served is {(served or 'none')[:12]}): serve that one "
            "(model.path), or train on the one that is served"
        )


def _manifest_base(folder: Path) -> str | None:
    """The base's hash in a manifest of ours; None where there is none."""
    try:
        told = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["base"]["sha256"]
    except (OSError, ValueError, RecursionError, KeyError, TypeError):
        return None
    return told if isinstance(told, str) else None


def _folder_of(name: str) -> Path | None:
    """Where a base lies on this machine: a path, or what was fetched from the hub before."""
    if not name:
        return None
    path = Path(name).expanduser()
    if path.is_dir():
        return path
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, local_files_only=True))
    except (LocalEntryNotFoundError, HFValidationError, OSError):
        return None


def _is_quantised(folder: Path) -> bool:
    return "quantization_config" in _json(folder / "config.json")


def _words(lora: Path, base: Path) -> list[str]:
    """What there is to say of its tokenizer and template. Raises LoraRejected when it reads words as other tokens."""
    notes = []
    theirs, ours = (_vocabulary(_json(folder / "tokenizer.json")) for folder in (lora, base))
    if theirs and ours:
        if other := [token for token, number in ours.items() if theirs.get(token) != number]:
            raise LoraRejected(
                f"{lora / 'tokenizer.json'}: {len(other)} tokens are other ones than the served base's, such as "
                f"{other[0]!r}: train with the tokenizer of the base"
            )
        if more := len(theirs) - len(ours):
            notes.append(f"its tokenizer has {more} tokens more than ours, which will never be used")
    template = _template(lora)
    if template is not None and template != _template(base):
        notes.append("it was trained with another chat template than the one it will be served with")
    return notes


def _vocabulary(tokenizer: Mapping[str, Any]) -> dict[str, int]:
    """Every token's number, of a tokenizer.json."""
    model = tokenizer.get("model")
    vocabulary = model.get("vocab") if isinstance(model, dict) else None
    found = dict(vocabulary) if isinstance(vocabulary, dict) else {}
    if isinstance(vocabulary, list):  # of a unigram model: pairs of token and score
        found = {str(pair[0]): number for number, pair in enumerate(vocabulary)}
    added = tokenizer.get("added_tokens")
    for token in added if isinstance(added, list) else []:
        if isinstance(token, dict) and "content" in token:
            found[str(token["content"])] = token.get("id")
    return found


def _template(folder: Path) -> str | None:
    try:
        return (folder / "chat_template.jinja").read_text(encoding="utf-8").strip()
    except OSError:
        found = _json(folder / "tokenizer_config.json").get("chat_template")
    return found.strip() if isinstance(found, str) else None


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}

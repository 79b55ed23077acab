"""What a release is made for, by hashes: a model folder's weights, its tokenizer and its chat template."""

import hashlib
import json
from pathlib import Path
from typing import Any

from vtuber_brain.engine.load import base_hash
from vtuber_brain.releases.manifest import Fingerprint

_TOKENIZER = (
    "added_tokens.json",
    "merges.txt",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer.model",
    "vocab.json",
    "vocab.txt",
)
_CONFIG, _TEMPLATE = "tokenizer_config.json", "chat_template.jinja"


def fingerprint(model: Path) -> Fingerprint:
    """Of the model in the folder `model`; None for each part it does not have. Raises OSError."""
    config = _config(model)
    template = config.pop("chat_template", None)
    if (model / _TEMPLATE).is_file():
        template = (model / _TEMPLATE).read_text(encoding="utf-8")
    there = [model / name for name in _TOKENIZER if (model / name).is_file()]
    parts = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in there}
    return Fingerprint(
        base=base_hash(str(model)),
        tokenizer=_hash({"files": parts, "config": config}) if parts else None,
        chat_template=_hash(template) if template else None,
    )


def _config(model: Path) -> dict[str, Any]:
    try:
        config = json.loads((model / _CONFIG).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return config if isinstance(config, dict) else {}


def _hash(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()

"""Trains the two-headed lora of the classifier: `vtuber-brain retrain --classifier`, read from top to bottom.

The base and the classifier in use are never changed, `out` appears whole or not at all, and its manifest says how the
weights came to be and how they compare.
"""

import contextlib
import hashlib
import json
import os
import random
import shutil
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

from vtuber_brain.errors import ConfigError, Problem
from vtuber_brain.messages import Mood
from vtuber_brain.retrain.classifier_comparison import Compared, Moods, compare
from vtuber_brain.retrain.classifier_data import Example, emote_examples, ironic, read_folder, read_slang, split
from vtuber_brain.retrain.classifier_fit import (
    TARGETS,
    Progress,
    TrainSettings,
    build_model,
    fit,
    fold_temperatures,
    predict,
)
from vtuber_brain.retrain.classifier_scores import Scores, score
from vtuber_brain.sentiment.model import Reader, load, merged
from vtuber_brain.sentiment.wire import Configure


@dataclass(frozen=True, slots=True)
class InUse:
    """The classifier to beat. A text counts as toxic from `threshold` (0..1) on."""

    configure: Configure
    threshold: float


@dataclass(frozen=True, slots=True)
class Trained:
    """What was trained: its scores on held-out rows, and how it compares with the classifier in use."""

    scores: Scores
    compared: Compared


def train_classifier(
    base: Path,
    data: Path,
    out: Path,
    *,
    settings: TrainSettings,
    in_use: InUse,
    corrections: Sequence[Example] = (),
    progress: Progress,
) -> Trained:
    """Train on `data` and `corrections`, write a PEFT folder to `out` (which must not exist) and compare.

    The same seed, data, thread count and package versions give the same weights. Raises ConfigError for a base, data
    folder or `out` that cannot be used, RecordError for a bad record, ModelRefused for the classifier in use.
    Temperatures (Guo et al. 2017) are folded into the head, so that whoever loads the folder gets calibrated
    probabilities.
    """
    _refuse_existing(out)
    torch.set_num_threads(settings.threads)
    started_s = time.monotonic()
    examples = [*read_folder(data, [settings.chat_lines]), *emote_examples(), *corrections]
    training, held = split(examples, settings.hold_out, settings.seed)
    training += ironic(training, random.Random(settings.seed))  # noqa: S311 - it chooses lines
    progress(f"{len(training)} examples to train on, {len(held)} held out; {len(corrections)} decisions among them")
    before = _serving(in_use.configure)
    torch.manual_seed(settings.seed)
    model = build_model(base, settings)
    reader = Reader(AutoTokenizer.from_pretrained(base), settings.max_tokens)
    fit(model, reader, training, read_slang(data / "slang_id.json"), settings, progress)
    fold_temperatures(model, predict(model, reader, held), held)
    with published(out) as folder:
        save(model, folder, settings)
        scores = score(predict(load_saved(base, folder), reader, held), held)
        after = _serving(replace(in_use.configure, model=str(base), lora=str(folder), labels={}))
        trained = Trained(scores, compare(held, before, after, in_use.threshold))
        write_manifest(folder, settings, training, trained, time.monotonic() - started_s)
        shutil.copy(settings.chat_lines, folder)
    return trained


def save(model: Any, folder: Path, settings: TrainSettings) -> None:
    """A PEFT folder in bf16 with the config that names the labels; nothing in it depends on this machine."""
    for parameter in model.parameters():
        parameter.data = parameter.data.bfloat16()
    lora, config = model.peft_config["default"], model.base_model.model.config
    lora.base_model_name_or_path = settings.base_name
    lora.target_modules, lora.modules_to_save = TARGETS, ["classifier"]  # lists: peft's sets come in any order
    model.save_pretrained(folder, save_embedding_layers=False)
    config.dtype = torch.float32
    config.save_pretrained(folder)
    (folder / "adapter_model.safetensors").chmod(0o644)
    (folder / "README.md").unlink(missing_ok=True)


def load_saved(base: Path, folder: Path) -> Any:
    """What the worker will serve: the saved lora merged into the base, in fp32."""
    config = AutoConfig.from_pretrained(folder)
    plain = AutoModelForSequenceClassification.from_pretrained(
        base, config=config, dtype=torch.float32, ignore_mismatched_sizes=True
    )
    return merged(plain, folder).eval()


def _serving(configure: Configure) -> Moods:
    """A classifier as it is served, in this process. Raises ModelRefused."""
    model, size = load(configure), configure.max_batch

    def moods(texts: Sequence[str]) -> list[Mood]:
        rows = model.ids(texts)
        return [mood for start in range(0, len(rows), size) for mood in model.moods(rows[start : start + size])]

    return moods


def write_manifest(
    folder: Path, settings: TrainSettings, training: Sequence[Example], trained: Trained, took_s: float
) -> None:
    """How these weights came to be: settings, counts and hash of the data, versions, scores, the comparison."""
    manifest = {
        "base": settings.base_name,
        "settings": asdict(settings) | {"chat_lines": settings.chat_lines.name},
        "data_sha256": hashlib.sha256("\n".join(map(repr, training)).encode()).hexdigest(),
        "examples": dict(sorted(Counter(example.origin for example in training).items())),
        "scores": asdict(trained.scores),
        "compared": asdict(trained.compared),
        "took_s": round(took_s),
        "versions": {name: version(name).split("+")[0] for name in ("torch", "transformers", "peft")},
    }
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")


@contextlib.contextmanager
def published(out: Path) -> Iterator[Path]:
    """A temporary folder beside `out` that becomes `out` when the block ends well, and goes away when it does not."""
    temporary = out.with_name(f".{out.name}.{os.getpid()}")
    temporary.mkdir(parents=True)
    try:
        yield temporary
        for path in (*temporary.iterdir(), temporary):
            _sync(path)
        temporary.rename(out)
        _sync(out.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _refuse_existing(out: Path) -> None:
    if out.exists():
        raise ConfigError([Problem(str(out), "already there", "Give --out a folder that does not exist yet")])

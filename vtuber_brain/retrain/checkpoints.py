"""Where a run stands, on disk: weights, optimizer, best so far and figures, in folders that are whole or not believed.

A checkpoint is written aside, synced and renamed; a manifest holds the SHA-256 of each of its files. Nothing is ever
pickled. What dropout draws hangs on seed, step and pack alone, so that no generator's state needs keeping.
"""

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

log = structlog.get_logger(__name__)

KEPT = 2
Look = tuple[int, float | None, float | None]
"""A look at the validation rows: after which update, training nats a token since the last one, validation nats."""

_MANIFEST, _STATE = "manifest.json", "state.json"
_PARTS = ("weights", "moments", "best")


@dataclass(slots=True)
class Standing:
    """Where a run stands; every number in it comes out of the rows and the seed, but for the times."""

    step: int = 0
    computed_tokens: int = 0
    row_tokens: int = 0
    losses: list[float] = field(default_factory=list)
    looks: list[Look] = field(default_factory=list)
    best_step: int | None = None
    best_nll: float | None = None
    misses: int = 0
    stopped_by: str | None = None
    notes: list[str] = field(default_factory=list)
    cpu_s: float = 0.0
    wall_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A whole one, read. `moments` are the optimizer's, `best` is empty while nothing was looked at."""

    standing: Standing
    weights: dict[str, Tensor]
    moments: dict[str, Tensor]
    best: dict[str, Tensor]


@contextlib.contextmanager
def whole(folder: Path) -> Iterator[Path]:
    """A folder aside that becomes `folder` when the block ends well: synced, then renamed, never half there.

    Raises OSError, also for what safetensors says of a full disk in an error of its own.
    """
    draft = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    try:
        yield draft
        for path in (*sorted(draft.iterdir()), draft):
            sync(path)
        os.rename(draft, folder)  # noqa: PTH104 - beside the other calls of the system that make it last
        sync(folder.parent)
    except SafetensorError as error:
        raise OSError(f"{folder} cannot be written: {error}") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def sync(path: Path) -> None:
    """Have the disk hold a file's bytes, or a folder's names."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def save(folder: Path, checkpoint: Checkpoint, fingerprint: str) -> None:
    """Write the checkpoint of this step to `folder`, and leave only the newest there. Raises OSError."""
    target = folder / f"step-{checkpoint.standing.step:08d}"
    shutil.rmtree(target, ignore_errors=True)  # a torn one that a resumed run comes past again
    with whole(target) as draft:
        for name, tensors in zip(_PARTS, (checkpoint.weights, checkpoint.moments, checkpoint.best), strict=True):
            save_file({key: value.detach().cpu().contiguous() for key, value in tensors.items()}, draft / _file(name))
        standing = {key: getattr(checkpoint.standing, key) for key in Standing.__slots__}
        _write(draft / _STATE, {"fingerprint": fingerprint, "standing": standing})
        _write(draft / _MANIFEST, {path.name: _hash(path) for path in sorted(draft.iterdir())})
    for old in _there(folder)[KEPT:]:
        shutil.rmtree(old)


def latest(folder: Path, fingerprint: str) -> Checkpoint | None:
    """The newest whole checkpoint of the run with this fingerprint; torn ones are passed over with a warning.

    None: there is none. Raises ValueError where the newest whole one belongs to a run on other rows or settings.
    """
    for path in _there(folder):
        try:
            return _read(path, fingerprint)
        except (OSError, KeyError, TypeError, RecursionError, _TornError) as error:
            log.warning("checkpoint_torn", checkpoint=path.name, reason=str(error))
    return None


class _TornError(Exception):
    pass


def _read(path: Path, fingerprint: str) -> Checkpoint:
    manifest = _read_json(path / _MANIFEST)
    missing = {_STATE, *map(_file, _PARTS)} - manifest.keys()
    if missing:
        raise _TornError(f"{_MANIFEST} lacks {', '.join(sorted(missing))}")
    for name, digest in manifest.items():
        if _hash(path / name) != digest:
            raise _TornError(f"{name} is not what was written")
    state = _read_json(path / _STATE)
    if state["fingerprint"] != fingerprint:
        raise ValueError(f"{path} belongs to a run on other rows, settings or another base")
    standing = Standing(**state["standing"])
    standing.looks = [(step, train, nll) for step, train, nll in standing.looks]
    return Checkpoint(standing, *(load_file(path / _file(name)) for name in _PARTS))


def moments(optimizer: torch.optim.Optimizer, trained: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The optimizer's state as named tensors: `NAME|exp_avg` and the like."""
    return {
        f"{name}|{key}": value.clone()
        for name, parameter in trained.items()
        for key, value in optimizer.state.get(parameter, {}).items()
    }


def restore(optimizer: torch.optim.Optimizer, trained: Mapping[str, Tensor], saved: Mapping[str, Tensor]) -> None:
    """Give the optimizer the state that `moments` took."""
    for label, value in saved.items():
        name, _, key = label.rpartition("|")
        parameter = trained[name]
        optimizer.state[parameter][key] = value if key == "step" else value.to(parameter.device)


def _there(folder: Path) -> list[Path]:
    """Newest first."""
    return sorted(folder.glob("step-*"), reverse=True)


def _file(part: str) -> str:
    return f"{part}.safetensors"


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, sort_keys=True) + "\n", encoding="utf-8")


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise _TornError(f"{path.name} is not JSON: {error}") from None
    if not isinstance(content, dict):
        raise _TornError(f"{path.name} is no object")
    return content

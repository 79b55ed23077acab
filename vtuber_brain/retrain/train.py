"""`train`: from rows to a lora or a model, read from top to bottom. It may be killed at any moment and run again."""

import contextlib
import hashlib
import json
import resource
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from vtuber_brain.engine.load import base_hash
from vtuber_brain.errors import ConfigError, Problem
from vtuber_brain.night_sections import TrainSettings
from vtuber_brain.retrain import checkpoints
from vtuber_brain.retrain.checkpoints import Look, Standing
from vtuber_brain.retrain.loop import Plan, Run, load, new_optimizer
from vtuber_brain.retrain.losses import prove_packs_fit
from vtuber_brain.retrain.outputs import save_trained
from vtuber_brain.retrain.packs import PackAttention, packed
from vtuber_brain.retrain.processes import Processes, together
from vtuber_brain.retrain.progress import OnProgress, RunLog, Told
from vtuber_brain.retrain.rows import Row
from vtuber_brain.retrain.tuning import load_base, train_device, tune

_FIGURES = "trained.json"
_FREE = {"threads", "tensorboard", "checkpoint_steps"}
"""Settings that may differ when a run goes on."""


@dataclass(frozen=True, slots=True)
class Trained:
    """What came of a run. Tokens: `row_tokens` as if each row were alone with its opening, `computed_tokens` in fact.

    `looks` are (update, mean training nats since the last look, validation nats), the first of them before any update;
    `best_step` is the one whose weights were taken. `stopped_by` is epochs, patience or not_finite.
    """

    steps: int
    num_steps: int
    rows: int
    learnt_tokens: int
    row_tokens: int
    computed_tokens: int
    cpu_s: float
    wall_s: float
    peak_rss_bytes: int
    first_nll: float | None
    best_nll: float | None
    best_step: int | None
    looks: tuple[Look, ...]
    losses: tuple[float, ...]
    stopped_by: str
    notes: tuple[str, ...]
    packing_error: float
    fingerprint: str
    versions: dict[str, str]


def train(
    base: Path,
    rows: Sequence[Row],
    validation: Sequence[Row],
    settings: TrainSettings,
    out: Path,
    *,
    resume: bool = False,
    on_progress: OnProgress = lambda _told: None,
    base_name: str | None = None,
) -> Trained:
    """Train on `rows`, keep what costs least on `validation`, write it to `out`, which must not exist.

    Checkpoints and `log.jsonl` lie in `OUT.training` beside it; with `resume` the run goes on from there, and a run
    that had ended is not run again. `base_name` is what adapter_config.json calls the base (None: the path). Started
    by `torchrun` or `accelerate launch`, the processes share each update. Raises ConfigError, ModelRefused.
    """
    task = _Task(base, tuple(row for row in rows if row.num_learnt), tuple(validation), settings, out, base_name)
    with together(train_device(settings)) as processes:
        trained = _done(task, resume=resume) or _train(task, processes, on_progress, resume=resume)
        if processes.first:
            for path in work_folder(out).glob("step-*"):  # also those that a run killed at its very end left
                shutil.rmtree(path)
        processes.wait()
        return trained


def work_folder(out: Path) -> Path:
    """Where the run that ends in `out` keeps its checkpoints and its log."""
    return out.with_name(f"{out.name}.training")


def fingerprint(base: Path, rows: Sequence[Row], validation: Sequence[Row], settings: TrainSettings) -> str:
    """Hex SHA-256 of all that decides the outcome: the base's weights, every row, the settings."""
    digest = hashlib.sha256(f"{base_hash(str(base))}\n{settings.model_dump_json(exclude=_FREE)}\n".encode())
    for part in (rows, validation):
        for row in part:
            digest.update(repr((row.tokens, row.weights, row.num_opening, row.id, row.group)).encode())
        digest.update(b"\n")
    return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class _Task:
    """What `train` was asked for; its rows are those in which something is learnt."""

    base: Path
    rows: tuple[Row, ...]
    validation: tuple[Row, ...]
    settings: TrainSettings
    out: Path
    base_name: str | None

    @property
    def fingerprint(self) -> str:
        return fingerprint(self.base, self.rows, self.validation, self.settings)


def _done(task: _Task, *, resume: bool) -> Trained | None:
    """The figures of a run that ended. Raises ConfigError where `out` is taken by something else."""
    if not task.out.exists():
        return None
    if resume:
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
            trained = _figures(json.loads((work_folder(task.out) / _FIGURES).read_text(encoding="utf-8")))
            if trained.fingerprint == task.fingerprint:
                return trained
    raise ConfigError([Problem(str(task.out), "already there", "Give a folder that does not exist yet")])


def _train(task: _Task, processes: Processes, on_progress: OnProgress, *, resume: bool) -> Trained:
    if not task.rows:
        raise ConfigError([Problem("training rows", "there is nothing to learn in them", "Give more rows")])
    settings = task.settings
    if settings.threads:
        torch.set_num_threads(settings.threads)
    found = _checkpoint(task, processes, resume=resume)
    model = load_base(task.base, settings, train_device(settings))
    error = prove_packs_fit(model, task.rows, settings.pack_tokens) if settings.method != "qlora" else 0.0
    tuned = tune(model, settings, str(task.base))
    run = Run(
        tuned=tuned,
        plan=Plan(task.rows, settings),
        validation=tuple(packed(task.validation, settings.pack_tokens)),
        processes=processes,
        tell=_teller(task, processes, on_progress, found.standing.step if found else 0),
        folder=work_folder(task.out),
        fingerprint=task.fingerprint,
        optimizer=new_optimizer(tuned, settings),
        standing=Standing(),
        best={},
        attention=PackAttention(),
    )
    if found is not None:
        load(run, found)
    run.go()
    trained = _trained(run, error)
    if processes.first:
        _leave(run, trained, task)
    return trained


def _checkpoint(task: _Task, processes: Processes, *, resume: bool) -> checkpoints.Checkpoint | None:
    folder = work_folder(task.out)
    if not resume:
        if processes.first:
            shutil.rmtree(folder, ignore_errors=True)
        processes.wait()
        return None
    try:
        return checkpoints.latest(folder, task.fingerprint)
    except ValueError as error:
        fix = "Remove the folder to train anew, or give the rows and settings it was begun with"
        raise ConfigError([Problem(str(folder), str(error), fix)]) from None


def _teller(task: _Task, processes: Processes, on_progress: OnProgress, step: int) -> OnProgress:
    """Writes the log and tells the caller; only in the first process."""
    if not processes.first:
        return lambda _told: None
    written = RunLog(work_folder(task.out), step=step, tensorboard=task.settings.tensorboard)

    def tell(told: Told) -> None:
        written.tell(told)
        on_progress(told)

    return tell


def _leave(run: Run, trained: Trained, task: _Task) -> None:
    """The figures first: when `out` stands, they stand too."""
    draft = run.folder / f"{_FIGURES}.part"
    draft.write_text(json.dumps(asdict(trained), sort_keys=True) + "\n", encoding="utf-8")
    checkpoints.sync(draft)
    draft.replace(run.folder / _FIGURES)
    save_trained(run.tuned, task.base, task.out, task.base_name or str(task.base))


def _trained(run: Run, error: float) -> Trained:
    standing, settings = run.standing, run.settings
    return Trained(
        steps=standing.step,
        num_steps=run.plan.num_steps,
        rows=len(run.plan.rows),
        learnt_tokens=settings.epochs * sum(row.num_learnt for row in run.plan.rows),
        row_tokens=standing.row_tokens,
        computed_tokens=standing.computed_tokens,
        cpu_s=standing.cpu_s,
        wall_s=standing.wall_s,
        peak_rss_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        first_nll=standing.looks[0][2],
        best_nll=standing.best_nll,
        best_step=standing.best_step,
        looks=tuple(standing.looks),
        losses=tuple(standing.losses),
        stopped_by=standing.stopped_by or "",
        notes=tuple(standing.notes),
        packing_error=error,
        fingerprint=run.fingerprint,
        versions={name: version(name).partition("+")[0] for name in ("torch", "transformers", "peft", "safetensors")},
    )


def _figures(saved: dict[str, Any]) -> Trained:
    lists = {key: tuple(saved[key]) for key in ("losses", "notes")}
    return Trained(**{**saved, **lists, "looks": tuple(map(tuple, saved["looks"]))})

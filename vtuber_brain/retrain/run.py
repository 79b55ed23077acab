"""One night, from its first step to its last: whoever kills it may run it again."""

import contextlib
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from vtuber_brain.retrain.ending import Ended, entry_of
from vtuber_brain.retrain.forecast import forecast
from vtuber_brain.retrain.foreign import find
from vtuber_brain.retrain.journal import Journal, open_night
from vtuber_brain.retrain.plan import alone, check_servable, making_way, nights_of
from vtuber_brain.retrain.processes import Processes, together
from vtuber_brain.retrain.search import Space, Trial, search
from vtuber_brain.retrain.steps import Steps
from vtuber_brain.retrain.task import Task
from vtuber_brain.retrain.tuning import train_device
from vtuber_brain.transcripts.viewers import is_scrub_due, scrub

IMPORTS, SEARCH = "imports", "search"


def run_night(task: Task, *, from_step: str | None = None) -> Ended:
    """Do what is left of the night, or a new one. Raises BrainError's kinds, each with what to do.

    Of several processes the first one does this, and the others `assist`.
    """
    check_servable(task.settings.train, task.configure)
    with _leading(task) as call, alone(task.state, task.persona.name):
        journal = open_night(nights_of(task.state, task.persona.name), time.time(), again=from_step is not None)
        if from_step is not None:
            journal.restart(from_step)
        return _through(Steps(task, journal, anew=from_step is None, before_training=call))


def assist(task: Task) -> None:
    """Help the first process with its training, for as long as it has any."""
    with together(train_device(task.settings.train)) as processes:
        while (told := processes.told(None)) is not None:
            out = Path(told)
            Steps(task, Journal(out.parents[2])).train_to(out)


def take_in(task: Task, lora: Path) -> Ended:
    """Judge a lora that was trained elsewhere as a night judges its own, and release it if it passes.

    Its journal lies apart from those of the nights: no stream was learnt from, so the next night still has all of them.
    Raises as `run_night`, and LoraRejected for what cannot be served.
    """
    settings = task.settings.model_copy(update={"canaries": 0})  # none were planted in rows that are not ours
    judged = replace(task, imported=lora, settings=settings)
    with alone(task.state, task.persona.name):
        find(lora)  # before minutes go into the rest
        journal = open_night(nights_of(task.state, task.persona.name) / IMPORTS, time.time())
        return _through(Steps(judged, journal, anew=False))


def search_settings(
    task: Task, num_trials: int, budget_s: float, on_trial: Callable[[Trial], None] = lambda _trial: None
) -> list[Trial]:
    """Try settings of training on what a night would train on now, the best first; nothing is released.

    Raises as `run_night`. Killed and called again it goes on, unless there is something else to train on by then.
    """
    check_servable(task.settings.train, task.configure)
    with alone(task.state, task.persona.name), tempfile.TemporaryDirectory() as folder:
        night = Steps(task, Journal(Path(folder) / "night"), anew=False)
        night.plan()
        night.curate()
        night.build()
        training, validation = night.rows()
        root = nights_of(task.state, task.persona.name) / SEARCH
        space = Space(task.settings.train, num_trials, task.configure.max_lora_rank)
        return search(
            task.base, training, validation, space, root,
            budget_s=budget_s, on_trial=on_trial, on_progress=making_way(task),
        )  # fmt: skip


@contextlib.contextmanager
def _leading(task: Task) -> Iterator[Callable[[Path], None]]:
    """The first of the processes: calls the others to where a lora is to be trained, and lets them go in the end.

    Where it fails it says nothing, for they may be in the middle of an update; their launcher ends them then.
    """
    with together(train_device(task.settings.train)) as processes:
        yield lambda out: _call(processes, out)
        processes.told(None)


def _call(processes: Processes, out: Path) -> None:
    processes.told(str(out))


def _through(night: Steps) -> Ended:
    night.plan()
    _scrub(night.task)
    night.curate()
    night.build()
    night.train()
    night.evaluate()
    night.judge()
    return night.end()


def _scrub(task: Task) -> None:
    """Write the transcripts anew where somebody was forgotten; beside a live stream that would keep her waiting."""
    path = task.transcripts
    if path is not None and path.is_file() and not task.while_live and is_scrub_due(path):
        scrub(path)


def look_ahead(task: Task) -> dict[str, dict[str, Any]]:
    """What a new night would be trained on, and at what cost: figures of its first steps, of which nothing is kept."""
    check_servable(task.settings.train, task.configure)
    with tempfile.TemporaryDirectory() as folder:
        night = Steps(task, Journal(Path(folder) / "night"))
        night.plan()
        night.curate()
        night.build()
        found = {step: entry_of(night.journal, step).figures for step in ("planned", "curated", "built")}
        return found | forecast(task, found["built"]["tokens"])

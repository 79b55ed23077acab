"""One night, from its first step to its last: whoever kills it may run it again."""

import tempfile
import time
from pathlib import Path
from typing import Any

from vtuber_brain.retrain.ending import Ended, entry_of
from vtuber_brain.retrain.journal import Journal, open_night
from vtuber_brain.retrain.plan import alone, nights_of
from vtuber_brain.retrain.steps import Steps
from vtuber_brain.retrain.task import Task


def run_night(task: Task, *, from_step: str | None = None) -> Ended:
    """Do what is left of the night, or a new one. Raises BrainError's kinds, each with what to do."""
    with alone(task.state, task.persona.name):
        journal = open_night(nights_of(task.state, task.persona.name), time.time(), again=from_step is not None)
        if from_step is not None:
            journal.restart(from_step)
        night = Steps(task, journal)
        night.plan()
        night.curate()
        night.build()
        night.train()
        night.evaluate()
        night.judge()
        return night.end()


def look_ahead(task: Task) -> dict[str, dict[str, Any]]:
    """What a new night would be trained on: the figures of its first steps, of which nothing is kept."""
    with tempfile.TemporaryDirectory() as folder:
        night = Steps(task, Journal(Path(folder) / "night"))
        night.plan()
        night.curate()
        night.build()
        return {step: entry_of(night.journal, step).figures for step in ("planned", "curated", "built")}

"""What a night's training would cost, and what looks wrong with its corpora, before it is begun. It only reads."""

import os
from pathlib import Path
from typing import Any

from vtuber_brain.engine.load import load_tokenizer
from vtuber_brain.engine.render import Renderer
from vtuber_brain.retrain.corpus_summary import describe
from vtuber_brain.retrain.journal import Journal, nights
from vtuber_brain.retrain.material import corpus_rows
from vtuber_brain.retrain.plan import nights_of
from vtuber_brain.retrain.report import Cost
from vtuber_brain.retrain.task import Task

BUNDLED_SPEED = 610.0
"""Tokens of rows per CPU-second of the bundled model (docs/retrain.md), where no night of hers was trained yet."""


def forecast(task: Task, row_tokens: int) -> dict[str, dict[str, Any]]:
    """Figures for people of the corpora and of training on `row_tokens` tokens of rows. Raises CorpusError."""
    renderer = Renderer(load_tokenizer(task.configure))
    corpus, _skipped = corpus_rows(task)
    found = describe(corpus, lambda text: len(renderer.prompt(text)), max_tokens=task.configure.context)
    sizes = {"rows": found.num_rows, "tokens_a_row": f"{found.tokens.median:.0f} to {found.tokens.most}"}
    learnt = {"tokens_learnt": found.num_supervised, "tokens_cut": found.num_cut}
    return {
        "corpus": {**sizes, **learnt, "warnings": dict(found.warnings) or "none"},
        "cost": _cost(row_tokens * task.settings.train.epochs, task),
    }


def _cost(tokens: int, task: Task) -> dict[str, Any]:
    """At most, for a training that is poor ends early. Energy at the wattage that the report assumes."""
    cpu_s = tokens / (_speed(nights_of(task.state, task.persona.name)) or BUNDLED_SPEED)
    seconds = cpu_s / (task.settings.train.threads or os.cpu_count() or 1)
    energy = Cost(tokens, {"trained": seconds}).watt_hours
    return {"tokens_at_most": tokens, "cpu_s": round(cpu_s), "seconds": round(seconds), "watt_hours": round(energy, 1)}


def _speed(root: Path) -> float | None:
    """Tokens of rows per CPU-second of the latest night that was trained; None: there is none."""
    for folder in reversed(nights(root)):
        trained = Journal(folder).entry("trained")
        if trained is not None and trained.figures.get("cpu_s"):
            return float(trained.figures["row_tokens"] / trained.figures["cpu_s"])
    return None

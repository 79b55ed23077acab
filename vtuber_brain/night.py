"""The commands of the nightly half: what learns from the day, and what says how well it learnt.

Exit codes: those of `vtuber_brain/cli.py`.
"""

import asyncio
import json as jsonlib
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from vtuber_brain.errors import ConfigError, Problem

if TYPE_CHECKING:
    from vtuber_brain.retrain.evaluation import Evaluation

Config = Annotated[Path | None, Parameter(name="--config", help="The TOML file of settings; else all defaults.")]


def retrain(
    *,
    classifier: Annotated[bool, Parameter(help="Train the chat classifier.")] = False,
    data: Annotated[Path, Parameter(help="Folder of labelled files.")],
    out: Annotated[Path, Parameter(help="Folder to write the PEFT weights to; must not exist.")],
) -> None:
    """Train the chat classifier's lora from labelled files, and say how good it is."""
    from vtuber_brain.models import resolve
    from vtuber_brain.retrain.classifier import train_classifier
    from vtuber_brain.retrain.classifier_fit import TrainSettings

    if not classifier:
        raise ConfigError([Problem("retrain", "nothing to train was named", "Give --classifier")])
    scores = train_classifier(Path(resolve("bundled:minilm-chat")), data, out, settings=TrainSettings(), progress=_tell)
    _say(str(scores))


def evaluate(
    *,
    classifier: Annotated[Path, Parameter(help="A labelled file, JSON lines as for retrain (docs/filter.md).")],
    json: Annotated[bool, Parameter(help="Everything as one JSON object.", negative="")] = False,
    hardest: Annotated[int, Parameter(help="How many of the worst errors to name.")] = 10,
    show_text: Annotated[bool, Parameter(help="Also the texts of the errors; abuse included.", negative="")] = False,
    config: Config = None,
) -> None:
    """Say how good the chat classifier is on a labelled file: F1, confusion, calibration, the hardest errors."""
    from vtuber_brain.console_scores import show_evaluation

    found = asyncio.run(_evaluation(classifier, hardest, config))
    if not show_text:
        found = replace(found, hardest=[replace(miss, text=None) for miss in found.hardest])
    if json:
        _say(jsonlib.dumps(asdict(found), ensure_ascii=False))
    else:
        show_evaluation(found)


async def _evaluation(file: Path, hardest: int, config: Path | None) -> "Evaluation":
    from vtuber_brain.config import load
    from vtuber_brain.judging import moods
    from vtuber_brain.retrain.classifier_data import read_numbered
    from vtuber_brain.retrain.evaluation import Judged, evaluate
    from vtuber_brain.sentiment.labels import SENTIMENTS

    settings, rows = load(config), list(read_numbered(file))
    if not rows:
        raise ConfigError([Problem(str(file), "no labelled line in it", "Give a file as docs/filter.md describes")])
    found = await moods([example.text for _, example in rows], settings)
    negative, neutral, positive = SENTIMENTS
    answers = [
        Judged(line, example, (mood.scores[negative], mood.scores[neutral], mood.scores[positive]), mood.toxicity)
        for (line, example), mood in zip(rows, found, strict=True)
    ]
    return evaluate(answers, settings.sentiment.toxic_threshold, hardest)


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201 - progress is for people, answers are for pipes


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201

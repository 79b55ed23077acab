"""`vtuber-brain retrain --classifier`: trains the chat classifier anew and says whether it is better than before.

Exit codes: 0 it is better; 4 that is not shown, and the one in use should stay; others as in `vtuber_brain/cli.py`.
"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from vtuber_brain.errors import ConfigError, Problem

if TYPE_CHECKING:
    from vtuber_brain.config import Settings
    from vtuber_brain.retrain.classifier import InUse
    from vtuber_brain.retrain.classifier_data import Example
    from vtuber_brain.retrain.classifier_fit import TrainSettings

BASE = "bundled:minilm-chat"
BETTER, NOT_BETTER = 0, 4


def train_chat_classifier(
    data: Path | None, out: Path | None, config: Path | None, base: str = BASE, chosen: "TrainSettings | None" = None
) -> int:
    """Train on the labelled files and the operator's decisions; say what came of it. `chosen` None: as it shipped."""
    from vtuber_brain.config import load
    from vtuber_brain.console_scores import show_compared
    from vtuber_brain.models import resolve
    from vtuber_brain.retrain.classifier import train_classifier
    from vtuber_brain.retrain.classifier_fit import TrainSettings

    if data is None or out is None:
        raise ConfigError([Problem("retrain --classifier", "data or out is missing", "Give --data DIR and --out DIR")])
    settings = load(config)
    trained = train_classifier(
        Path(resolve(base)),
        data,
        out,
        settings=chosen or TrainSettings(),
        in_use=_in_use(settings),
        corrections=_corrections(settings),
        progress=_tell,
    )
    _say(str(trained.scores))
    show_compared(trained.compared)
    if not trained.compared.is_better:
        _say(f"not shown to be better than the one in use, which should stay; written to {out}")
        return NOT_BETTER
    _say(f'better than the one in use; to serve it:\n[sentiment]\nmodel = "{base}"\nlora = "{out.resolve()}"')
    return BETTER


def _in_use(settings: "Settings") -> "InUse":
    from vtuber_brain.models import own_lora, resolve
    from vtuber_brain.retrain.classifier import InUse
    from vtuber_brain.sentiment.wire import Configure

    chosen = settings.sentiment
    lora = chosen.lora or own_lora(chosen.model)
    configure = Configure(
        model=resolve(chosen.model),
        lora=str(lora) if lora is not None else None,
        labels=chosen.labels,
        threads=chosen.threads,
        max_tokens=chosen.max_tokens,
        max_batch=chosen.max_batch,
    )
    return InUse(configure, chosen.toxic_threshold)


def _corrections(settings: "Settings") -> "list[Example]":
    from vtuber_brain.config import state_dir
    from vtuber_brain.retrain.corrections import corrections

    path = settings.transcripts.path or state_dir() / "transcripts.db"
    return corrections(path) if settings.transcripts.enabled and path.is_file() else []


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201 - progress is for people, answers are for pipes


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201

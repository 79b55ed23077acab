"""What a run says while it runs: a JSON line per event always, a bar on a terminal, TensorBoard where asked for."""

import contextlib
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from vtuber_brain.errors import ConfigError, Problem


@dataclass(frozen=True, slots=True)
class Told:
    """One update (`loss` in nats a token, before it), or one look at the validation rows (`validation_nll`)."""

    step: int
    num_steps: int
    loss: float | None = None
    learning_rate: float | None = None
    grad_norm: float | None = None
    tokens_per_s: float | None = None
    validation_nll: float | None = None

    def record(self) -> dict[str, Any]:
        """Without what is not known; a number that is none (NaN) as null, for JSON has no such number."""
        known = {key: value for key, value in asdict(self).items() if value is not None}
        return {key: value if math.isfinite(value) else None for key, value in known.items()}


OnProgress = Callable[[Told], None]


class RunLog:
    """`log.jsonl` in a run's folder, and TensorBoard's files beside it."""

    def __init__(self, folder: Path, *, step: int, tensorboard: bool) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / "log.jsonl"
        self._path.write_text("".join(_up_to(self._path, step)), encoding="utf-8")
        self._board = _board(folder) if tensorboard else None

    def tell(self, told: Told) -> None:
        """Write one event."""
        self.write(told.record())
        if self._board is not None:
            for key in ("loss", "learning_rate", "grad_norm", "tokens_per_s", "validation_nll"):
                if (value := getattr(told, key)) is not None:
                    self._board.add_scalar(key, value, told.step)
            self._board.flush()

    def write(self, record: dict[str, Any]) -> None:
        """Write one line."""
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record, sort_keys=True) + "\n")


@contextlib.contextmanager
def bar(console: Console | None = None) -> Iterator[OnProgress]:
    """A bar with loss, tokens per second and the time left; nothing where there is no terminal."""
    console = console or Console(stderr=True)
    columns = (TextColumn("training"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"))
    with Progress(*columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=None)
        shown: dict[str, str] = {}

        def on_progress(told: Told) -> None:
            if told.loss is not None:
                shown["loss"] = f"loss {told.loss:.3f}"
            if told.tokens_per_s is not None:
                shown["speed"] = f"{told.tokens_per_s:.0f} tokens/s"
            if told.validation_nll is not None:
                shown["nll"] = f"validation {told.validation_nll:.3f}"
            progress.update(task, completed=told.step, total=told.num_steps, description=", ".join(shown.values()))

        yield on_progress


def _up_to(path: Path, step: int) -> Iterator[str]:
    """The whole lines of an interrupted run up to the checkpoint it goes on from."""
    if not path.exists() or not step:
        return
    with path.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            with contextlib.suppress(ValueError, KeyError, TypeError):
                if json.loads(line)["step"] <= step:
                    yield line.rstrip("\n") + "\n"


def _board(folder: Path) -> Any:
    if find_spec("tensorboard") is None:
        fix = "Install the tensorboard package, or set it to false; log.jsonl holds the same"
        raise ConfigError([Problem("retrain.train.tensorboard", "the tensorboard package is not installed", fix)])
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder / "tensorboard"))

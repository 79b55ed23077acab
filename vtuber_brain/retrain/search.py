"""A search over the settings of training: random, seeded, within a budget, and resumed where it was killed.

At random because few settings matter, and nobody knows which (Bergstra and Bengio 2012). Learning rates come first,
then ranks and batches about the best. The first trial is the settings as they are. It changes no settings by itself.
"""

import math
import random
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from vtuber_brain.night_sections import TrainSettings
from vtuber_brain.nights import JOURNAL
from vtuber_brain.retrain.journal import Entry
from vtuber_brain.retrain.progress import OnProgress
from vtuber_brain.retrain.rows import Row
from vtuber_brain.retrain.train import fingerprint, train
from vtuber_brain.runtime.files import write_whole

RATES, NEAR = 8.0, 1.5
"""Learning rates are drawn from so many times less to so many times more; near the best one, from this much."""
RANKS, BATCHES = (4, 8, 16, 32), (8, 16, 32, 64)
Chosen = dict[str, float | int]


@dataclass(frozen=True, slots=True)
class Trial:
    """One training run: what was `chosen`, and what the held-out replies cost then, in nats a token (None: nothing)."""

    number: int
    chosen: Chosen
    nll: float | None
    steps: int
    wall_s: float

    @property
    def rank_key(self) -> tuple[float, int]:
        """The better first; what ended in no number last."""
        return (self.nll if self.nll is not None and math.isfinite(self.nll) else math.inf), self.number


@dataclass(frozen=True, slots=True)
class Space:
    """What is searched: about these settings, `num_trials` draws from their seed, of ranks that are served."""

    settings: TrainSettings
    num_trials: int
    max_rank: int = max(RANKS)

    def draw(self, number: int, before: Sequence[Trial]) -> Chosen:
        """What to try as trial `number`, knowing those before it. The same for the same trials. Pure."""
        settings, draw = self.settings, random.Random(f"{self.settings.seed}:search:{number}")  # noqa: S311 - settings
        if number == 0:
            return {"learning_rate": settings.rate, "rank": settings.rank, "step_rows": settings.step_rows}
        if number <= self.num_trials // 2:
            rate = settings.rate * math.exp(draw.uniform(-math.log(RATES), math.log(RATES)))
            return {"learning_rate": _rounded(rate), "rank": settings.rank, "step_rows": settings.step_rows}
        best = min(before, key=lambda trial: trial.rank_key).chosen["learning_rate"]
        rate = best * math.exp(draw.uniform(-math.log(NEAR), math.log(NEAR)))
        ranks = [rank for rank in RANKS if rank <= self.max_rank] or [settings.rank]
        return {"learning_rate": _rounded(rate), "rank": draw.choice(ranks), "step_rows": draw.choice(BATCHES)}

    def with_chosen(self, chosen: Chosen) -> TrainSettings:
        """The settings of a trial; a lora's alpha stays as many times its rank as it was."""
        alpha = self.settings.alpha * chosen["rank"] / self.settings.rank
        return self.settings.model_copy(update={**chosen, "alpha": alpha})


def search(
    base: Path,
    rows: Sequence[Row],
    validation: Sequence[Row],
    space: Space,
    root: Path,
    *,
    budget_s: float = math.inf,
    on_trial: Callable[[Trial], None] = lambda _trial: None,
    on_progress: OnProgress = lambda _told: None,
) -> list[Trial]:
    """Every trial, the best first. No trial is begun once all together took `budget_s` of wall-clock time.

    What is done lies under `root`, by the hash of rows, base and settings; called again it goes on from there, in
    mid-trial too. Only figures are kept. Raises as `train`.
    """
    folder = root / fingerprint(base, rows, validation, space.settings)[:16]
    folder.mkdir(parents=True, exist_ok=True)
    done = _read(folder)[: space.num_trials]
    for number in range(len(done), space.num_trials):
        if sum(trial.wall_s for trial in done) >= budget_s:
            break
        chosen, out = space.draw(number, done), folder / f"trial-{number}"
        trained = train(base, rows, validation, space.with_chosen(chosen), out, resume=True, on_progress=on_progress)
        done.append(Trial(number, chosen, trained.best_nll, trained.steps, round(trained.wall_s, 1)))
        _write(folder, done)
        for path in folder.glob(f"{out.name}*"):
            shutil.rmtree(path)
        on_trial(done[-1])
    return sorted(done, key=lambda trial: trial.rank_key)


def _read(folder: Path) -> list[Trial]:
    path = folder / JOURNAL
    if not path.exists():
        return []
    entries = [Entry.model_validate_json(line) for line in path.read_bytes().splitlines()]
    return [Trial(**entry.figures) for entry in entries]


def _write(folder: Path, done: Sequence[Trial]) -> None:
    """As a journal, so that whoever is forgotten is forgotten here too (`purge`); few lines, replaced as a whole."""
    told = [
        Entry(
            step="trial",
            at=time.time(),
            figures={
                "number": trial.number,
                "chosen": trial.chosen,
                "nll": trial.nll,
                "steps": trial.steps,
                "wall_s": trial.wall_s,
            },
        )
        for trial in done
    ]
    write_whole(folder / JOURNAL, b"".join(entry.model_dump_json().encode() + b"\n" for entry in told))


def _rounded(rate: float) -> float:
    """Three digits say enough of a learning rate."""
    return float(f"{rate:.3g}")

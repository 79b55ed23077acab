"""The training loop: updates over packs, looks at the validation rows, early stop, checkpoints; readable as a page.

All that is drawn by lot hangs on the seed and the number of the update, so that a run that was killed and goes on ends
in the same bytes as one that was not.
"""

import hashlib
import math
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog
import torch
from torch import Tensor

from vtuber_brain.night_sections import TrainSettings
from vtuber_brain.retrain import checkpoints
from vtuber_brain.retrain.checkpoints import Checkpoint, Look, Standing
from vtuber_brain.retrain.losses import cost
from vtuber_brain.retrain.packs import FILLED, Pack, PackAttention, packed, sheet, total_weight
from vtuber_brain.retrain.processes import Processes
from vtuber_brain.retrain.progress import Told
from vtuber_brain.retrain.rows import Row
from vtuber_brain.retrain.tuning import Tuned

log = structlog.get_logger(__name__)
_BETAS = (0.9, 0.999)


@dataclass(frozen=True, slots=True)
class Plan:
    """Which rows each update is made of, without the rows: the same for every process."""

    rows: tuple[Row, ...]
    settings: TrainSettings

    @property
    def steps_per_epoch(self) -> int:
        """Updates of one pass over the rows, each of about `step_rows` rows."""
        return max(1, round(len(self.rows) / self.settings.step_rows))

    @property
    def num_steps(self) -> int:
        """Updates at most."""
        return self.settings.epochs * self.steps_per_epoch

    def packs(self, step: int) -> list[Pack]:
        """The packs of update `step`, from 0; every pass deals the rows anew and evenly."""
        epoch, place = divmod(step, self.steps_per_epoch)
        order = list(range(len(self.rows)))
        random.Random(f"{self.settings.seed}:{epoch}").shuffle(order)  # noqa: S311 - it deals rows
        share = len(order) / self.steps_per_epoch
        chosen = order[round(place * share) : round((place + 1) * share)]
        return packed([self.rows[n] for n in chosen], self.settings.pack_tokens)


@dataclass(slots=True)
class Run:
    """One training run. `go` takes it to its end; `standing` and `best` say where it is."""

    tuned: Tuned
    plan: Plan
    validation: tuple[Pack, ...]
    processes: Processes
    tell: Callable[[Told], None]
    folder: Path
    fingerprint: str
    optimizer: torch.optim.Optimizer
    standing: Standing
    best: dict[str, Tensor]
    attention: PackAttention

    def go(self) -> None:
        """Train until the rows, the patience or the numbers' sense ends it; then take the best weights."""
        cpu_s, wall_s = time.process_time() - self.standing.cpu_s, time.monotonic() - self.standing.wall_s
        with self.attention.serving(self.tuned.base):
            if not self.standing.looks:
                self._look()
            while self.standing.stopped_by is None:
                self._step()
                self.standing.cpu_s, self.standing.wall_s = time.process_time() - cpu_s, time.monotonic() - wall_s
                self._perhaps_look()
                self._perhaps_save()
        with torch.no_grad():
            for name, parameter in self.tuned.trained.items():
                if name in self.best:
                    parameter.copy_(self.best[name])

    def _step(self) -> None:
        """One update, unless its loss or gradient is no number: then the run ends, and the update never happens."""
        standing, settings, started_s = self.standing, self.plan.settings, time.perf_counter()
        packs, rate = self.plan.packs(standing.step), learning_rate(standing.step, self.plan.num_steps, self.settings)
        loss = self._gradients(packs)
        norm = float(torch.nn.utils.clip_grad_norm_(list(self.tuned.trained.values()), settings.max_grad_norm))
        if not (math.isfinite(loss) and math.isfinite(norm)):
            self._stop("not_finite", f"update {standing.step + 1}: loss {loss}, gradient {norm}")
            return
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        self.optimizer.zero_grad()
        standing.step += 1
        standing.losses.append(loss)
        standing.computed_tokens += sum(pack.num_tokens for pack in packs)
        num_row_tokens = sum(pack.num_row_tokens for pack in packs)
        standing.row_tokens += num_row_tokens
        speed = num_row_tokens / (time.perf_counter() - started_s)
        self.tell(Told(standing.step, self.plan.num_steps, loss, rate, norm, speed))
        if standing.step == self.plan.num_steps:
            standing.stopped_by = "epochs"

    def _gradients(self, packs: Sequence[Pack]) -> float:
        """Leave the gradient of the weighted mean over all packs on the parameters, and return that mean in nats."""
        scale, loss = 1 / total_weight(packs), 0.0
        self.tuned.model.train()
        for number, pack in enumerate(packs):
            if number % self.processes.count != self.processes.rank:
                continue
            torch.manual_seed(_draw(self.settings.seed, self.standing.step, number))
            page = sheet(pack, self.tuned.base.device, FILLED)
            part = cost(self.tuned.model, page, self.attention, self.tuned.cast(), scale).total
            part.backward()
            loss += float(part.detach())
        parameters = list(self.tuned.trained.values())
        for parameter in parameters:
            if parameter.grad is None:  # a process may have no pack in a step
                parameter.grad = torch.zeros_like(parameter)
        self.processes.add_up([parameter.grad for parameter in parameters if parameter.grad is not None])
        return self.processes.sums(loss)[0]

    def _perhaps_look(self) -> None:
        standing, every = self.standing, self.settings.evaluate_steps or self.plan.steps_per_epoch
        is_due = standing.step % every == 0 or standing.stopped_by == "epochs"
        if is_due and standing.looks[-1][0] != standing.step and standing.stopped_by != "not_finite":
            self._look()

    def _look(self) -> None:
        """What the validation rows cost now; keep the weights if it is the best so far, stop if patience is out."""
        standing = self.standing
        since = standing.looks[-1][0] if standing.looks else 0
        train = sum(standing.losses[since:]) / (standing.step - since) if standing.step > since else None
        nll = self.validation_nll() if self.validation else None
        standing.looks.append((standing.step, train, nll))
        if nll is None:
            return
        self.tell(Told(standing.step, self.plan.num_steps, validation_nll=nll))
        if standing.best_nll is None or nll < standing.best_nll:
            standing.best_nll, standing.best_step, standing.misses = nll, standing.step, 0
            self.best = {name: parameter.detach().clone() for name, parameter in self.tuned.trained.items()}
            return
        standing.misses += 1
        if overfits(standing.looks):
            self._note("overfitting", f"update {standing.step}: training rows cost less and validation rows more")
        if standing.misses >= self.settings.patience and standing.stopped_by is None:
            self._stop("patience", f"no better than at update {standing.best_step} in {standing.misses} looks")

    def validation_nll(self) -> float:
        """Nats a learnt token of the validation rows."""
        self.tuned.model.eval()
        total = weight = 0.0
        with torch.inference_mode():
            for pack in self.validation[self.processes.rank :: self.processes.count]:
                page = sheet(pack, self.tuned.base.device, FILLED)
                total += float(cost(self.tuned.model, page, self.attention, self.tuned.cast(), 1.0).total)
                weight += pack.weight
        total, weight = self.processes.sums(total, weight)
        return total / weight

    def _perhaps_save(self) -> None:
        standing = self.standing
        if standing.stopped_by is not None or standing.step % self.settings.checkpoint_steps:
            return
        if self.processes.first:
            trained = self.tuned.trained
            state = Checkpoint(standing, trained, checkpoints.moments(self.optimizer, trained), self.best)
            checkpoints.save(self.folder, state, self.fingerprint)

    @property
    def settings(self) -> TrainSettings:
        """The run's settings."""
        return self.plan.settings

    def _stop(self, reason: str, note: str) -> None:
        self.standing.stopped_by = reason
        self._note(reason, note)

    def _note(self, event: str, note: str) -> None:
        self.standing.notes.append(f"{event}: {note}")
        if self.processes.first:
            log.warning("training_note", about=event, note=note)


def new_optimizer(tuned: Tuned, settings: TrainSettings) -> torch.optim.Optimizer:
    """AdamW over what is trained; vectors (norms, biases) do not decay."""
    groups = [
        {"params": [p for p in tuned.trained.values() if p.dim() > 1], "weight_decay": settings.weight_decay},
        {"params": [p for p in tuned.trained.values() if p.dim() <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([group for group in groups if group["params"]], lr=settings.rate, betas=_BETAS)


def learning_rate(step: int, num_steps: int, settings: TrainSettings) -> float:
    """Of update `step`, from 0: a straight rise, then half a cosine."""
    rising = max(1, round(settings.warm_up * num_steps)) if settings.warm_up else 0
    if step < rising:
        return settings.rate * (step + 1) / rising
    return settings.rate * 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1, num_steps - rising)))


def overfits(looks: Sequence[Look]) -> bool:
    """Whether from the last look but one to the last the training loss fell and the validation loss rose."""
    if len(looks) < 2:
        return False
    (_, train_before, nll_before), (_, train, nll) = looks[-2:]
    if train is None or train_before is None or nll is None or nll_before is None:
        return False
    return train < train_before and nll > nll_before


def _draw(seed: int, step: int, number: int) -> int:
    """The seed of what dropout draws in a pack of an update."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{step}:{number}".encode()).digest()[:7])


def load(run: Run, checkpoint: Checkpoint) -> None:
    """Stand where the checkpoint stood."""
    with torch.no_grad():
        for name, parameter in run.tuned.trained.items():
            parameter.copy_(checkpoint.weights[name])
    checkpoints.restore(run.optimizer, run.tuned.trained, checkpoint.moments)
    run.standing = checkpoint.standing
    run.best = {name: value.to(run.tuned.base.device) for name, value in checkpoint.best.items()}

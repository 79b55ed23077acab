"""Decode steps captured once and replayed: on CUDA a step of a thousand small kernels costs one launch.

One graph for each number of rows and, where attention reads whole rows, each length; the choice of the tokens is
inside. What changes between two replays lies in tensors: rows and positions here, all else with the runner. Rows that
pad a batch compute for the cache's spare row. On a CPU nothing is captured and the same function runs each time, which
is how the tests prove it.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import structlog
import torch
from torch import Tensor

from vtuber_brain.engine.attention import Batch, Group
from vtuber_brain.engine.load import is_out_of_memory
from vtuber_brain.engine.runner import Launched, Runner
from vtuber_brain.engine.sampling import ALL, MAX_CANDIDATES, Mode
from vtuber_brain.engine.scheduler import Step

log = structlog.get_logger(__name__)

SHORTEST = 256
_GREEDY = Mode()

Run = Callable[[], Tensor]
"""Computes a step over the tensors it was made with; gives its tokens."""

Capture = Callable[[Run], Run]
"""Makes a quicker way to run the same step again."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What a graph was captured for: so many rows, of up to so many positions, choosing and computing so."""

    num_rows: int
    length: int
    sampled: bool
    loras: bool


@dataclass(frozen=True, slots=True)
class DecodeStep:
    """A captured step: `batch` is what it reads, `run` computes it."""

    batch: Batch
    run: Run


class DecodeGraphs:
    """All captured steps of a runner. `launch` replays the smallest one that fits."""

    def __init__(self, runner: Runner, max_rows: int, capture: Capture) -> None:
        self._runner = runner
        self._sizes = list(_doubling(1, max_rows))
        whole = runner.cache.capacity if runner.attention.paged else runner.cache.context
        self._lengths = [whole] if runner.attention.paged else list(_doubling(SHORTEST, whole))
        self._steps = {kind: self._make(kind, capture) for kind in self._kinds()}

    def launch(self, step: Step, mode: Mode, *, num_places: int) -> Launched | None:
        """Replay a step of decode rows alone; None for any other."""
        if len(step.spans) != step.num_decode:
            return None
        rows, positions = [span.slot for span in step.spans], [span.start for span in step.spans]
        num_rows = next(size for size in self._sizes if size >= len(rows))
        length = next(length for length in self._lengths if length > max(positions))
        found = self._steps[Kind(num_rows, length, mode != _GREEDY, num_places > 0)]
        padding = num_rows - len(rows)
        inputs = torch.tensor([rows + [self._runner.cache.spare_row] * padding, positions + [0] * padding])
        with torch.inference_mode():
            found.batch.rows.copy_(inputs[0], non_blocking=True)
            found.batch.positions.copy_(inputs[1], non_blocking=True)
            tokens = found.run()[: len(rows)].clone()
        return Launched.of(step, tokens)

    def _kinds(self) -> Iterator[Kind]:
        with_loras = (False, True) if self._runner.bank.num_places else (False,)
        for num_rows in reversed(self._sizes):  # the largest first: the others find their memory in its pool
            for length in reversed(self._lengths):
                for sampled in (True, False):
                    yield from (Kind(num_rows, length, sampled, loras) for loras in with_loras)

    def _make(self, kind: Kind, capture: Capture) -> DecodeStep:
        batch, runner = _batch(kind, self._runner.cache.spare_row, self._runner.device), self._runner

        def run() -> Tensor:
            batch.token_ids = runner.last_tokens[batch.rows]
            batch.groups[0].masks.clear()
            runner.bank.let_through(runner.places[batch.rows], runner.bank.num_places if kind.loras else 0)
            return runner.choose(runner.forward(batch), batch, ALL if kind.sampled else _GREEDY, MAX_CANDIDATES)

        with torch.inference_mode():
            return DecodeStep(batch, capture(run))


def capture_steps(runner: Runner, max_rows: int, capture: Capture) -> DecodeGraphs | None:
    """Capture all steps; None, and a line in the log, where something in the model cannot be captured.

    Raises as `capture` does when memory runs out: then fewer rows are what helps.
    """
    try:
        return DecodeGraphs(runner, max_rows, capture)
    except RuntimeError as error:
        cause = error.__context__ if isinstance(error.__context__, Exception) else error  # the capture's end hides it
        if is_out_of_memory(cause):
            raise cause from None
        log.warning("steps_not_captured", family=runner.model.config.model_type, reason=str(cause).partition("\n")[0])
        return None


def on_cuda() -> Capture:
    """Capture by CUDA graphs that share one pool of memory; the first call runs outside, to let kernels be chosen.

    What other threads do meanwhile is not looked at: one may be bringing a lora.
    """
    pool, side = torch.cuda.graph_pool_handle(), torch.cuda.Stream()

    def capture(run: Run) -> Run:
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):  # a capture that fails does not give the stream back by itself
            run()
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, pool, side, capture_error_mode="thread_local"):
                tokens = run()
        torch.cuda.current_stream().wait_stream(side)

        def replay() -> Tensor:
            graph.replay()
            return tokens

        return replay

    return capture


def _batch(kind: Kind, spare_row: int, device: torch.device) -> Batch:
    rows = torch.full((kind.num_rows,), spare_row, device=device)
    positions = torch.zeros(kind.num_rows, dtype=torch.long, device=device)
    return Batch(
        token_ids=torch.zeros_like(rows),
        positions=positions,
        rows=rows,
        groups=[Group(rows, 1, kind.length, positions)],
        last_tokens=torch.arange(kind.num_rows, device=device),
        starts=torch.arange(kind.num_rows + 1, dtype=torch.int32, device=device),
        span_rows=rows,
        max_tokens=1,
    )


def _doubling(first: int, last: int) -> Iterator[int]:
    while first < last:
        yield first
        first *= 2
    yield last

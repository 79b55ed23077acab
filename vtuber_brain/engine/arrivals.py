"""Loras on their way from disk to the bank: a thread reads and checks them one after another while replies run on.

What is ready is copied in between two steps, in the order in which it was asked for.
"""

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from vtuber_brain.engine.core import Core
from vtuber_brain.engine.load import base_hash
from vtuber_brain.engine.loras import LoraWeights, has_manifest, read_lora
from vtuber_brain.engine.wire import LoraReady, LoraRejected
from vtuber_brain.errors import LoraRejected as Rejection


@dataclass(frozen=True, slots=True)
class Arrival:
    """One lora that was asked for."""

    name: str
    weights: Future[LoraWeights]


class Arrivals:
    """The loras asked for and not yet in the bank of `core`, oldest first."""

    def __init__(self, core: Core, model: str) -> None:
        self._core, self._model = core, model
        self._reader = ThreadPoolExecutor(1, "lora-reader")
        self._waiting: deque[Arrival] = deque()
        self._base_hash: str | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._reader.shutdown(cancel_futures=True)

    @property
    def expected(self) -> bool:
        """Whether `install` will have something to do."""
        return bool(self._waiting)

    def expect(self, name: str, path: str) -> None:
        """Begin to read the PEFT directory `path`."""
        self._waiting.append(Arrival(name, self._reader.submit(self._read, Path(path))))

    def forget(self, name: str) -> None:
        """Drop a lora, also one that is still on its way."""
        self._waiting = deque(arrival for arrival in self._waiting if arrival.name != name)
        self._core.drop(name)

    def install(self) -> list[LoraReady | LoraRejected]:
        """Copy in what has been read and finds a place; what became of each."""
        answers: list[LoraReady | LoraRejected] = []
        while self._waiting and self._waiting[0].weights.done():
            name, weights = self._waiting[0].name, self._waiting[0].weights
            try:
                pause_s = self._core.install(name, weights.result())
            except (Rejection, OSError, RuntimeError) as error:  # the last is how torch says that memory ran out
                answers.append(LoraRejected(name, str(error)))
            else:
                if pause_s is None:
                    break  # all places have replies running; the next to end makes room
                content_hash, rank = weights.result().content_hash, weights.result().rank
                answers.append(LoraReady(name, content_hash, rank, pause_s * 1000))
            self._waiting.popleft()
        return answers

    def _read(self, folder: Path) -> LoraWeights:
        if self._base_hash is None and has_manifest(folder):
            self._base_hash = base_hash(self._model)
        runner = self._core.runner
        weights = read_lora(folder, runner.bank.shapes, runner.bank.rank, self._base_hash)
        return runner.bank.staged(weights)

"""The classifier's child process: holds the model, answers `Classify` in batches. `python -m ... --fd N` starts it.

It reads `Configure` first, and answers pings between two batches, so that a hang shows. It keeps nothing: when its line
closes, it ends.
"""

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from transformers.utils import logging as transformers_logging

from vtuber_brain.errors import ModelRefused
from vtuber_brain.messages import Mood
from vtuber_brain.runtime.line import ChildEnd, NotReady, Ping, Pong, Ready, Stop
from vtuber_brain.sentiment.model import Model, load, quickest, settle_threads, warm_up
from vtuber_brain.sentiment.wire import Classify, Configure, Failed, Message, Moods, protocol


def plan(lengths: Sequence[int], max_batch: int) -> list[list[int]]:
    """Indices in batches of at most `max_batch`, of similar length, so that little is computed on padding."""
    order = sorted(range(len(lengths)), key=lengths.__getitem__)
    return [order[start : start + max_batch] for start in range(0, len(order), max_batch)]


@dataclass(slots=True)
class Request:
    """A `Classify` under way: the moods found so far, by place."""

    id: int
    num_texts: int
    moods: dict[int, Mood] = field(default_factory=dict)


class Server:
    """Answers what comes over the line until told to stop."""

    def __init__(self, line: ChildEnd[Message], model: Model, max_batch: int) -> None:
        self._line, self._model, self._max_batch = line, model, max_batch
        self._waiting: list[Classify] = []
        self._stopping = False

    def serve(self) -> None:
        """Take rounds of waiting requests until `Stop`."""
        while not self._stopping:
            self._take(timeout_s=None if not self._waiting else 0)
            taken, self._waiting = self._waiting, []
            self._round(taken)

    def _take(self, timeout_s: float | None) -> None:
        for message in self._line.receive(timeout_s):
            match message:
                case Ping(n):
                    self._line.send(Pong(n))
                case Stop():
                    self._stopping = True
                case Classify():
                    self._waiting.append(message)

    def _round(self, taken: Sequence[Classify]) -> None:
        """All texts of all requests taken, in common batches; pings are answered between two."""
        owners = [(Request(asked.id, len(asked.texts)), asked.texts) for asked in taken]
        places = [(request, k) for request, texts in owners for k in range(len(texts))]
        rows = self._model.ids([text for _, texts in owners for text in texts]) if places else []
        for request, texts in owners:
            if not texts:
                self._line.send(Moods(request.id, []))
        failed: set[int] = set()
        for batch in plan([len(ids) for ids in rows], self._max_batch):
            try:
                moods = self._model.moods([rows[i] for i in batch])
            except (RuntimeError, IndexError, MemoryError) as error:
                self._fail([places[i][0] for i in batch], error, failed)
                continue
            self._note([(*places[i], mood) for i, mood in zip(batch, moods, strict=True)], failed)
            self._take(timeout_s=0)

    def _note(self, found: Sequence[tuple[Request, int, Mood]], failed: set[int]) -> None:
        for request, place, mood in found:
            request.moods[place] = mood
            if len(request.moods) == request.num_texts and request.id not in failed:
                self._line.send(Moods(request.id, [request.moods[k] for k in range(request.num_texts)]))

    def _fail(self, requests: Sequence[Request], error: Exception, failed: set[int]) -> None:
        out_of_memory = isinstance(error, MemoryError) or "memory" in str(error)
        for request in requests:
            if request.id not in failed:
                failed.add(request.id)
                self._line.send(Failed(request.id, "out_of_memory" if out_of_memory else "internal", str(error)[:200]))


def main() -> None:
    """Serve one line: configure, load, warm up, answer."""
    parser = argparse.ArgumentParser(description="The classifier's process; started by the daemon.")
    parser.add_argument("--fd", type=int, required=True, help="the socket to the daemon")
    line = ChildEnd(parser.parse_args().fd, protocol())
    configure = line.receive(None)[0]
    started_s = time.monotonic()
    assert isinstance(configure, Configure)
    torch.set_num_threads(configure.threads or 1)
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        model = quickest(load(configure), configure.device)
    except ModelRefused as error:
        line.send(NotReady(str(error)))
        return
    threads = settle_threads(model, configure.threads)
    warm_up(model, configure.max_batch)
    facts = {
        "model": configure.model,
        "labels": {name: list(group) for name, group in model.labels.sentiment.items()},
        "has_toxicity": bool(model.labels.toxic),
        "dtype": model.dtype,
        "device": model.device,
        "threads": threads,
        "load_s": round(time.monotonic() - started_s, 3),
    }
    line.send(Ready(facts))
    Server(line, model, configure.max_batch).serve()


if __name__ == "__main__":
    main()

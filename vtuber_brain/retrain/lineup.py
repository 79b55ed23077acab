"""A base and several loras of it side by side, on the engine's own runner: what is measured here is what is served.

Scoring puts every contestant's row into one forward, each with its lora, and keeps what consecutive rows begin with in
the cache, as live prompts do. Answering hands all requests to one engine core. It decides nothing.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path
from typing import Any

import torch

from vtuber_brain.engine.attention import lay_out
from vtuber_brain.engine.core import Core
from vtuber_brain.engine.kvcache import KvCache
from vtuber_brain.engine.load import base_hash, load_runner, load_tokenizer
from vtuber_brain.engine.loras import LoraWeights, largest_rank, read_lora
from vtuber_brain.engine.render import Renderer
from vtuber_brain.engine.runner import BASE
from vtuber_brain.engine.scheduler import Job, Span, Step
from vtuber_brain.engine.wire import Configure, Delta, Failed, Generate
from vtuber_brain.errors import RequestFailed
from vtuber_brain.retrain.clustered import Sum
from vtuber_brain.retrain.rows import Row

MAX_LANES, MIN_LANE = 6, 6
"""So many rows of one contestant in a forward at most; fewer where each lane would get less than so many rows."""

Rows = Mapping[str, Sequence[Row]]
"""What each contestant is scored on, by its name."""


@dataclass(frozen=True, slots=True)
class Divergence:
    """Of one row: how far a contestant's choices are from the base's, in nats summed over its tokens (KL)."""

    group: str
    total: float
    tokens: int


class Lineup:
    """A base and its loras in memory. Names given with None answer as the base does."""

    def __init__(self, configure: Configure, loras: Mapping[str, Path | None]) -> None:
        """Load everything. Raises ModelRefused, and LoraRejected naming the file."""
        folders = sorted({folder for folder in loras.values() if folder is not None})
        rank = max([1, *map(largest_rank, folders)])
        self._configure = replace(configure, num_pinned=0, max_loras=len(folders), max_lora_rank=rank, graphs=False)
        self._runner = load_runner(replace(self._configure, num_slots=1, memory_bytes=None))
        self.context = self._runner.cache.context
        """The most tokens a prompt and its reply may have together."""
        self.tokenizer: Any | None = load_tokenizer(self._configure)
        hashed = base_hash(configure.model)
        self._weights: dict[Path, LoraWeights] = {
            folder: read_lora(folder, self._runner.bank.shapes, rank, hashed) for folder in folders
        }
        self._loras = dict(loras)
        self._places = {folder: place for place, folder in enumerate(folders)}

    @property
    def renderer(self) -> Renderer:
        """As live; the base must have a tokenizer."""
        assert self.tokenizer is not None, "the base has no tokenizer"
        return Renderer(self.tokenizer)

    def score(self, rows: Rows) -> dict[str, list[Sum]]:
        """Of every row the negative log-likelihood of its tokens with weight, in nats, under its contestant; hits too.

        Weights are for learning: here every such token counts alike.

        All contestants go through the same forwards. The sums come in the order of the rows; those of which nothing is
        learnt have none.
        """
        sums: dict[str, list[Sum | None]] = {name: [None] * len(given) for name, given in rows.items()}
        for step in self._steps(rows):
            for (name, place, row), logits in step:
                places = _learnt(row)
                wanted = torch.tensor([row.tokens[at] for at in places], device=logits.device)
                known = logits.log_softmax(-1).gather(-1, wanted.unsqueeze(-1)).squeeze(-1)
                hits = int((logits.argmax(-1) == wanted).sum())
                sums[name][place] = Sum(row.group, -float(known.sum()), len(places), hits)
        return {name: [one for one in found if one is not None] for name, found in sums.items()}

    def diverge(self, rows: Sequence[Row], name: str, reference: str) -> list[Divergence]:
        """KL(reference || name) at the tokens with weight of every row, both computed in the same forward."""
        found: dict[int, Divergence] = {}
        for step in self._steps({name: rows, reference: rows}):
            half = len(step) // 2
            for ((_, place, row), ours), (_, theirs) in zip(step[:half], step[half:], strict=True):
                theirs_log, ours_log = theirs.log_softmax(-1), ours.log_softmax(-1)
                total = float((theirs_log.exp() * (theirs_log - ours_log)).sum())
                found[place] = Divergence(row.group, total, len(_learnt(row)))
        return [found[place] for place in sorted(found)]

    def answers(self, requests: Sequence[Generate]) -> list[str]:
        """The replies, all batched, in the order asked; `lora` of a request is a contestant's name.

        A request that cannot be answered gives an empty reply, which counts as one.
        """
        shape = replace(self._configure, max_waiting=len(requests) + 1, context=self.context)
        self._runner.use(KvCache(max(1, min(shape.num_slots, len(requests))), self.context))
        core = Core(self._runner, self.tokenizer, shape)
        for folder, weights in self._weights.items():
            core.install(str(folder), weights)
        texts = [""] * len(requests)
        for number, request in enumerate(requests):
            whose = self._loras[request.lora] if request.lora is not None else None
            lora = str(whose) if whose is not None else None
            try:
                core.add(replace(request, id=str(number), lora=lora))
            except RequestFailed:
                continue
        while core.busy:
            for event in core.step():
                if isinstance(event, Delta):
                    texts[int(event.id)] += event.text
                elif isinstance(event, Failed):
                    texts[int(event.id)] = ""
        return [text.strip() for text in texts]

    def _steps(self, rows: Rows) -> Iterator[list[tuple[tuple[str, int, Row], torch.Tensor]]]:
        """One forward after another: of each contestant a few rows, with the logits that predict their learnt tokens.

        Rows that begin alike go through the same row of the cache, one after the other.
        """
        lanes = [(name, places) for name, given in rows.items() for places in _lanes(given)]
        self._make_room(rows, [name for name, _ in lanes])
        held = self._begin(rows, lanes)
        for turn in zip_longest(*(places for _, places in lanes)):
            todo, spans = [], []
            for slot, ((name, _), place) in enumerate(zip(lanes, turn, strict=True)):
                if place is not None:
                    row = rows[name][place]
                    todo.append((name, place, row))
                    spans.append(_span(row, slot, held[slot]))
                    held[slot] = row.tokens[:-1]
            yield list(zip(todo, self._forward(spans, [row for _, _, row in todo]), strict=True))

    def _begin(self, rows: Rows, lanes: Sequence[tuple[str, list[int]]]) -> list[Sequence[int]]:
        """Compute what all rows of a contestant begin with once, for all its lanes; what each lane then holds."""
        held: list[Sequence[int]] = []
        for slot, (name, places) in enumerate(lanes):
            first_of_name = next(at for at, (other, _) in enumerate(lanes) if other == name)
            if slot != first_of_name:
                with torch.inference_mode():
                    self._runner.cache.copy(first_of_name, slot, len(held[first_of_name]))
                held.append(held[first_of_name])
                continue
            last = [places for other, places in lanes if other == name][-1][-1]
            beginning = rows[name][places[0]].tokens
            beginning = beginning[: _common(beginning, rows[name][last].tokens)]  # they are in order: all share it
            if beginning:
                self._read(beginning, slot)
            held.append(beginning)
        return held

    def _read(self, tokens: Sequence[int], slot: int) -> None:
        """Fill a row of the cache; nothing is asked of it."""
        span = Span(Job("beginning", list(tokens), 1), slot, 0, tokens, wants_token=True)
        batch = lay_out(Step((span,), 0), self._runner.device)
        with torch.inference_mode():
            self._runner.bank.let_through(self._runner.places[batch.rows], len(self._places))
            self._runner.forward(batch)

    def _make_room(self, rows: Rows, lanes: Sequence[str]) -> None:
        longest = max((len(row.tokens) for given in rows.values() for row in given), default=1)
        runner = self._runner
        runner.use(KvCache(max(1, len(lanes)), max(32, longest)))
        for folder, place in self._places.items():
            with torch.inference_mode():
                runner.bank.put(place, self._weights[folder])
        for slot, name in enumerate(lanes):
            whose = self._loras[name]
            runner.places[slot] = self._places[whose] if whose is not None else BASE

    def _forward(self, spans: Sequence[Span], rows: Sequence[Row]) -> list[torch.Tensor]:
        """For each span the logits `[learnt, vocabulary]` in fp32."""
        batch = lay_out(Step(tuple(spans), 0), self._runner.device)
        wanted, start = [], 0
        for span, row in zip(spans, rows, strict=True):
            wanted.append([start + at - 1 - span.start for at in _learnt(row)])
            start += span.num_tokens
        batch.last_tokens = torch.tensor([at for places in wanted for at in places], device=self._runner.device)
        with torch.inference_mode():
            self._runner.bank.let_through(self._runner.places[batch.rows], len(self._places))
            logits = self._runner.forward(batch).float()
        return list(logits.split([len(places) for places in wanted]))


def _lanes(rows: Sequence[Row]) -> list[list[int]]:
    """The places of the rows of which something is learnt, in order of their tokens, cut into runs of like lengths."""
    order = sorted((at for at, row in enumerate(rows) if _learnt(row)), key=lambda at: rows[at].tokens)
    length = max(1, -(-len(order) // max(1, min(MAX_LANES, len(order) // MIN_LANE))))
    return [order[start : start + length] for start in range(0, len(order), length)]


def _learnt(row: Row) -> list[int]:
    """The places whose tokens have weight; the first has nothing before it that could predict it."""
    return [at for at, weight in enumerate(row.weights) if weight > 0 and at > 0]


def _span(row: Row, slot: int, held: Sequence[int]) -> Span:
    """What of a row must be computed after `held`: all from where they part, at least what predicts its first word."""
    start = min(_common(row.tokens, held), _learnt(row)[0] - 1)
    tokens = list(row.tokens[start:-1])
    return Span(Job(row.id, list(row.tokens), 1), slot, start, tokens, wants_token=True)


def _common(one: Sequence[int], other: Sequence[int]) -> int:
    """How many tokens both begin with."""
    same = (a == b for a, b in zip(one, other, strict=False))
    return next((at for at, equal in enumerate(same) if not equal), min(len(one), len(other)))

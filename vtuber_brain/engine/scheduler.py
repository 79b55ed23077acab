"""Who runs in the next step: decode rows of all running requests, and one chunk of one prompt. Pure: no torch, no I/O.

A step is one forward over a flat list of tokens. It may be planned while the one before is still being computed: a
decode row's token is then known to the device alone, and a request that turns out to have ended has run one step for
nothing. Requests are admitted one at a time, when the prompt before has been handed out, so that one after another can
copy the beginning they share.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from vtuber_brain.engine.slots import Placement, Slot, Slots
from vtuber_brain.errors import RequestFailed


@dataclass(slots=True, eq=False)
class Job:
    """One request on its way. `planned` positions were handed to steps, `computed` of them are known to be done.

    `num_asked` tokens were asked for, of which `output` holds those that have come. `lora` is a content hash.
    """

    id: str
    prompt: list[int]
    max_tokens: int
    lora: str | None = None
    priority: int = 0
    pin: str | None = None
    output: list[int] = field(default_factory=list)
    slot: Slot | None = None
    planned: int = 0
    computed: int = 0
    num_asked: int = 0
    num_cached: int = 0

    @property
    def prefilling(self) -> bool:
        """Whether part of the prompt is still to be handed out."""
        return self.planned < len(self.prompt)

    def tokens(self, start: int, end: int) -> list[int]:
        """Those at positions `start` to `end` of prompt and output together, without joining the two."""
        asked = len(self.prompt)
        return self.prompt[start:end] + self.output[max(0, start - asked) : max(0, end - asked)]


class Span(NamedTuple):
    """A run of one job's tokens in a step, at positions `start`... of row `slot`.

    `tokens` are a prompt's; None stands for the one token the device chose last for that row.
    """

    job: Job
    slot: int
    start: int
    tokens: Sequence[int] | None
    wants_token: bool

    @property
    def num_tokens(self) -> int:
        """How many tokens of the flat list are its own."""
        return 1 if self.tokens is None else len(self.tokens)


@dataclass(frozen=True, slots=True)
class Step:
    """One forward: single-token spans (decode) first, in order of rows, then at most one prompt chunk.

    `admitted` is the placement of a job that starts with this step; what it copies is copied before.
    """

    spans: tuple[Span, ...]
    num_decode: int
    admitted: Placement | None = None

    @property
    def sampled(self) -> list[Span]:
        """The spans after whose last token a new token is chosen, in order."""
        return [span for span in self.spans if span.wants_token]


class Scheduler:
    """Requests waiting by priority, then arrival; one being read in; the rest being continued token by token."""

    def __init__(self, num_slots: int, prefill_chunk: int, max_waiting: int, num_pinned: int = 0) -> None:
        self._slots = Slots(num_slots, num_pinned)
        self._chunk, self._max_waiting = prefill_chunk, max_waiting
        self._waiting: list[Job] = []
        self._running: list[Job] = []

    @property
    def busy(self) -> bool:
        """Whether any request is unfinished."""
        return bool(self._waiting or self._running)

    @property
    def num_running(self) -> int:
        """Requests that have a slot."""
        return len(self._running)

    @property
    def num_waiting(self) -> int:
        """Requests that wait for one."""
        return len(self._waiting)

    @property
    def num_tokens(self) -> int:
        """Tokens whose K and V are kept, in all rows."""
        return self._slots.num_tokens

    @property
    def num_running_tokens(self) -> int:
        """Those of them that belong to requests that run."""
        return sum(len(job.slot.tokens) for job in self._running if job.slot is not None)

    @property
    def jobs(self) -> Iterator[Job]:
        """Every unfinished request."""
        yield from self._running
        yield from self._waiting

    def add(self, job: Job) -> None:
        """Queue a request. When `max_waiting` wait already, it fails at once (queue_full): nobody waits for ever."""
        if len(self._waiting) >= self._max_waiting:
            raise RequestFailed("queue_full", f"{self._max_waiting} requests are waiting already")
        behind = (index for index, other in enumerate(self._waiting) if other.priority < job.priority)
        self._waiting.insert(next(behind, len(self._waiting)), job)

    def finish(self, job: Job) -> None:
        """Take a request out, done or not; its slot is free in the same step."""
        if job.slot is None:
            self._waiting.remove(job)
            return
        self._running.remove(job)
        self._slots.release(job.slot)
        job.slot = None

    def distrust(self, job: Job) -> None:
        """A forward over this job failed: what its slot holds is not to be reused."""
        if job.slot is not None:
            self._slots.forget(job.slot)

    def plan(self) -> Step | None:
        """The next step, taken as handed out, or None when there is nothing to do."""
        admitted = self._admit()
        decode = sorted(filter(_can_continue, self._running), key=_slot_index)
        spans = [_continue(job) for job in decode]
        spans += [self._read(job) for job in self._running if job.prefilling]
        return Step(tuple(spans), len(decode), admitted) if spans else None

    def commit(self, step: Step, tokens: Sequence[int]) -> None:
        """Note that `step` was computed and that `tokens` were chosen, one for each of `step.sampled`.

        What was computed for a request that has ended meanwhile is passed over.
        """
        for span in step.spans:
            job = span.job
            if job.slot is not None:
                job.slot.tokens.extend(job.tokens(job.computed, job.computed + span.num_tokens))
                job.computed += span.num_tokens
        for span, token in zip(step.sampled, tokens, strict=True):
            if span.job.slot is not None:
                span.job.output.append(token)

    def check_integrity(self) -> None:
        """Raise AssertionError unless the books balance: rows taken are exactly those of the running requests."""
        taken = [job.slot.index for job in self._running if job.slot is not None]
        assert len(set(taken)) == len(taken) == len(self._running), "a slot has two owners"
        assert self._slots.num_taken == len(taken), "a slot was lost"
        for job in self._running:
            assert job.slot is not None
            assert job.slot.lora == job.lora, "a slot has another lora than its request"
            assert job.slot.tokens == (job.prompt + job.output)[: job.computed], "a slot remembers other tokens"

    def _admit(self) -> Placement | None:
        if any(job.prefilling for job in self._running):
            return None
        for job in self._waiting:  # the first that finds a row: a pin may wait for its kind while a request need not
            placement = self._slots.allocate(job.prompt, job.lora, job.pin)
            if placement is not None:
                self._waiting.remove(job)
                self._running.append(job)
                job.slot, job.num_cached = placement.slot, placement.num_cached
                job.planned = job.computed = placement.num_cached
                return placement
        return None

    def _read(self, job: Job) -> Span:
        assert job.slot is not None
        start, end = job.planned, min(job.planned + self._chunk, len(job.prompt))
        job.planned, is_last = end, end == len(job.prompt)
        job.num_asked += is_last
        return Span(job, job.slot.index, start, tuple(job.prompt[start:end]), is_last)


def _can_continue(job: Job) -> bool:
    return not job.prefilling and job.num_asked < job.max_tokens


def _continue(job: Job) -> Span:
    assert job.slot is not None
    start = job.planned
    job.planned, job.num_asked = start + 1, job.num_asked + 1
    return Span(job, job.slot.index, start, None, wants_token=True)


def _slot_index(job: Job) -> int:
    assert job.slot is not None
    return job.slot.index

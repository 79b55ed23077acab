"""Who runs in the next step: decode rows of all running requests, and one chunk of one prompt. Pure: no torch, no I/O.

A step is one forward over a flat list of tokens. Requests are admitted one at a time, when the prompt before has been
computed, so that one after another can copy the beginning they share.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from vtuber_brain.engine.slots import Placement, Slot, Slots
from vtuber_brain.errors import RequestFailed


@dataclass(slots=True)
class Job:
    """One request on its way: `computed` tokens of `prompt + output` have K and V in the slot."""

    id: str
    prompt: list[int]
    max_tokens: int
    lora: str | None = None
    deadline_s: float | None = None
    output: list[int] = field(default_factory=list)
    slot: Slot | None = None
    computed: int = 0
    num_cached: int = 0

    @property
    def prefilling(self) -> bool:
        """Whether part of the prompt is still to be computed."""
        return self.computed < len(self.prompt)


@dataclass(frozen=True, slots=True)
class Span:
    """A run of one job's tokens in a step: `tokens` stand at positions `start`... of row `slot`."""

    job: Job
    slot: int
    start: int
    tokens: Sequence[int]
    wants_token: bool


@dataclass(frozen=True, slots=True)
class Step:
    """One forward: single-token spans (decode) first, then at most one prompt chunk; `copy` is done before."""

    spans: tuple[Span, ...]
    num_decode: int
    copy: Placement | None = None

    @property
    def sampled(self) -> list[Span]:
        """The spans after whose last token a new token is chosen, in order."""
        return [span for span in self.spans if span.wants_token]


class Scheduler:
    """Requests waiting in order of arrival, one being read in, the rest being continued token by token."""

    def __init__(self, num_slots: int, prefill_chunk: int, max_waiting: int) -> None:
        self._slots = Slots(num_slots)
        self._chunk, self._max_waiting = prefill_chunk, max_waiting
        self._waiting: deque[Job] = deque()
        self._running: list[Job] = []

    @property
    def busy(self) -> bool:
        """Whether any request is unfinished."""
        return bool(self._waiting or self._running)

    @property
    def jobs(self) -> Iterator[Job]:
        """Every unfinished request."""
        yield from self._running
        yield from self._waiting

    def add(self, job: Job) -> None:
        """Queue a request. When `max_waiting` wait already, it fails at once (queue_full): nobody waits for ever."""
        if len(self._waiting) >= self._max_waiting:
            raise RequestFailed("queue_full", f"{self._max_waiting} requests are waiting already")
        self._waiting.append(job)

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
        """The next step, or None when there is nothing to do."""
        copy = self._admit()
        decode = sorted((job for job in self._running if not job.prefilling), key=_slot_index)
        spans = [self._span(job) for job in decode]
        spans += [self._span(job) for job in self._running if job.prefilling]
        return Step(tuple(spans), len(decode), copy) if spans else None

    def commit(self, step: Step, tokens: Sequence[int]) -> None:
        """Note that `step` was computed and that `tokens` were chosen, one for each of `step.sampled`."""
        for span in step.spans:
            assert span.job.slot is not None
            span.job.computed += len(span.tokens)
            span.job.slot.tokens.extend(span.tokens)
        for span, token in zip(step.sampled, tokens, strict=True):
            span.job.output.append(token)

    def check_integrity(self) -> None:
        """Raise AssertionError unless the books balance: rows taken are exactly those of the running requests."""
        taken = [job.slot.index for job in self._running if job.slot is not None]
        assert len(set(taken)) == len(taken) == len(self._running), "a slot has two owners"
        assert self._slots.num_free + len(taken) == self._slots.num_slots, "a slot was lost"
        for job in self._running:
            assert job.slot is not None
            assert job.slot.tokens == (job.prompt + job.output)[: job.computed], "a slot remembers other tokens"

    def _admit(self) -> Placement | None:
        if not self._waiting or any(job.prefilling for job in self._running):
            return None
        job = self._waiting[0]
        placement = self._slots.allocate(job.prompt, job.lora)
        if placement is None:
            return None
        self._waiting.popleft()
        self._running.append(job)
        job.slot, job.computed, job.num_cached = placement.slot, placement.num_cached, placement.num_cached
        return placement if placement.copy_from is not None else None

    def _span(self, job: Job) -> Span:
        assert job.slot is not None
        if not job.prefilling:
            return Span(job, job.slot.index, job.computed, (job.output[-1],), wants_token=True)
        end = min(job.computed + self._chunk, len(job.prompt))
        tokens = tuple(job.prompt[job.computed : end])
        return Span(job, job.slot.index, job.computed, tokens, wants_token=end == len(job.prompt))


def _slot_index(job: Job) -> int:
    assert job.slot is not None
    return job.slot.index

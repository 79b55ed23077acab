"""The engine without its process: requests in, deltas and endings out, one step at a time.

The worker drives it from the line, `generate` from a file; both see the same tokens.
"""

import time
from dataclasses import dataclass, field
from typing import Any

from vtuber_brain.engine.load import load_runner, load_tokenizer
from vtuber_brain.engine.render import Renderer, TextStream
from vtuber_brain.engine.runner import Runner
from vtuber_brain.engine.sampling import Sampler, choose_all
from vtuber_brain.engine.scheduler import Job, Scheduler, Step
from vtuber_brain.engine.wire import Configure, Delta, Done, Failed, FinishReason, Generate, Usage
from vtuber_brain.errors import RequestFailed

Event = Delta | Done | Failed


@dataclass(slots=True)
class Reply:
    """One request while it runs: the scheduler's job, and what turns its tokens into an answer."""

    request: Generate
    job: Job
    sampler: Sampler
    text: TextStream
    arrived_s: float
    started_s: float | None = None
    first_token_s: float | None = None
    unsent: list[int] = field(default_factory=list)


class Core:
    """A model and its requests. `step` computes one forward for all of them and tells what came of it."""

    def __init__(self, runner: Runner, tokenizer: Any | None, configure: Configure) -> None:
        self.runner, self.tokenizer = runner, tokenizer
        self.context = runner.cache.context
        self._renderer = Renderer(tokenizer) if tokenizer is not None else None
        self._ends = _end_tokens(runner.model)
        self._scheduler = Scheduler(configure.num_slots, configure.prefill_chunk, configure.max_waiting)
        self._replies: dict[str, Reply] = {}

    @classmethod
    def load(cls, configure: Configure) -> "Core":
        """Load, prove and warm up. Raises ModelRefused."""
        core = cls(load_runner(configure), load_tokenizer(configure), configure)
        core.warm_up()
        return core

    @property
    def busy(self) -> bool:
        """Whether `step` has something to do."""
        return self._scheduler.busy

    @property
    def facts(self) -> dict[str, Any]:
        """What the handshake tells the daemon."""
        model, cache = self.runner.model, self.runner.cache
        return {
            "model": str(model.config.name_or_path),
            "family": model.config.model_type,
            "parameters": model.num_parameters(),
            "dtype": str(model.dtype).removeprefix("torch."),
            "device": str(self.runner.device),
            "num_slots": cache.num_slots,
            "context": self.context,
            "cache_bytes": cache.num_bytes,
            "chat_template": bool(getattr(self.tokenizer, "chat_template", None)),
        }

    def warm_up(self) -> None:
        """Run a crowd of throw-away requests: the first calls of new shapes can cost seconds."""
        num_slots = self.runner.cache.num_slots
        length = max(1, min(48, self.context - 4))
        for n in range(num_slots):
            self.add(Generate(f"warm-up-{n}", token_ids=(0,) * (length - n % 8 if length > 8 else 1), max_tokens=3))
        while self.busy:
            self.step()

    def add(self, request: Generate) -> None:
        """Take a request in. Raises RequestFailed when it cannot be answered."""
        if request.id in self._replies:
            raise RequestFailed("bad_request", f"a request {request.id!r} is running already")
        prompt = self._prompt(request)
        room = self.context - len(prompt)
        job = Job(request.id, prompt, min(request.max_tokens, room))
        stops = request.stop
        if request.messages is not None and self._renderer is not None:
            stops += self._renderer.stops()
        self._scheduler.add(job)
        self._replies[request.id] = Reply(
            request=request,
            job=job,
            sampler=Sampler(request.sampling, prompt, self.runner.device),
            text=TextStream(self.tokenizer, stops),
            arrived_s=time.monotonic(),
        )

    def cancel(self, request_id: str) -> None:
        """Forget a request; its slot is free at once. An unknown id is one that has just ended."""
        if request_id in self._replies:
            self._end(self._replies[request_id])

    def step(self) -> list[Event]:
        """Compute one step for everybody. Nothing that happens to one request is raised: it comes out as its Failed."""
        events: list[Event] = list(self._expire())
        step = self._scheduler.plan()
        if step is None:
            return events
        self._note_started(step)
        logits = self.runner.forward(step)
        replies = [self._replies[span.job.id] for span in step.sampled]
        tokens = choose_all(logits, [reply.sampler for reply in replies])
        self._scheduler.commit(step, tokens)
        for reply, token in zip(replies, tokens, strict=True):
            events += self._advance(reply, token)
        return events

    def fail_all(self, code: str, detail: str) -> list[Event]:
        """End every running request after a step went wrong; what their slots hold is not reused."""
        failed: list[Event] = []
        for reply in list(self._replies.values()):
            self._scheduler.distrust(reply.job)
            self._end(reply)
            failed.append(Failed(reply.request.id, code, detail))
        return failed

    def check_integrity(self) -> None:
        """Raise AssertionError unless all books balance."""
        self._scheduler.check_integrity()
        assert {job.id for job in self._scheduler.jobs} == set(self._replies), "a request was lost"

    def _prompt(self, request: Generate) -> list[int]:
        if request.max_tokens < 1:
            raise RequestFailed("bad_request", "max_tokens is less than 1")
        prompt = self._token_ids(request)
        vocabulary = self.runner.model.get_input_embeddings().num_embeddings
        if not prompt or not all(0 <= token < vocabulary for token in prompt):
            raise RequestFailed("bad_request", f"the prompt is empty or has a token outside 0..{vocabulary - 1}")
        if len(prompt) >= self.context:
            raise RequestFailed("prompt_too_long", f"{len(prompt)} tokens, room for {self.context - 1}")
        return prompt

    def _token_ids(self, request: Generate) -> list[int]:
        given = [part for part in (request.messages, request.prompt, request.token_ids) if part is not None]
        if len(given) != 1:
            raise RequestFailed("bad_request", "give exactly one of messages, prompt and token_ids")
        if request.token_ids is not None:
            return list(request.token_ids)
        if self._renderer is None:
            raise RequestFailed("bad_request", "the model's folder has no tokenizer; give token_ids")
        if request.prompt is not None:
            return self._renderer.prompt(request.prompt)
        assert request.messages is not None
        room = max(1, self.context - min(request.max_tokens, self.context // 2))
        return self._renderer.messages(request.messages, room)

    def _expire(self) -> list[Failed]:
        now_s = time.monotonic()
        late = [
            reply
            for reply in self._replies.values()
            if reply.request.deadline_s is not None and now_s - reply.arrived_s > reply.request.deadline_s
        ]
        for reply in late:
            self._end(reply)
        return [Failed(reply.request.id, "deadline", f"not done in {reply.request.deadline_s} s") for reply in late]

    def _note_started(self, step: Step) -> None:
        for span in step.spans:
            reply = self._replies[span.job.id]
            if reply.started_s is None:
                reply.started_s = time.monotonic()

    def _advance(self, reply: Reply, token: int) -> list[Event]:
        """Give one new token out, and end the reply if it was the last."""
        if reply.first_token_s is None:
            reply.first_token_s = time.monotonic()
        reply.unsent.append(token)
        is_end = token in self._ends and not reply.request.ignore_eos
        text = "" if is_end else reply.text.feed(token)
        reason = self._finish_reason(reply, is_end)
        if reason is not None and not reply.text.stopped:
            text += reply.text.flush()
        events: list[Event] = []
        if text or reason is not None:
            events.append(Delta(reply.request.id, text, tuple(reply.unsent)))
            reply.unsent.clear()
        if reason is not None:
            events.append(Done(reply.request.id, reason, _usage(reply)))
            self._end(reply)
        return events

    @staticmethod
    def _finish_reason(reply: Reply, is_end: bool) -> FinishReason | None:
        if is_end:
            return "stop"
        if reply.text.stopped:
            return "stop_string"
        return "length" if len(reply.job.output) >= reply.job.max_tokens else None

    def _end(self, reply: Reply) -> None:
        self._scheduler.finish(reply.job)
        del self._replies[reply.request.id]


def _usage(reply: Reply) -> Usage:
    now_s, arrived_s = time.monotonic(), reply.arrived_s
    return Usage(
        prompt_tokens=len(reply.job.prompt),
        cached_tokens=reply.job.num_cached,
        completion_tokens=len(reply.job.output),
        queued_ms=((reply.started_s or now_s) - arrived_s) * 1000,
        first_token_ms=((reply.first_token_s or now_s) - arrived_s) * 1000,
        total_ms=(now_s - arrived_s) * 1000,
    )


def _end_tokens(model: Any) -> frozenset[int]:
    ends = model.generation_config.eos_token_id
    if ends is None:
        ends = getattr(model.config.get_text_config(), "eos_token_id", None)
    if ends is None:
        return frozenset()
    return frozenset([ends] if isinstance(ends, int) else ends)

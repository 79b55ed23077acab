"""The engine without its process: requests in, deltas and endings out, one step at a time.

The worker drives it from the line, `generate` from a file; both see the same tokens. On CUDA a step is launched before
the tokens of the one before are read, so that the device never waits for the host.
"""

import time
from typing import Any

import torch

from vtuber_brain.engine.endings import Ending, end_tokens
from vtuber_brain.engine.graphs import DecodeGraphs, capture_steps, on_cuda
from vtuber_brain.engine.kvcache import KvCache
from vtuber_brain.engine.load import enough_memory, load_runner, load_tokenizer
from vtuber_brain.engine.loras import LoraWeights
from vtuber_brain.engine.places import Place, Places
from vtuber_brain.engine.prompts import Prompts
from vtuber_brain.engine.reply import Reply
from vtuber_brain.engine.runner import BASE, Launched, Runner
from vtuber_brain.engine.sampling import MAX_CANDIDATES, Mode
from vtuber_brain.engine.scheduler import Job, Scheduler, Step
from vtuber_brain.engine.wire import Configure, Delta, Done, Failed, Generate
from vtuber_brain.errors import RequestFailed

Event = Delta | Done | Failed


class Core:
    """A model and its requests. `step` computes one forward for all of them and tells what came of it.

    `lag` is how many steps may be on the device before their tokens are read: 0 or 1.
    """

    def __init__(self, runner: Runner, tokenizer: Any | None, configure: Configure, *, lag: int | None = None) -> None:
        self.runner, self.tokenizer, self._configure = runner, tokenizer, configure
        self.context = runner.cache.context
        self._lag = lag if lag is not None else int(runner.device.type == "cuda")
        self._prompts = Prompts(tokenizer, runner.sizes.vocabulary, self.context)
        self._ends = end_tokens(runner.model)
        self.places = Places(configure.max_loras)
        self._replies: dict[str, Reply] = {}
        self._in_flight: list[Launched] = []
        self.scheduler = self._schedule()
        self._graphs = self._capture()

    @classmethod
    def load(cls, configure: Configure) -> "Core":
        """Load, prove and warm up. Raises ModelRefused."""
        with enough_memory(configure):
            core = cls(load_runner(configure), load_tokenizer(configure), configure)
            core.warm_up()
        return core

    @property
    def busy(self) -> bool:
        """Whether `step` has something to do."""
        return self.scheduler.busy or bool(self._in_flight)

    @property
    def num_slots(self) -> int:
        """Requests that run at once."""
        return self.runner.cache.num_rows - self._configure.num_pinned

    @property
    def facts(self) -> dict[str, Any]:
        """What the handshake tells the daemon."""
        model, cache = self.runner.model, self.runner.cache
        return {
            "model": str(model.config.name_or_path),
            "family": model.config.model_type,
            "parameters": self.runner.sizes.num_parameters,
            "dtype": str(model.dtype).removeprefix("torch."),
            "weights": self._configure.weights,
            "device": str(self.runner.device),
            "num_slots": self.num_slots,
            "context": self.context,
            "cache_bytes": cache.num_bytes,
            "max_loras": self._configure.max_loras,
            "lora_bytes": self.runner.bank.num_bytes,
            "chat_template": bool(getattr(self.tokenizer, "chat_template", None)),
        }

    def warm_up(self) -> None:
        """Run a crowd of throw-away requests: the first calls of new shapes can cost seconds."""
        length = max(1, min(48, self.context - 4))
        for n in range(min(self.num_slots, self._configure.max_waiting)):
            self.add(Generate(f"warm-up-{n}", token_ids=(0,) * (length - n % 8 if length > 8 else 1), max_tokens=3))
        while self.busy:
            self.step()

    def add(self, request: Generate, pin: str | None = None) -> None:
        """Take a request in; with `pin` its prompt's beginning is kept, if there are rows for that.

        Raises RequestFailed when it is no use.
        """
        if request.id in self._replies:
            raise RequestFailed("bad_request", f"a request {request.id!r} is running already")
        prompt = self._prompts.tokens(request)
        max_tokens = min(request.max_tokens, self.context - len(prompt))
        place = self._place(request)
        content_hash = place.content_hash if place is not None else None
        pin = pin if self._configure.num_pinned else None
        job = Job(request.id, prompt, max_tokens, content_hash, request.priority, pin)
        try:
            self.scheduler.add(job)
        except RequestFailed:
            self._give_back(place)
            raise
        ends = frozenset() if request.ignore_eos else self._ends
        self._replies[request.id] = Reply(
            request,
            job,
            place,
            Ending(self.tokenizer, self._prompts.stops(request), ends, max_tokens),
            time.monotonic(),
        )

    def cancel(self, request_id: str) -> None:
        """Forget a request; its slot is free at once. An unknown id is one that has just ended."""
        if request_id in self._replies:
            self._end(self._replies[request_id])

    def install(self, name: str, weights: LoraWeights) -> float | None:
        """Have `name` answer with `weights` from the next request on; how many seconds that took the device.

        None while every place has replies running: ask again after a step. Raises LoraRejected when there are too many.
        """
        self.places.check_room(name)
        found = self.places.claim(weights.content_hash)
        if found is None:
            return None
        place, is_new = found
        start_s = time.perf_counter()
        if is_new:
            with torch.inference_mode():
                self.runner.bank.put(place.index, weights)
                self.runner.synchronize()
        self.places.lead(name, place, weights.content_hash)
        return time.perf_counter() - start_s

    def drop(self, name: str) -> None:
        """Forget a lora; replies that run on it end on it."""
        self.places.drop(name)

    def step(self) -> list[Event]:
        """Launch one step for everybody and read what has come. What happens to one request comes out as its Failed."""
        events: list[Event] = list(self._expire())
        step = self.scheduler.plan()
        if step is not None:
            self._in_flight.append(self._launch(step))
        if len(self._in_flight) > self._lag or step is None:
            events += self._read()
        return events

    def fail_all(self, code: str, detail: str) -> list[Event]:
        """End every running request after a step went wrong; what their slots hold is not reused."""
        self._in_flight.clear()
        failed: list[Event] = []
        for reply in list(self._replies.values()):
            self.scheduler.distrust(reply.job)
            self._end(reply)
            failed.append(Failed(reply.request.id, code, detail))
        return failed

    def shrink(self) -> int:
        """Half as many slots, at least one, after memory ran out; nothing may be running. Gives how many there are."""
        assert not self._replies, "requests would lose their slots"
        num_slots = max(1, self.num_slots // 2)
        self._graphs = None
        self.runner.use(KvCache(num_slots + self._configure.num_pinned, self.context))
        self.runner.free_memory()
        self.scheduler = self._schedule()
        self._graphs = self._capture()
        return num_slots

    def check_integrity(self) -> None:
        """Raise AssertionError unless all books balance."""
        self.scheduler.check_integrity()
        assert {job.id for job in self.scheduler.jobs} == set(self._replies), "a request was lost"
        self.places.check_integrity([reply.place.index for reply in self._replies.values() if reply.place is not None])

    def _schedule(self) -> Scheduler:
        shape = self._configure
        return Scheduler(self.num_slots, shape.prefill_chunk, shape.max_waiting, shape.num_pinned)

    def _capture(self) -> DecodeGraphs | None:
        wanted = self._configure.graphs and self.runner.device.type == "cuda"
        return capture_steps(self.runner, self.num_slots, on_cuda()) if wanted else None

    def _launch(self, step: Step) -> Launched:
        replies = [self._replies[span.job.id] for span in step.spans]
        self._note_started(replies)
        if step.admitted is not None:
            new = next(reply for reply in replies if reply.job.slot is step.admitted.slot)
            place = new.place.index if new.place is not None else BASE
            self.runner.admit(step.admitted.slot.index, new.request.sampling, new.job.prompt, place)
        mode = Mode.of([reply.request.sampling for reply in replies])
        num_places = max((reply.place.index + 1 for reply in replies if reply.place is not None), default=0)
        logprobs = any(reply.request.logprobs for reply in replies)
        if self._graphs is not None and not logprobs:
            launched = self._graphs.launch(step, mode, num_places=num_places)
            if launched is not None:
                return launched
        limit = MAX_CANDIDATES if self._graphs is not None else None  # so that all steps choose alike
        return self.runner.launch(step, mode, num_places=num_places, max_candidates=limit, logprobs=logprobs)

    def _read(self) -> list[Event]:
        """The results of the oldest step in flight; those of requests that have ended meanwhile are passed over."""
        if not self._in_flight:
            return []
        launched = self._in_flight.pop(0)
        tokens, logprobs = launched.wait()
        self.scheduler.commit(launched.step, tokens)
        events: list[Event] = []
        for n, span in enumerate(launched.step.sampled):
            reply = self._replies.get(span.job.id)
            if reply is not None and reply.job is span.job:
                events += self._advance(reply, tokens[n], logprobs[n] if logprobs is not None else None)
        return events

    def _place(self, request: Generate) -> Place | None:
        if request.lora is None:
            return None
        place = self.places.take(request.lora)
        if place is None:
            there = ", ".join(sorted(self.places.names)) or "none"
            raise RequestFailed("unknown_lora", f"{request.lora!r} is not loaded (loaded: {there})")
        return place

    def _give_back(self, place: Place | None) -> None:
        if place is not None:
            self.places.give_back(place)

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

    @staticmethod
    def _note_started(replies: list[Reply]) -> None:
        for reply in replies:
            if reply.started_s is None:
                reply.started_s = time.monotonic()

    def _advance(self, reply: Reply, token: int, logprob: float | None) -> list[Event]:
        """Give one new token out, and end the reply if it was the last."""
        if reply.first_token_s is None:
            reply.first_token_s = time.monotonic()
        reply.unsent.append(token)
        if reply.request.logprobs and logprob is not None:
            reply.logprobs.append(logprob)
        text, reason = reply.ending.feed(token)
        events: list[Event] = []
        if text or reason is not None:
            logprobs = tuple(reply.logprobs) if reply.request.logprobs else None
            events.append(Delta(reply.request.id, text, tuple(reply.unsent), logprobs))
            reply.unsent.clear()
            reply.logprobs.clear()
        if reason is not None:
            events.append(Done(reply.request.id, reason, reply.usage))
            self._end(reply)
        return events

    def _end(self, reply: Reply) -> None:
        self.scheduler.finish(reply.job)
        self._give_back(reply.place)
        del self._replies[reply.request.id]

"""One forward for all running requests, over transformers' own model; and the choice of each row's next token.

What the device must know of a row between two steps (its last token, its lora's place, how it chooses) is kept here in
tensors, so that a step can start before the host has seen the tokens of the one before.
"""

import gc
import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import AttentionInterface, PreTrainedModel

from vtuber_brain.engine.attention import Batch, SlotAttention, lay_out
from vtuber_brain.engine.kvcache import KvCache
from vtuber_brain.engine.products import Bank
from vtuber_brain.engine.sampling import Mode, SamplingTable
from vtuber_brain.engine.scheduler import Step
from vtuber_brain.engine.wire import Sampling

BASE = -1
_names = (f"vtuber_brain_slots_{n}" for n in itertools.count())


@dataclass(frozen=True, slots=True)
class Launched:
    """A step that was handed to the device. Its results come to the host behind it, not behind the step after it."""

    step: Step
    tokens: Tensor
    logprobs: Tensor | None
    arrived: torch.cuda.Event | None

    @classmethod
    def of(cls, step: Step, tokens: Tensor, logprobs: Tensor | None = None) -> "Launched":
        """Start bringing the results to the host."""
        if tokens.device.type != "cuda":
            return cls(step, tokens, logprobs, None)
        tokens = tokens.to("cpu", non_blocking=True)
        logprobs = logprobs.to("cpu", non_blocking=True) if logprobs is not None else None
        arrived = torch.cuda.Event()
        arrived.record()
        return cls(step, tokens, logprobs, arrived)

    def wait(self) -> tuple[list[int], list[float] | None]:
        """One token, and one log-probability if asked for, for each of `step.sampled`; waits for the device."""
        if self.arrived is not None:
            self.arrived.synchronize()
        return self.tokens.tolist(), self.logprobs.tolist() if self.logprobs is not None else None


@dataclass(frozen=True, slots=True)
class Sizes:
    """What of a model cannot be counted any more once its projections are products."""

    num_parameters: int
    vocabulary: int
    num_logits: int

    @classmethod
    def of(cls, model: PreTrainedModel) -> "Sizes":
        """Of a model as transformers made it."""
        vocabulary = int(model.get_input_embeddings().num_embeddings)
        head = model.get_output_embeddings()
        return cls(model.num_parameters(), vocabulary, int(head.weight.shape[0]) if head is not None else vocabulary)


class Runner:
    """A model whose attention goes to our rows. `admit` gives a row to a request, `launch` computes a step."""

    def __init__(self, model: PreTrainedModel, cache: KvCache, bank: Bank, sizes: Sizes) -> None:
        self.model, self.bank, self.sizes = model, bank, sizes
        self.device = torch.device(model.device)
        self.attention = SlotAttention(cache)
        name = next(_names)
        AttentionInterface.register(name, self.attention)
        model.set_attn_implementation(name)
        self.use(cache)

    def use(self, cache: KvCache) -> None:
        """Work on another cache; what was known of the rows is forgotten."""
        self.cache = self.attention.cache = cache
        num_rows = cache.num_rows + 1
        self.last_tokens = torch.zeros(num_rows, dtype=torch.long, device=self.device)
        self.places = torch.full((num_rows,), BASE, device=self.device)
        self.sampling = SamplingTable(num_rows, cache.context, self.sizes.num_logits, self.device)

    def admit(self, row: int, sampling: Sampling, prompt: Sequence[int], place: int) -> None:
        """Give a row to a request: how it chooses, and its lora's place in the bank (BASE: none)."""
        self.places[row] = place
        self.sampling.set(row, sampling, prompt)

    def forward(self, batch: Batch) -> Tensor:
        """Compute a batch; logits `[len(batch.last_tokens), vocabulary]`."""
        self.attention.batch = batch
        output = self.model(
            input_ids=batch.token_ids.unsqueeze(0),
            position_ids=batch.positions.unsqueeze(0),
            use_cache=False,
            logits_to_keep=batch.last_tokens,
        )
        logits: Tensor = output.logits[0]
        return logits

    def choose(self, logits: Tensor, batch: Batch, mode: Mode, max_candidates: int | None = None) -> Tensor:
        """The next token after each row of `logits`, kept with the cache's row for the step to come."""
        rows, positions = batch.rows[batch.last_tokens], batch.positions[batch.last_tokens]
        tokens = self.sampling.choose(logits, rows, positions, mode, max_candidates)
        self.last_tokens[rows] = tokens
        return tokens

    def launch(
        self, step: Step, mode: Mode, *, num_places: int, max_candidates: int | None = None, logprobs: bool = False
    ) -> Launched:
        """Hand a step to the device. Its rows run on the base and on the first `num_places` of the bank."""
        with torch.inference_mode():
            copy = step.admitted
            if copy is not None and copy.copy_from is not None:
                self.cache.copy(copy.copy_from, copy.slot.index, copy.num_cached)
            batch = lay_out(step, self.device)
            num_decode = step.num_decode
            batch.token_ids[:num_decode] = self.last_tokens[batch.rows[:num_decode]]
            self.bank.let_through(self.places[batch.rows], num_places)
            logits = self.forward(batch)
            tokens = self.choose(logits, batch, mode, max_candidates)
            known = logits.float().log_softmax(-1).gather(-1, tokens.unsqueeze(-1)).squeeze(-1) if logprobs else None
        return Launched.of(step, tokens, known)

    def synchronize(self) -> None:
        """Wait until the device has done what it was handed."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def free_memory(self) -> None:
        """Give back what is kept for later use."""
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

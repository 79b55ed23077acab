"""From logits to the next token, one sampler a request, so that nobody's choice depends on who else is in the batch.

Order of the filters: repetition penalty (Keskar 2019, section 4.1), temperature, top-k, top-p (Holtzman 2020), min-p
(Nguyen 2024); then one draw from the request's own seeded generator.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from vtuber_brain.engine.wire import Sampling

_MAX_SEED = 2**63 - 1
_NUCLEUS_GUESS = 256
"""A nucleus is nearly always smaller; a larger one costs a sort of the vocabulary."""


class Sampler:
    """Chooses one request's tokens. The same seed, prompt and logits give the same tokens in any company."""

    def __init__(self, sampling: Sampling, prompt: Sequence[int], device: torch.device) -> None:
        self.sampling = sampling
        self._generator = torch.Generator(device)
        if sampling.seed is None:
            self._generator.seed()
        else:
            self._generator.manual_seed(sampling.seed % _MAX_SEED)
        self._seen = set(prompt) if sampling.repetition_penalty != 1 else None

    @property
    def is_plain_greedy(self) -> bool:
        """Whether the choice is the largest logit and nothing else."""
        return self.sampling.temperature == 0 and self._seen is None

    def choose(self, logits: Tensor) -> int:
        """The next token after `logits`, float32 `[vocabulary]`."""
        if self._seen is not None:
            logits = self._penalise(logits)
        token = int(logits.argmax()) if self.sampling.temperature == 0 else self._draw(logits)
        if self._seen is not None:
            self._seen.add(token)
        return token

    def _draw(self, logits: Tensor) -> int:
        scores, tokens = self._candidates(logits / self.sampling.temperature)
        weights = scores.softmax(-1)
        if self.sampling.min_p > 0:
            weights = weights.where(weights >= self.sampling.min_p * weights.max(), 0)
        chosen = torch.multinomial(weights, 1, generator=self._generator)
        return int(chosen if tokens is None else tokens[chosen])

    def _candidates(self, scores: Tensor) -> tuple[Tensor, Tensor | None]:
        """Scores after top-k and top-p, and the tokens they belong to (None: all, in order)."""
        size = scores.shape[-1]
        top_k, top_p = self.sampling.top_k or size, self.sampling.top_p
        if top_p >= 1:
            return scores.topk(top_k) if top_k < size else (scores, None)
        allowed = scores if top_k >= size else scores.topk(top_k).values
        total = allowed.logsumexp(-1)
        for count in (_NUCLEUS_GUESS, size):
            best, tokens = scores.topk(min(count, top_k, size))
            before = (best - total).exp().cumsum(-1) - (best - total).exp()
            if count >= top_k or count >= size or before[-1] >= top_p:
                break
        kept = int((before < top_p).sum())
        return best[:kept], tokens[:kept]

    def _penalise(self, logits: Tensor) -> Tensor:
        assert self._seen is not None
        seen = torch.tensor(sorted(self._seen), device=logits.device)
        scores = logits[seen]
        penalty = self.sampling.repetition_penalty
        return logits.index_put((seen,), torch.where(scores < 0, scores * penalty, scores / penalty))


def choose_all(logits: Tensor, samplers: Sequence[Sampler]) -> list[int]:
    """The next token of each row of `logits`, `[rows, vocabulary]`."""
    if not samplers:
        return []
    greedy: list[int] = logits.argmax(-1).tolist()
    return [
        token if sampler.is_plain_greedy else sampler.choose(row.float())
        for token, row, sampler in zip(greedy, logits, samplers, strict=True)
    ]

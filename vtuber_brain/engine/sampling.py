"""From logits to the next token, for all rows of a step at once, in tensors of fixed shapes: it runs in a CUDA graph.

A row's choice depends on its own logits, settings, seed and position and on nothing else, so nobody's reply depends on
who else is in the batch. Order of the filters: repetition penalty (Keskar 2019, section 4.1), presence penalty, banned
tokens, temperature, top-k, top-p (Holtzman 2020), min-p (Nguyen 2024); then the inverse of the cumulative distribution
at a number drawn from a hash of seed and position (SplitMix64, Steele 2014).
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vtuber_brain.engine.wire import Sampling

_GUESS = 256
"""Candidates looked at first; nearly every nucleus is smaller. Where the host may look, more are taken if it is not."""

MAX_CANDIDATES = 1024
"""In a graph, where the host cannot look: top-k and top-p choose among so many of the likeliest tokens at most."""

_SEEN, _SAID, _BANNED = 1, 2, 4
_MAX_SEED = 2**63
_FINEST = 2.0**-53


@dataclass(frozen=True, slots=True)
class Mode:
    """What a step's rows need: the cheapest choice that is right for all of them is made."""

    sampled: bool = False
    wide: bool = False
    marked: bool = False

    @staticmethod
    def of(samplings: Sequence[Sampling]) -> "Mode":
        """`sampled`: not all greedy; `wide`: somebody draws from all tokens; `marked`: penalties or bans."""
        drawn = [sampling for sampling in samplings if sampling.temperature > 0]
        return Mode(
            sampled=bool(drawn),
            wide=any(sampling.top_k == 0 and sampling.top_p >= 1 for sampling in drawn),
            marked=any(_is_marked(sampling) for sampling in samplings),
        )


ALL = Mode(sampled=True, wide=True, marked=True)


class SamplingTable:
    """How each row of the cache chooses, on the device; written when a request gets the row, read in every step."""

    def __init__(self, num_rows: int, vocabulary: int, device: torch.device) -> None:
        self._numbers = torch.zeros(num_rows, 6, device=device)
        self._seeds = torch.zeros(num_rows, dtype=torch.long, device=device)
        self._marks = torch.zeros(num_rows, vocabulary, dtype=torch.uint8, device=device)

    def set(self, row: int, sampling: Sampling, prompt: Sequence[int]) -> None:
        """Give a row its settings. Without a seed it gets one of its own."""
        seed = secrets.randbelow(_MAX_SEED) if sampling.seed is None else sampling.seed % _MAX_SEED
        numbers = [sampling.temperature, sampling.top_k, sampling.top_p, sampling.min_p]
        numbers += [sampling.repetition_penalty, sampling.presence_penalty]
        self._numbers[row] = torch.tensor(numbers)
        self._seeds[row] = seed
        if _is_marked(sampling):
            self._marks[row] = 0
            self._marks[row, torch.tensor(prompt, dtype=torch.long)] = _SEEN
            if sampling.banned:
                self._marks[row, torch.tensor(sampling.banned)] |= _BANNED

    def choose(
        self, logits: Tensor, rows: Tensor, positions: Tensor, mode: Mode, max_candidates: int | None = None
    ) -> Tensor:
        """The next token of each of `rows`, int64 `[rows]`, after `logits` `[rows, vocabulary]`.

        `positions` are those of the tokens just computed. `max_candidates` fixes how many tokens top-k and top-p choose
        from; None looks at the values and takes as many as are needed.
        """
        scores = logits.float()
        if mode.marked:
            scores = self._penalise(scores, rows)
        tokens = scores.argmax(-1)
        if mode.sampled:
            temperature, top_k, top_p, min_p = self._numbers[rows, :4].unsqueeze(-1).unbind(1)
            warmed, uniform = scores / temperature.clamp_min(1e-6), _uniform(self._seeds[rows], positions)
            drawn = _draw_likeliest(warmed, uniform, top_k, top_p, min_p, max_candidates)
            if mode.wide:
                unfiltered = ((top_k == 0) & (top_p >= 1)).squeeze(-1)
                drawn = torch.where(unfiltered, _draw_any(warmed, uniform, min_p), drawn)
            tokens = torch.where(temperature.squeeze(-1) > 0, drawn, tokens)
        if mode.marked:
            self._marks[rows, tokens] |= _SEEN | _SAID
        return tokens

    def _penalise(self, scores: Tensor, rows: Tensor) -> Tensor:
        marks = self._marks[rows]
        repetition, presence = self._numbers[rows, 4:].unsqueeze(-1).unbind(1)
        lowered = torch.where(scores < 0, scores * repetition, scores / repetition)
        scores = torch.where(marks & _SEEN > 0, lowered, scores)
        scores = scores - (marks & _SAID > 0) * presence
        return scores.masked_fill(marks & _BANNED > 0, float("-inf"))


def _is_marked(sampling: Sampling) -> bool:
    return sampling.repetition_penalty != 1 or sampling.presence_penalty != 0 or bool(sampling.banned)


def _draw_any(scores: Tensor, uniform: Tensor, min_p: Tensor) -> Tensor:
    """One token a row, of all."""
    weights = scores.softmax(-1)
    return _pick(weights * (weights >= min_p * weights.amax(-1, keepdim=True)), uniform)


def _draw_likeliest(
    scores: Tensor, uniform: Tensor, top_k: Tensor, top_p: Tensor, min_p: Tensor, max_candidates: int | None
) -> Tensor:
    size = scores.shape[-1]
    limit = top_k.where(top_k > 0, size)
    count = min(max_candidates or _GUESS, size)
    everything = scores.logsumexp(-1, keepdim=True)
    while True:
        best, tokens = scores.topk(count)
        allowed = torch.arange(count, device=scores.device) < limit
        likeliest = best.masked_fill(~allowed, float("-inf")).logsumexp(-1, keepdim=True)
        weights = (best - torch.where(top_k > 0, likeliest, everything)).exp() * allowed
        before = weights.cumsum(-1) - weights
        enough = (limit <= count) | (top_k == 0) & ((before[:, -1:] >= top_p) | (top_p >= 1))
        if max_candidates is not None or count == size or bool(enough.all()):
            break
        count = min(8 * count, size)
    kept = weights * (before < top_p) * (weights >= min_p * weights[:, :1])
    return tokens.gather(-1, _pick(kept, uniform).unsqueeze(-1)).squeeze(-1)


def _pick(weights: Tensor, uniform: Tensor) -> Tensor:
    """The index at which the running sum of `weights`, `[rows, n]`, passes `uniform` of their total."""
    sums = weights.cumsum(-1)
    index = (sums <= uniform.unsqueeze(-1) * sums[:, -1:]).sum(-1)
    last = weights.shape[-1] - 1 - (weights > 0).flip(-1).int().argmax(-1)
    return torch.minimum(index, last)


def _uniform(seeds: Tensor, positions: Tensor) -> Tensor:
    """A number in [0, 1) for each pair of int64 seed and position: SplitMix64's output, its upper 53 bits."""
    bits = seeds + positions * _signed(0x9E3779B97F4A7C15)
    bits = (bits ^ _shifted(bits, 30)) * _signed(0xBF58476D1CE4E5B9)
    bits = (bits ^ _shifted(bits, 27)) * _signed(0x94D049BB133111EB)
    bits = bits ^ _shifted(bits, 31)
    return (_shifted(bits, 11).double() * _FINEST).float().clamp_max(1 - 2.0**-24)


def _shifted(bits: Tensor, count: int) -> Tensor:
    """A logical right shift: int64's own keeps the sign."""
    return (bits >> count) & ((1 << (64 - count)) - 1)


def _signed(number: int) -> int:
    return number - 2**64 if number >= 2**63 else number

"""From logits to the next token, for all rows of a step at once, in tensors of fixed shapes: it runs in a CUDA graph.

A row's choice depends on its own logits, settings, seed and position and on nothing else, so nobody's reply depends on
who else is in the batch. Order of the filters: repetition penalty (Keskar 2019, section 4.1), presence penalty, banned
tokens, temperature, top-k, top-p (Holtzman 2020), min-p (Nguyen 2024); then the inverse of the cumulative distribution
at a number drawn from a hash of seed and position (SplitMix64, Steele 2014).
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from vtuber_brain.engine.wire import Sampling

_GUESS = 256
"""Candidates looked at first; nearly every nucleus is smaller. Where the host may look, more are taken if it is not."""

MAX_CANDIDATES = 1024
"""In a graph the host cannot look: where there are graphs, all steps choose among so many of the likeliest at most."""

_MAX_SEED = 2**63
_FINEST = 2.0**-53


@dataclass(frozen=True, slots=True)
class Mode:
    """What a step's rows need: the cheapest choice that is right for all of them is made.

    `sampled`: not all are greedy; `unbounded`: somebody draws without top-k, `wide`: and without top-p; the rest: these
    penalties or bans are in use.
    """

    sampled: bool = False
    unbounded: bool = False
    wide: bool = False
    repetition: bool = False
    presence: bool = False
    bans: bool = False

    @staticmethod
    def of(samplings: Sequence[Sampling]) -> "Mode":
        """For rows that choose so."""
        drawn = [sampling for sampling in samplings if sampling.temperature > 0]
        return Mode(
            sampled=bool(drawn),
            unbounded=any(sampling.top_k == 0 for sampling in drawn),
            wide=any(sampling.top_k == 0 and sampling.top_p >= 1 for sampling in drawn),
            repetition=any(sampling.repetition_penalty != 1 for sampling in samplings),
            presence=any(sampling.presence_penalty != 0 for sampling in samplings),
            bans=any(sampling.banned for sampling in samplings),
        )


ALL = Mode(sampled=True, unbounded=True, wide=True, repetition=True, presence=True, bans=True)


class SamplingTable:
    """How each row of the cache chooses, and the tokens it has seen, on the device.

    Written when a request gets the row; read, and the new token noted, in every step.
    """

    def __init__(self, num_rows: int, context: int, vocabulary: int, device: torch.device) -> None:
        self._numbers = torch.zeros(num_rows, 6, device=device)
        self._seeds = torch.zeros(num_rows, dtype=torch.long, device=device)
        self._tokens = torch.zeros(num_rows, context + 1, dtype=torch.long, device=device)
        self._num_prompt = torch.zeros(num_rows, dtype=torch.long, device=device)
        self._banned = torch.zeros(num_rows, vocabulary, dtype=torch.bool, device=device)

    def set(self, row: int, sampling: Sampling, prompt: Sequence[int]) -> None:
        """Give a row its settings. Without a seed it gets one of its own."""
        seed = secrets.randbelow(_MAX_SEED) if sampling.seed is None else sampling.seed % _MAX_SEED
        numbers = [sampling.temperature, sampling.top_k, sampling.top_p, sampling.min_p]
        numbers += [sampling.repetition_penalty, sampling.presence_penalty]
        self._numbers[row] = torch.tensor(numbers)
        self._seeds[row] = seed
        self._tokens[row, : len(prompt)] = torch.tensor(prompt, dtype=torch.long)
        self._num_prompt[row] = len(prompt)
        self._banned[row] = False
        if sampling.banned:
            self._banned[row, torch.tensor(sampling.banned)] = True

    def choose(
        self, logits: Tensor, rows: Tensor, positions: Tensor, mode: Mode, max_candidates: int | None = None
    ) -> Tensor:
        """The next token of each of `rows`, int64 `[rows]`, after `logits` `[rows, vocabulary]`.

        `positions` are those of the tokens just computed. `max_candidates` fixes how many tokens top-k and top-p choose
        from; None looks at the values and takes as many as are needed.
        """
        scores = logits.float()
        if mode.repetition or mode.presence:
            scores = self._penalise(scores, rows, positions, mode)
        if mode.bans:
            scores = scores.masked_fill(self._banned[rows], float("-inf"))
        tokens = scores.argmax(-1)
        if mode.sampled:
            temperature = self._numbers[rows, 0]
            drawn = self._draw(scores, rows, positions, mode, max_candidates)
            tokens = torch.where(temperature > 0, drawn, tokens)
        self._tokens[rows, positions + 1] = tokens
        return tokens

    def _draw(self, scores: Tensor, rows: Tensor, positions: Tensor, mode: Mode, max_candidates: int | None) -> Tensor:
        temperature, top_k, top_p, min_p = self._numbers[rows, :4].unsqueeze(-1).unbind(1)
        filters = Filters(temperature.clamp_min(1e-6), top_k, top_p, min_p)
        uniform = _uniform(self._seeds[rows], positions)
        drawn = _draw_likeliest(scores, uniform, filters, mode, max_candidates)
        if not mode.wide:
            return drawn
        unfiltered = ((top_k == 0) & (top_p >= 1)).squeeze(-1)
        return torch.where(unfiltered, _draw_any(scores, uniform, filters), drawn)

    def _penalise(self, scores: Tensor, rows: Tensor, positions: Tensor, mode: Mode) -> Tensor:
        """Every token of a row is looked up and put back; places after its last one stand for its first."""
        places = torch.arange(self._tokens.shape[1], device=scores.device)
        seen = places <= positions.unsqueeze(-1)
        tokens = self._tokens[rows]
        tokens = torch.where(seen, tokens, tokens[:, :1])
        if mode.repetition:
            penalty, found = self._numbers[rows, 4:5], scores.gather(-1, tokens)
            scores = scores.scatter(-1, tokens, torch.where(found < 0, found * penalty, found / penalty))
        if mode.presence:
            in_reply = seen & (places >= self._num_prompt[rows].unsqueeze(-1))
            said = torch.zeros_like(scores).scatter_reduce_(-1, tokens, in_reply.float(), "amax")
            scores = scores - said * self._numbers[rows, 5:6]
        return scores


class Filters(NamedTuple):
    """One number a row, `[rows, 1]`."""

    temperature: Tensor
    top_k: Tensor
    top_p: Tensor
    min_p: Tensor


def _draw_any(scores: Tensor, uniform: Tensor, filters: Filters) -> Tensor:
    """One token a row, of all."""
    weights = (scores / filters.temperature).softmax(-1)
    return _pick(weights * (weights >= filters.min_p * weights.amax(-1, keepdim=True)), uniform)


def _draw_likeliest(
    scores: Tensor, uniform: Tensor, filters: Filters, mode: Mode, max_candidates: int | None
) -> Tensor:
    """One token a row, of the `top_k` likeliest and of those the smallest set that holds `top_p` of the whole."""
    temperature, top_k, top_p, min_p = filters
    size = scores.shape[-1]
    limit = top_k.where(top_k > 0, size)
    count = min(max_candidates or _GUESS, size)
    while True:
        best, tokens = scores.topk(count)
        best = best / temperature
        allowed = torch.arange(count, device=scores.device) < limit
        total = best.masked_fill(~allowed, float("-inf")).logsumexp(-1, keepdim=True)
        if mode.unbounded:
            total = torch.where(top_k > 0, total, (scores / temperature).logsumexp(-1, keepdim=True))
        weights = (best - total).exp() * allowed
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

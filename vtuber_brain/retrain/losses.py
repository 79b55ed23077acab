"""What a pack costs: logits only where something is learnt, cross-entropy weighted per token.

It also proves in every run that rows packed together cost what each costs alone.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from vtuber_brain.errors import ModelRefused
from vtuber_brain.retrain.packs import Pack, PackAttention, Sheet, alone, packed, sheet
from vtuber_brain.retrain.rows import Row

_CHUNK = 64
_SAMPLE_ROWS = 3


class _Nll(torch.autograd.Function):
    """Cross-entropy by chunks: neither the logits in fp32 nor their softmax is ever there as a whole."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, targets: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        """Weighted sum, and the plain costs `[predictions]`, of logits `[predictions, vocabulary]`."""
        costs = torch.empty(len(targets), dtype=torch.float32, device=logits.device)
        grad = torch.empty_like(logits) if ctx.needs_input_grad[0] else None
        for start in range(0, len(targets), _CHUNK):
            at = slice(start, start + _CHUNK)
            scores, wanted = logits[at].float(), targets[at].unsqueeze(1)
            norms = scores.logsumexp(-1, keepdim=True)
            costs[at] = (norms - scores.gather(1, wanted)).squeeze(1)
            if grad is not None:
                shares = (scores - norms).exp_()
                shares.scatter_add_(1, wanted, torch.full_like(norms, -1.0))
                grad[at] = shares.mul_(weights[at].unsqueeze(1))
        ctx.grad = grad
        ctx.mark_non_differentiable(costs)
        return (costs * weights).sum(), costs

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        """By the scale of the sum."""
        grad, ctx.grad = ctx.grad, None
        return grad.mul_(grads[0]), None, None


@dataclass(frozen=True, slots=True)
class Cost:
    """`total`: the weighted sum, to be differentiated. `each`: nats `[predictions]` without weights."""

    total: Tensor
    each: Tensor


def cost(model: Any, page: Sheet, attention: PackAttention, cast: AbstractContextManager[Any], scale: float) -> Cost:
    """The loss of a pack on a model that attends by `attention`, times `scale`. `cast` is the autocast to run under."""
    attention.sheet = page
    with cast:
        logits = model(
            input_ids=page.ids.unsqueeze(0),
            position_ids=page.positions.unsqueeze(0),
            use_cache=False,
            logits_to_keep=page.sources,
        ).logits[0]
    return Cost(*_Nll.apply(logits, page.targets, page.weights * scale))


def row_costs(model: Any, packs: Sequence[Pack], attention: PackAttention, cast: AbstractContextManager[Any]) -> Tensor:
    """Weighted mean nats of each row, fp64 on the CPU, in the order of the packs' rows."""
    means = []
    with torch.inference_mode():
        for pack in packs:
            page = sheet(pack, model.device)
            each = cost(model, page, attention, cast, 1.0).each.double()
            weights = page.weights.double()
            sums = torch.zeros(2, len(pack.rows), dtype=torch.float64, device=each.device)
            sums[0].index_add_(0, page.owners, each * weights)
            sums[1].index_add_(0, page.owners, weights)
            means.append((sums[0] / sums[1]).cpu())
    return torch.cat(means)


def plain_row_cost(model: Any, row: Row) -> float:
    """Weighted mean nats of one row, by the model's own forward with its own attention and positions."""
    tokens = torch.tensor([row.tokens], device=model.device)
    weights = torch.tensor(row.weights[1:], dtype=torch.float64, device=model.device)
    with torch.inference_mode():
        logits = model(input_ids=tokens, use_cache=False).logits[0, :-1].double()
    costs = torch.nn.functional.cross_entropy(logits, tokens[0, 1:], reduction="none")
    return float((costs * weights).sum() / weights.sum())


def prove_packs_fit(model: Any, rows: Sequence[Row], pack_tokens: int) -> float:
    """The largest difference in nats a token between rows packed and alone, on a sample; in fp32, on the base.

    Raises ModelRefused when they differ: the model then does not take positions, or attends in a way of its own.
    """
    chosen = _sample(rows, pack_tokens)
    dtype = next(model.parameters()).dtype
    model.eval()
    if model.device.type == "cpu":
        model.float()  # and back: what was rounded to bf16 once does not change by it
    attention = PackAttention()
    expected = torch.tensor([plain_row_cost(model, row) for row in chosen], dtype=torch.float64)
    packs = packed(chosen, pack_tokens)
    order = {id(row): place for place, row in enumerate(row for pack in packs for row in pack.rows)}
    with attention.serving(model):
        found = row_costs(model, packs, attention, torch.autocast(model.device.type, enabled=False))
    found = found[[order[id(row)] for row in chosen]]
    allowed = 1e-4 if next(model.parameters()).dtype == torch.float32 else 3e-2
    model.to(dtype)
    error = float((found - expected).abs().max())
    if not error <= allowed:
        family = model.config.model_type
        reason = f"rows packed together cost otherwise than alone ({error:.2g} nats a token)"
        raise ModelRefused(f"a model of the family {family!r} cannot be trained: {reason}")
    return error


def _sample(rows: Sequence[Row], pack_tokens: int) -> list[Row]:
    """A few rows that share a pack: of those with the commonest opening, the shortest; they are computed in fp32."""
    learnt = [pack.rows[0] for pack in alone(rows)]
    groups = packed(sorted(learnt, key=lambda row: len(row.tokens))[: 2 * _SAMPLE_ROWS], pack_tokens)
    return list(max(groups, key=lambda pack: len(pack.rows)).rows[:_SAMPLE_ROWS])

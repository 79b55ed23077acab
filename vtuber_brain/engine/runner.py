"""One forward for all running requests: transformers' own model over our slots, by its public attention interface.

The tokens of a step lie flat in one row `[1, tokens]`. Everything but attention sees only tokens; `SlotAttention` is
what the model calls for attention (`AttentionInterface.register`): it writes K and V to the slots and lets each request
see its own row alone.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, PreTrainedModel

from vtuber_brain.engine.kvcache import KvCache, rows
from vtuber_brain.engine.scheduler import Span, Step

_names = (f"vtuber_brain_slots_{n}" for n in itertools.count())


@dataclass(slots=True)
class Group:
    """Spans of equal length that attend together: `num_tokens` tokens a row, of `slots`, over `length` positions."""

    slots: list[int]
    num_tokens: int
    length: int
    positions: Tensor
    masks: dict[int | None, Tensor] = field(default_factory=dict)

    def mask(self, window: int | None, heads_per_kv: int, dtype: torch.dtype) -> Tensor:
        """What is added to the scores: 0 where a query may look, else -inf; `[rows, 1, heads_per_kv * tokens, length]`.

        A query sees positions up to its own and, with a window, only the last `window` of those.
        """
        if window not in self.masks:
            keys = torch.arange(self.length, device=self.positions.device)
            queries = self.positions.view(len(self.slots), 1, self.num_tokens, 1)
            hidden = keys > queries
            if window is not None:
                hidden |= keys <= queries - window
            mask = torch.zeros(hidden.shape, dtype=dtype, device=hidden.device).masked_fill_(hidden, float("-inf"))
            self.masks[window] = mask.repeat(1, 1, heads_per_kv, 1)
        return self.masks[window]


@dataclass(slots=True)
class Batch:
    """A step laid out for the model: one entry a token, and the groups in which they attend."""

    token_ids: Tensor
    positions: Tensor
    slots: Tensor
    groups: list[Group]
    last_tokens: Tensor


def lay_out(step: Step, device: torch.device) -> Batch:
    """The tensors of a step. The decode rows form one group; the prompt chunk, if any, another."""
    spans = step.spans
    positions = [range(span.start, span.start + len(span.tokens)) for span in spans]
    ends = list(itertools.accumulate(len(span.tokens) for span in spans))
    flat_positions = _tensor([position for run in positions for position in run], device)
    batch = Batch(
        token_ids=_tensor([token for span in spans for token in span.tokens], device),
        positions=flat_positions,
        slots=_tensor([span.slot for span in spans for _ in span.tokens], device),
        groups=[],
        last_tokens=_tensor([end - 1 for span, end in zip(spans, ends, strict=True) if span.wants_token], device),
    )
    if step.num_decode:
        batch.groups.append(_group(spans[: step.num_decode], flat_positions[: step.num_decode]))
    for span, end in zip(spans[step.num_decode :], ends[step.num_decode :], strict=True):
        batch.groups.append(_group([span], flat_positions[end - len(span.tokens) : end]))
    return batch


class SlotAttention:
    """The registered attention function, and the batch it works for at the moment."""

    def __init__(self, cache: KvCache) -> None:
        self.cache = cache
        self.batch: Batch | None = None
        self.calls: list[int] = []

    def __call__(
        self,
        module: nn.Module,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attention_mask: Tensor | None,  # noqa: ARG002 - the interface's place for it; ours comes from the groups
        scaling: float | None = None,
        sliding_window: int | None = None,
        softcap: float | None = None,
        **_: Any,
    ) -> tuple[Tensor, None]:
        """Give `[1, tokens, heads, dim]` for query `[1, heads, tokens, dim]` and K, V `[1, kv_heads, tokens, dim]`."""
        assert self.batch is not None
        layer = int(module.layer_idx)  # type: ignore[arg-type]
        self.calls.append(layer)
        keys, values = self.cache.write(layer, self.batch.slots, self.batch.positions, key[0], value[0])
        outputs, start = [], 0
        for group in self.batch.groups:
            end = start + len(group.slots) * group.num_tokens
            queries = query[0, :, start:end]
            outputs.append(_attend(queries, keys, values, group, scaling, sliding_window, softcap))
            start = end
        return torch.cat(outputs).unsqueeze(0), None


class Runner:
    """A model whose attention goes to our slots. `forward` is all that the rest of the engine asks of it."""

    def __init__(self, model: PreTrainedModel, cache: KvCache) -> None:
        self.model, self.cache = model, cache
        self.attention = SlotAttention(cache)
        name = next(_names)
        AttentionInterface.register(name, self.attention)
        model.set_attn_implementation(name)

    @property
    def device(self) -> torch.device:
        """Where the model computes."""
        return torch.device(self.model.device)

    def forward(self, step: Step) -> Tensor:
        """Compute a step; logits `[len(step.sampled), vocabulary]` after the last token of each span that wants one."""
        with torch.inference_mode():
            if step.copy is not None and step.copy.copy_from is not None:
                self.cache.copy(step.copy.copy_from, step.copy.slot.index, step.copy.num_cached)
            self.attention.batch = batch = lay_out(step, self.device)
            output = self.model(
                input_ids=batch.token_ids.unsqueeze(0),
                position_ids=batch.positions.unsqueeze(0),
                use_cache=False,
                logits_to_keep=batch.last_tokens,
            )
        logits: Tensor = output.logits[0]
        return logits


def _attend(
    query: Tensor,
    keys: Tensor,
    values: Tensor,
    group: Group,
    scaling: float | None,
    window: int | None,
    softcap: float | None,
) -> Tensor:
    """Attention of one group, `[tokens, heads, dim]`.

    The query heads that share a key head are viewed as further query rows, so K and V are never repeated.
    """
    heads, _, dim = query.shape
    kv_heads, num_rows = keys.shape[1], len(group.slots)
    shared = heads // kv_heads
    query = query.view(heads, num_rows, group.num_tokens, dim).transpose(0, 1)
    query = query.reshape(num_rows, kv_heads, shared * group.num_tokens, dim)
    key, value = rows(keys, group.slots, group.length), rows(values, group.slots, group.length)
    mask = group.mask(window, shared, query.dtype)
    if softcap is None:
        output = scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=scaling)
    else:
        scores = query @ key.transpose(-1, -2) * (dim**-0.5 if scaling is None else scaling)
        scores = torch.tanh(scores / softcap) * softcap + mask
        output = scores.softmax(-1, dtype=torch.float32).to(query.dtype) @ value
    output = output.view(num_rows, heads, group.num_tokens, -1)
    return output.transpose(1, 2).reshape(num_rows * group.num_tokens, heads, -1)


def _group(spans: Sequence[Span], positions: Tensor) -> Group:
    length = max(span.start + len(span.tokens) for span in spans)
    return Group([span.slot for span in spans], len(spans[0].tokens), length, positions)


def _tensor(values: list[int], device: torch.device) -> Tensor:
    return torch.tensor(values, dtype=torch.long, device=device)

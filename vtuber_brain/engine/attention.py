"""What the model calls for attention (`AttentionInterface.register`): it writes K and V to the cache and lets each
request see its own row alone. The tokens of a step lie flat in one row; everything but attention sees only tokens.
"""

import inspect
import itertools
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from vtuber_brain.engine.kvcache import PAGE, KvCache
from vtuber_brain.engine.scheduler import Span, Step


@dataclass(slots=True)
class Group:
    """Spans of equal length that attend together: `num_tokens` tokens each, of `rows`, over `length` positions.

    `first_row` is given where the rows adjoin: they are then read in place.
    """

    rows: Tensor
    num_tokens: int
    length: int
    positions: Tensor
    first_row: int | None = None
    masks: dict[int | None, Tensor] = field(default_factory=dict)

    @property
    def num_rows(self) -> int:
        """How many spans."""
        return len(self.rows)

    def of(self, side: Tensor) -> Tensor:
        """The rows' first `length` positions, `[rows, kv_heads, length, head_dim]`."""
        if self.first_row is None:
            part = side[:, : self.length].index_select(0, self.rows)
        else:
            part = side[self.first_row : self.first_row + self.num_rows, : self.length]
        return part.transpose(1, 2)

    def mask(self, window: int | None, heads_per_kv: int, dtype: torch.dtype) -> Tensor:
        """What is added to the scores: 0 where a query may look, else -inf; `[rows, 1, heads_per_kv * tokens, length]`.

        A query sees positions up to its own and, with a window, only the last `window` of those.
        """
        if window not in self.masks:
            keys = torch.arange(self.length, device=self.positions.device)
            queries = self.positions.view(self.num_rows, 1, self.num_tokens, 1)
            hidden = keys > queries
            if window is not None:
                hidden |= keys <= queries - window
            mask = torch.zeros(hidden.shape, dtype=dtype, device=hidden.device).masked_fill_(hidden, float("-inf"))
            self.masks[window] = mask.repeat(1, 1, heads_per_kv, 1)
        return self.masks[window]


@dataclass(slots=True)
class Batch:
    """A step laid out for the model: one entry a token, the groups in which they attend, and where tokens are chosen.

    For attention over pages: `starts` are the ends of the spans before each span, and of all; `row_starts`, made when
    the first layer asks, the same for the whole rows that they look at.
    """

    token_ids: Tensor
    positions: Tensor
    rows: Tensor
    groups: list[Group]
    last_tokens: Tensor
    starts: Tensor
    span_rows: Tensor
    max_tokens: int
    row_starts: Tensor | None = None

    @property
    def used(self) -> Tensor:
        """Positions each span's row holds once this step has been written, int32 `[spans]`."""
        return (self.positions[self.starts[1:].long() - 1] + 1).to(torch.int32)


def lay_out(step: Step, device: torch.device) -> Batch:
    """The tensors of a step. The decode rows form one group; the prompt chunk, if any, another.

    A decode token's id is left 0: it is on the device, with the row.
    """
    spans = step.spans
    ends = list(itertools.accumulate(span.num_tokens for span in spans))
    positions = _tensor([span.start + offset for span in spans for offset in range(span.num_tokens)], device)
    batch = Batch(
        token_ids=_tensor([token for span in spans for token in span.tokens or (0,)], device),
        positions=positions,
        rows=_tensor([span.slot for span in spans for _ in range(span.num_tokens)], device),
        groups=[],
        last_tokens=_tensor([end - 1 for span, end in zip(spans, ends, strict=True) if span.wants_token], device),
        starts=torch.tensor([0, *ends], dtype=torch.int32, device=device),
        span_rows=_tensor([span.slot for span in spans], device),
        max_tokens=max(span.num_tokens for span in spans),
    )
    if step.num_decode:
        batch.groups.append(_group(spans[: step.num_decode], positions[: step.num_decode]))
    for span, end in zip(spans[step.num_decode :], ends[step.num_decode :], strict=True):
        batch.groups.append(_group((span,), positions[end - span.num_tokens : end]))
    return batch


class SlotAttention:
    """The registered function, and the batch it works for at the moment.

    `called` collects the layers that call, where somebody wants to know; `paged` says how to attend.
    """

    def __init__(self, cache: KvCache) -> None:
        self.cache = cache
        self.batch: Batch | None = None
        self.called: list[int] | None = None
        self.paged = False

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
        if self.called is not None:
            self.called.append(layer)
        keys, values = self.cache.write(layer, self.batch.rows, self.batch.positions, key[0], value[0])
        if self.paged and softcap is None:
            return _attend_pages(query, keys, values, self.batch, scaling, sliding_window).unsqueeze(0), None
        outputs, start = [], 0
        for group in self.batch.groups:
            end = start + group.num_rows * group.num_tokens
            outputs.append(_attend(query[0, :, start:end], keys, values, group, scaling, sliding_window, softcap))
            start = end
        return torch.cat(outputs).unsqueeze(0), None


def can_page(cache: KvCache, device: torch.device, dtype: torch.dtype) -> bool:
    """Whether PyTorch's own attention over pages may be tried: CUDA, half precision, whole pages, and a new enough one.

    It must take `num_splits`: where it splits the keys as it likes, a reply depends on who else is in the step.
    Whether it then computes the right thing for a model is for the proof at loading to say.
    """
    if device.type != "cuda" or dtype not in (torch.bfloat16, torch.float16) or cache.capacity % PAGE:
        return False
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        return False
    return {"seqused_k", "block_table", "num_splits"} <= set(inspect.signature(varlen_attn).parameters)


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
    kv_heads, num_rows = keys.shape[2], group.num_rows
    shared = heads // kv_heads
    query = query.view(heads, num_rows, group.num_tokens, dim).transpose(0, 1)
    query = query.reshape(num_rows, kv_heads, shared * group.num_tokens, dim)
    key, value = group.of(keys), group.of(values)
    mask = group.mask(window, shared, query.dtype)
    if softcap is None:
        output = scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=scaling)
    else:
        scores = query @ key.transpose(-1, -2) * (dim**-0.5 if scaling is None else scaling)
        scores = torch.tanh(scores / softcap) * softcap + mask
        output = scores.softmax(-1, dtype=torch.float32).to(query.dtype) @ value
    output = output.reshape(num_rows, heads, group.num_tokens, -1)
    return output.transpose(1, 2).reshape(num_rows * group.num_tokens, heads, -1)


def _attend_pages(
    query: Tensor, keys: Tensor, values: Tensor, batch: Batch, scaling: float | None, window: int | None
) -> Tensor:
    """All spans in one call, `[tokens, heads, dim]`: a row of the cache is a run of pages that adjoin."""
    from torch.nn.attention.varlen import varlen_attn

    num_pages, capacity = keys.shape[1] // PAGE, keys.shape[1]
    if batch.row_starts is None:
        ends = len(batch.starts) * capacity
        batch.row_starts = torch.arange(0, ends, capacity, dtype=torch.int32, device=keys.device)
    pages = torch.arange(num_pages, dtype=torch.int32, device=keys.device)
    output: Tensor = varlen_attn(
        query[0].transpose(0, 1).contiguous(),
        keys.view(-1, PAGE, *keys.shape[2:]),
        values.view(-1, PAGE, *values.shape[2:]),
        batch.starts,
        batch.row_starts,
        batch.max_tokens,
        capacity,
        scale=scaling,
        window_size=(-1 if window is None else window - 1, 0),
        enable_gqa=query.shape[1] != keys.shape[2],
        seqused_k=batch.used,
        block_table=batch.span_rows.to(torch.int32).unsqueeze(1) * num_pages + pages,
        num_splits=1,
    )
    return output


def _group(spans: tuple[Span, ...], positions: Tensor) -> Group:
    length = max(span.start + span.num_tokens for span in spans)
    first, last = spans[0].slot, spans[-1].slot
    rows = _tensor([span.slot for span in spans], positions.device)
    adjoin = last - first + 1 == len(spans)
    return Group(rows, spans[0].num_tokens, length, positions, first if adjoin else None)


def _tensor(values: list[int], device: torch.device) -> Tensor:
    return torch.tensor(values, dtype=torch.long, device=device)

"""Several rows in one sequence: the opening they share is computed once, and each row sees it and itself, no other.

Positions of every row go on where the opening ends, so that a row is computed exactly as it would be alone; `attend`
is what a model calls for attention meanwhile (transformers' `AttentionInterface`).
"""

import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

from vtuber_brain.retrain.rows import Row

FILLED = 64
"""To what multiple sheets are filled in a run: oneDNN keeps a kernel of half a megabyte for every size it ever met."""

_names = (f"vtuber_brain_packs_{n}" for n in itertools.count())


@dataclass(frozen=True, slots=True)
class Pack:
    """Rows with the same opening. `num_tokens` are computed; `num_row_tokens` would be, were each row alone."""

    rows: tuple[Row, ...]

    @property
    def num_tokens(self) -> int:
        """Tokens the model is given: what stands behind the last learnt token of a row needs no computing."""
        return self.num_opening + sum(_num_own(row) for row in self.rows)

    @property
    def num_row_tokens(self) -> int:
        """Tokens of the rows, each with its opening."""
        return sum(len(row.tokens) for row in self.rows)

    @property
    def num_opening(self) -> int:
        """Tokens all rows begin with."""
        return self.rows[0].num_opening

    @property
    def weight(self) -> float:
        """The sum of the weights of all that is learnt."""
        return sum(sum(row.weights) for row in self.rows)


@dataclass(frozen=True, slots=True)
class Sheet:
    """A pack as tensors. `ids`, `positions` `[tokens]`; `spans` where each row's own tokens stand.

    Predictions: at `sources` the tokens `targets` are expected, with `weights`, for the row of number `owners`.
    """

    ids: Tensor
    positions: Tensor
    num_opening: int
    spans: tuple[tuple[int, int], ...]
    sources: Tensor
    targets: Tensor
    weights: Tensor
    owners: Tensor
    masks: dict[Any, Tensor] = field(default_factory=dict)

    def mask(self, num_queries: int, window: int | None, dtype: torch.dtype) -> Tensor:
        """What is added to the scores of a row of `num_queries` own tokens: `[queries, opening + queries]`."""
        key = num_queries, window, dtype
        if key not in self.masks:
            keys = torch.arange(self.num_opening + num_queries, device=self.ids.device)
            queries = keys[self.num_opening :].unsqueeze(1)
            self.masks[key] = _additive(keys, queries, window, dtype)
        return self.masks[key]

    def opening_mask(self, window: int | None, dtype: torch.dtype) -> Tensor:
        """The same for the opening, which sees itself."""
        key = -1, window, dtype
        if key not in self.masks:
            keys = torch.arange(self.num_opening, device=self.ids.device)
            self.masks[key] = _additive(keys, keys.unsqueeze(1), window, dtype)
        return self.masks[key]


def packed(rows: Iterable[Row], max_tokens: int) -> list[Pack]:
    """Rows put together, longest first, each where it fits first; one that is longer than `max_tokens` stands alone.

    Rows in which nothing is learnt are left out. The same rows give the same packs, in whatever order they come.
    """
    owns = [(_num_own(row), row) for row in rows if row.num_learnt]
    bins: dict[tuple[int, ...], list[_Bin]] = defaultdict(list)
    for own, row in sorted(owns, key=lambda one: (-one[0], one[1].id, one[1].tokens)):
        shared = row.tokens[: row.num_opening]
        for group in bins[shared]:
            if group.num_tokens + own <= max_tokens:
                group.rows.append(row)
                group.num_tokens += own
                break
        else:
            bins[shared].append(_Bin([row], len(shared) + own))
    return [Pack(tuple(group.rows)) for groups in bins.values() for group in groups]


@dataclass(slots=True)
class _Bin:
    """A pack in the making."""

    rows: list[Row]
    num_tokens: int


def alone(rows: Iterable[Row]) -> list[Pack]:
    """Each row as a pack of its own, in their order."""
    return [Pack((row,)) for row in rows if row.num_learnt]


def sheet(pack: Pack, device: torch.device | str = "cpu", multiple: int = 1) -> Sheet:
    """The pack as tensors on `device`, filled up to a `multiple` of tokens and of predictions; the filling weighs 0."""
    start = pack.num_opening
    ids, positions, spans = list(pack.rows[0].tokens[:start]), list(range(start)), []
    predictions: list[tuple[int, int, float, int]] = []
    for number, row in enumerate(pack.rows):
        first, end = len(ids), start + _num_own(row)
        ids += row.tokens[start:end]
        positions += range(start, end)
        spans.append((first, len(ids)))
        for at, weight in enumerate(row.weights):
            if weight > 0:
                source = at - 1 if at - 1 < start else first + at - 1 - start
                predictions.append((source, row.tokens[at], weight, number))
    missing = -len(ids) % multiple
    spans.append((len(ids), len(ids) + missing))
    ids += [0] * missing
    positions += [start] * missing
    predictions += [(0, 0, 0.0, 0)] * (-len(predictions) % multiple)
    sources, targets, weights, owners = (
        torch.tensor(column, device=device) for column in zip(*predictions, strict=True)
    )
    at_device = (torch.tensor(ids, device=device), torch.tensor(positions, device=device))
    return Sheet(*at_device, start, tuple(spans), sources, targets, weights, owners)


class PackAttention:
    """The registered function, and the sheet it works for at the moment."""

    def __init__(self) -> None:
        self.sheet: Sheet | None = None

    @contextmanager
    def serving(self, model: Any) -> Iterator[None]:
        """While the block runs, `model` attends by this; afterwards as before."""
        before, name = model.config._attn_implementation, next(_names)
        AttentionInterface.register(name, self)
        model.set_attn_implementation(name)
        try:
            yield
        finally:
            model.set_attn_implementation(before)

    def __call__(
        self,
        module: nn.Module,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attention_mask: Tensor | None,  # noqa: ARG002 - the interface's place for it; ours comes from the sheet
        dropout: float = 0.0,
        scaling: float | None = None,
        sliding_window: int | None = None,
        softcap: float | None = None,
        **_: Any,
    ) -> tuple[Tensor, None]:
        """Give `[1, tokens, heads, dim]` for query `[1, heads, tokens, dim]` and K, V `[1, kv_heads, tokens, dim]`."""
        assert self.sheet is not None
        how = (sliding_window, dropout if module.training else 0.0, scaling, softcap)
        return attend(query, key, value, self.sheet, *how).transpose(1, 2), None


def attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    sheet: Sheet,
    window: int | None = None,
    dropout: float = 0.0,
    scaling: float | None = None,
    softcap: float | None = None,
) -> Tensor:
    """Attention within a pack, `[1, heads, tokens, dim]`: the opening sees itself, each row the opening and itself."""
    start, how = sheet.num_opening, (dropout, scaling, softcap)
    parts = []
    if start:
        mask = sheet.opening_mask(window, query.dtype)
        parts.append(_attend(query[:, :, :start], key[:, :, :start], value[:, :, :start], mask, *how))
    for first, end in sheet.spans:
        if first == end:
            continue
        mask = sheet.mask(end - first, window, query.dtype)
        keys, values = (
            torch.cat((side[:, :, :start], side[:, :, first:end]), 2) if start else side[:, :, first:end]
            for side in (key, value)
        )
        parts.append(_attend(query[:, :, first:end], keys, values, mask, *how))
    return torch.cat(parts, 2)


def _attend(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor, dropout: float, scaling: float | None, cap: float | None
) -> Tensor:
    """Heads that share a key head are viewed as further queries of it, so that K and V are never repeated."""
    _, heads, tokens, dim = query.shape
    group = heads // key.shape[1]
    query, mask = query.reshape(1, key.shape[1], group * tokens, dim), mask.repeat(group, 1)
    if cap is None:
        output = scaled_dot_product_attention(query, key, value, attn_mask=mask, dropout_p=dropout, scale=scaling)
    else:
        scores = query @ key.transpose(-1, -2) * (dim**-0.5 if scaling is None else scaling)
        scores = torch.tanh(scores / cap) * cap + mask
        shares = torch.dropout(scores.softmax(-1, dtype=torch.float32).to(query.dtype), dropout, train=dropout > 0)
        output = shares @ value
    return output.reshape(1, heads, tokens, -1)


def _num_own(row: Row) -> int:
    """Tokens of the row behind its opening that must be computed: all before the last one learnt."""
    last = max((at for at, weight in enumerate(row.weights) if weight > 0), default=0)
    return max(0, last - row.num_opening)


def _additive(keys: Tensor, queries: Tensor, window: int | None, dtype: torch.dtype) -> Tensor:
    """0 where a query may look: up to itself and, with a window, only at the last `window` of those; else -inf."""
    hidden = keys > queries
    if window is not None:
        hidden |= keys <= queries - window
    return torch.zeros(hidden.shape, dtype=dtype, device=keys.device).masked_fill_(hidden, float("-inf"))


def total_weight(packs: Sequence[Pack]) -> float:
    """The sum of the weights of a step's packs."""
    return sum(pack.weight for pack in packs)

"""The keys and values of every slot: two tensors a layer, `[num_slots, kv_heads, context, head_dim]`.

A layer's tensors are made at its first write, because only the model knows its shapes.
"""

from collections.abc import Sequence

import torch
from torch import Tensor


class KvCache:
    """Room for `num_slots` sequences of `context` tokens. It holds tensors and no books: those are in slots.py."""

    def __init__(self, num_slots: int, context: int) -> None:
        self.num_slots, self.context = num_slots, context
        self._layers: dict[int, tuple[Tensor, Tensor]] = {}

    @property
    def num_bytes(self) -> int:
        """Memory taken by all layers."""
        return sum(side.numel() * side.element_size() for pair in self._layers.values() for side in pair)

    def write(self, layer: int, slots: Tensor, positions: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Store `key` and `value`, `[kv_heads, tokens, head_dim]`, at each token's place; give all of the layer."""
        if layer not in self._layers:
            self._layers[layer] = self._room_like(key), self._room_like(value)
        keys, values = self._layers[layer]
        keys[slots, :, positions] = key.transpose(0, 1)
        values[slots, :, positions] = value.transpose(0, 1)
        return keys, values

    def copy(self, source: int, target: int, num_tokens: int) -> None:
        """Give row `target` the first `num_tokens` positions of row `source`."""
        for pair in self._layers.values():
            for side in pair:
                side[target, :, :num_tokens] = side[source, :, :num_tokens]

    def _room_like(self, part: Tensor) -> Tensor:
        heads, _, dim = part.shape
        return torch.zeros(self.num_slots, heads, self.context, dim, dtype=part.dtype, device=part.device)


def rows(side: Tensor, slots: Sequence[int], length: int) -> Tensor:
    """The first `length` positions of `slots`, `[slots, kv_heads, length, head_dim]`; no copy where they adjoin."""
    first, last = slots[0], slots[-1]
    if last - first + 1 == len(slots):
        return side[first : last + 1, :, :length]
    return side[list(slots), :, :length]

"""The keys and values of every row: two tensors a layer, `[rows, context, kv_heads, head_dim]`.

A layer's tensors are made at its first write, because only the model knows its shapes. One row more than asked for is
made: what a padded batch computes for nobody goes there.
"""

from torch import Tensor

PAGE = 256
"""A row is a whole number of pages, as paged attention wants it."""


class KvCache:
    """Room for `num_rows` sequences of `context` tokens. It holds tensors and no books: those are in slots.py."""

    def __init__(self, num_rows: int, context: int) -> None:
        self.num_rows, self.context = num_rows, context
        self._layers: dict[int, tuple[Tensor, Tensor]] = {}

    @property
    def spare_row(self) -> int:
        """The row that belongs to nobody."""
        return self.num_rows

    @property
    def capacity(self) -> int:
        """Positions a row has: the context, up to a whole page when it is longer than one."""
        return self.context if self.context <= PAGE else -(-self.context // PAGE) * PAGE

    @property
    def num_bytes(self) -> int:
        """Memory taken by all layers."""
        return sum(side.numel() * side.element_size() for pair in self._layers.values() for side in pair)

    def write(self, layer: int, rows: Tensor, positions: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Store `key` and `value`, `[kv_heads, tokens, head_dim]`, at each token's place; give all of the layer."""
        if layer not in self._layers:
            self._layers[layer] = self._room_like(key), self._room_like(value)
        keys, values = self._layers[layer]
        keys[rows, positions] = key.transpose(0, 1)
        values[rows, positions] = value.transpose(0, 1)
        return keys, values

    def copy(self, source: int, target: int, num_tokens: int) -> None:
        """Give row `target` the first `num_tokens` positions of row `source`."""
        for pair in self._layers.values():
            for side in pair:
                side[target, :num_tokens] = side[source, :num_tokens]

    def _room_like(self, part: Tensor) -> Tensor:
        heads, _, dim = part.shape
        return part.new_zeros(self.num_rows + 1, self.capacity, heads, dim)

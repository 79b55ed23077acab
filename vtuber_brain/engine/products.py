"""The model's projections, with room for loras: those of one input are one matrix product, and the loras ride in it.

A product's matrix holds the base's rows and, below them, the A's of every place in the bank; a mask per token lets only
its own lora's part through, and one more product applies the B's (after Punica and S-LoRA, with dense masks in place of
gathers). Places that are in no token's way are not read, nor is any without a lora in the step.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn.functional import linear
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from vtuber_brain.engine.loras import LoraWeights, Shapes

_SIBLINGS = (("q_proj", "k_proj", "v_proj"), ("gate_proj", "up_proj"))
"""Projections of the same input, by the names transformers gives them."""

_INT8_MAX_TOKENS = 12
"""On a CPU the int8 product is quicker up to here, the one with whole weights beyond (measured with avx512)."""


class Bank:
    """The loras' places in all products, and which of them each token of the step at hand goes through."""

    def __init__(self, num_places: int, rank: int) -> None:
        self.num_places, self.rank = num_places, rank
        self.num_open = 0
        self.mask: Tensor | None = None
        self.products: list[Product] = []

    @property
    def shapes(self) -> Shapes:
        """What a lora may change: inputs and outputs of every projection, by module name."""
        return dict(part for product in self.products for part in product.shapes.items())

    @property
    def num_bytes(self) -> int:
        """Memory taken by all places."""
        return sum(product.lora_bytes for product in self.products)

    def let_through(self, places: Tensor, num_open: int) -> None:
        """Choose the place of each token of a step, int64 `[tokens]`, -1 for the base.

        Only the first `num_open` places are computed; the others are in no token's way. 0: all tokens are base.
        """
        self.num_open = num_open
        if num_open:
            open_places = torch.arange(num_open, device=places.device)
            self.mask = (open_places == places.unsqueeze(-1)).to(self.products[0].dtype)

    def staged(self, weights: LoraWeights) -> LoraWeights:
        """The lora in the model's dtype and on its device, so that putting it into a place is a copy and no more."""
        like = self.products[0].lora_b
        if like.device.type != "cuda":
            matrices = _alike(weights, like)
            fine = _transposed(matrices) if self.products[0].fine_a is not None else {}
            return replace(weights, matrices=matrices, fine=fine)
        aside = torch.cuda.Stream(like.device)  # so that no step waits for the way from the host
        with torch.cuda.stream(aside):
            staged = replace(weights, matrices=_alike(weights, like))
        aside.synchronize()
        return staged

    def put(self, place: int, weights: LoraWeights) -> None:
        """Copy a lora into a place; modules it does not have are zero there."""
        for product in self.products:
            if product.shapes:
                product.put(place, weights)


class Product(nn.Module):
    """One matrix product for projections of the same input: `[..., inputs]` to one output a part, loras included."""

    weight: Tensor
    bias: Tensor | None
    lora_b: Tensor
    fine_a: Tensor
    fine_b: Tensor

    def __init__(self, linears: Sequence[nn.Module], names: Sequence[str], bank: Bank, *, carries: bool) -> None:
        super().__init__()
        weights = [_matrix(module) for module in linears]
        self.sizes = [weight.shape[0] for weight in weights]
        self.names, self._bank = tuple(names), bank
        self.outputs, self.inputs = sum(self.sizes), weights[0].shape[1]
        self.dtype = weights[0].dtype
        self._place_width = len(weights) * bank.rank if carries else 0
        num_rows = bank.num_places * self._place_width
        self.register_buffer("weight", torch.cat([*weights, weights[0].new_zeros(num_rows, self.inputs)]))
        self.register_buffer("bias", _bias(linears, self.sizes, num_rows))
        self.register_buffer("lora_b", weights[0].new_zeros(self.outputs, num_rows))
        self.register_buffer("scales", None)
        self.register_buffer("int8", None)
        self.register_buffer("fine_a", None)
        self.register_buffer("fine_b", None)
        self.base: nn.Module | None = None
        self._of: Tensor | None = None
        self._parts: Sequence[Tensor] = ()
        bank.products.append(self)

    @property
    def shapes(self) -> dict[str, tuple[int, int]]:
        """Inputs and outputs of each part that may carry a lora, by module name."""
        if not self.lora_b.shape[1]:
            return {}
        return {name: (self.inputs, size) for name, size in zip(self.names, self.sizes, strict=True)}

    @property
    def lora_bytes(self) -> int:
        """Memory taken by the places of the bank."""
        fine = 0 if self.fine_a is None else self.fine_a.nbytes + self.fine_b.nbytes
        return int(self.lora_b.nbytes + self._lora_a.nbytes + fine)

    @property
    def _lora_a(self) -> Tensor:
        return self.weight[self.outputs :] if self.base is None else self.weight

    def forward(self, inputs: Tensor) -> Tensor:
        """All parts, side by side: `[..., outputs]`."""
        width = self._bank.num_open * self._place_width
        if not width:
            return self._base(inputs)
        if self._is_few(inputs):
            low = self._own(torch.mm(inputs.reshape(-1, self.inputs).float(), self.fine_a[:width].t()))
            out = self._base(inputs)
            return out.add_(torch.mm(low, self.fine_b[:width]).view(out.shape))
        if self.base is None:
            rows = self.outputs + width
            both = linear(inputs, self.weight[:rows], self.bias[:rows] if self.bias is not None else None)
            out, low = both[..., : self.outputs], both[..., self.outputs :]
        else:
            out, low = self._base(inputs), linear(inputs, self._lora_a[:width])
        low = self._own(low.flatten(0, -2))
        return torch.addmm(out.flatten(0, -2), low, self.lora_b[:, :width].t()).view(out.shape)

    def _own(self, low: Tensor) -> Tensor:
        """Of what the A's of all open places give, `[tokens, places x rank]`, to each token its own lora's part."""
        assert self._bank.mask is not None
        return (low.unflatten(-1, (self._bank.num_open, -1)) * self._bank.mask.unsqueeze(-1)).flatten(1)

    def _is_few(self, inputs: Tensor) -> bool:
        """Whether a step has so few tokens that the int8 product is quicker."""
        return self.int8 is not None and inputs.shape[-2] <= _INT8_MAX_TOKENS

    def part(self, inputs: Tensor, index: int) -> Tensor:
        """One part's output. The product is computed when its first part is asked for, and let go with the last."""
        if self._of is not inputs:
            self._of, self._parts = inputs, self(inputs).split(self.sizes, dim=-1)
        output = self._parts[index]
        if index == len(self.sizes) - 1:
            self._of, self._parts = None, ()
        return output

    def put(self, place: int, weights: LoraWeights) -> None:
        """Copy what `weights` has for the parts into a place; the rest of the place is zero."""
        bank, first_output = self._bank, 0
        for index, (name, size) in enumerate(zip(self.names, self.sizes, strict=True)):
            first = place * self._place_width + index * bank.rank
            rows = slice(first, first + bank.rank)
            outputs = slice(first_output, first_output + size)
            a_room, b_room = self._lora_a[rows], self.lora_b[outputs, rows]
            _fill(a_room, b_room, weights.matrices.get(name))
            if self.fine_a is not None:
                fine = weights.fine.get(name) if weights.fine else (a_room, b_room)
                _fill(self.fine_a[rows], self.fine_b[rows, outputs].t(), fine)
            first_output += size

    def keep_as_int8(self) -> None:
        """For a CPU: a row-wise int8 copy for steps of few tokens; the whole weights become what int8 can say.

        Both ways then compute with the same numbers, so it makes no difference in which company a token is computed.
        The loras' matrices are kept as float32 too: products so small cost several times as much in bfloat16.
        """
        whole = self.weight[: self.outputs]
        scales = whole.float().abs().amax(1, keepdim=True).clamp_min(1e-8) / 127
        self.int8 = (whole.float() / scales).round().to(torch.int8)
        whole.copy_(self.int8.float() * scales)
        self.scales = scales.squeeze(1).to(self.dtype)
        self.fine_a = self._lora_a.float()
        self.fine_b = self.lora_b.t().float().contiguous()

    def keep_as(self, base: nn.Module) -> None:
        """Have `base` compute the base's part, and keep only the loras' matrices here."""
        self.base = base
        self.weight = self.weight[self.outputs :].clone()

    def _base(self, inputs: Tensor) -> Tensor:
        if self.base is not None:
            out: Tensor = self.base(inputs)
            return out
        bias = self.bias[: self.outputs] if self.bias is not None else None
        if not self._is_few(inputs):
            return linear(inputs, self.weight[: self.outputs], bias)
        flat = inputs.reshape(-1, self.inputs)
        out = torch.ops.aten._weight_int8pack_mm(flat, self.int8, self.scales)
        return (out if bias is None else out + bias).view(*inputs.shape[:-1], self.outputs)


class Part(nn.Module):
    """Stands in the model where one projection stood, and takes its share of the product."""

    def __init__(self, product: Product, index: int) -> None:
        super().__init__()
        self._index = index
        self.product = product if index == 0 else None  # once in the module tree, so that it moves and counts once
        object.__setattr__(self, "_product", product)

    def forward(self, inputs: Tensor) -> Tensor:
        """`[..., inputs]` to this part's `[..., outputs]`."""
        output: Tensor = self._product.part(inputs, self._index)
        return output


def join_products(model: PreTrainedModel, bank: Bank, *, head: bool) -> None:
    """Replace the projections of all layers by products, those of one input by one.

    The output layer carries no lora; it becomes a product of its own where `head` asks for one (to be kept smaller).
    Each projection is let go as soon as its product is made: there is no room for the model twice.
    """
    modules = dict(model.named_modules())
    output = model.get_output_embeddings()
    for names in list(_groups(modules, None if head else output)):
        carries = modules[names[0]] is not output
        product = Product([modules.pop(name) for name in names], names, bank, carries=carries)
        for index, name in enumerate(names):
            parent, _, child = name.rpartition(".")
            setattr(modules[parent], child, Part(product, index))


def _groups(modules: dict[str, nn.Module], head: nn.Module | None) -> Iterator[tuple[str, ...]]:
    """Names of the projections, each group of one input together, in the order of the model."""
    done: set[str] = set()
    for name, module in modules.items():
        if name in done or module is head or type(module) not in (nn.Linear, Conv1D):
            continue
        parent, _, child = name.rpartition(".")
        siblings = next((group for group in _SIBLINGS if child in group), (child,))
        together = tuple(f"{parent}.{sibling}" for sibling in siblings)
        if not all(type(modules.get(one)) is nn.Linear for one in together):
            together = (name,)
        done.update(together)
        yield together


def _fill(a_room: Tensor, b_room: Tensor, matrices: tuple[Tensor, Tensor] | None) -> None:
    """Copy a lora's A and B into their room in a place; what they leave of it is zero."""
    rank = 0
    if matrices is not None:
        a, b = matrices
        rank = a.shape[0]
        a_room[:rank].copy_(a, non_blocking=True)
        b_room[:, :rank].copy_(b, non_blocking=True)
    if rank < a_room.shape[0]:
        a_room[rank:].zero_()
        b_room[:, rank:].zero_()


def _transposed(matrices: Mapping[str, tuple[Tensor, Tensor]]) -> dict[str, tuple[Tensor, Tensor]]:
    """As float32, the B's laid out in memory as the room that they are copied into."""
    return {name: (a.float(), b.t().float().contiguous().t()) for name, (a, b) in matrices.items()}


def _alike(weights: LoraWeights, like: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
    return {name: (a.to(like), b.to(like)) for name, (a, b) in weights.matrices.items()}


def _matrix(module: nn.Module) -> Tensor:
    """A projection's weight as `[outputs, inputs]`."""
    weight: Tensor = module.weight.data  # type: ignore[assignment,union-attr]
    return weight.t() if isinstance(module, Conv1D) else weight


def _bias(linears: Sequence[nn.Module], sizes: Sequence[int], num_rows: int) -> Tensor | None:
    if all(module.bias is None for module in linears):
        return None
    like = _matrix(linears[0])
    biases = [
        like.new_zeros(size) if module.bias is None else module.bias.data  # type: ignore[union-attr]
        for module, size in zip(linears, sizes, strict=True)
    ]
    return torch.cat([*biases, like.new_zeros(num_rows)])  # type: ignore[list-item]

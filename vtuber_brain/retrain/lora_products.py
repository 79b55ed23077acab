"""PEFT's lora layer computed with less kept for the way back: inputs are not copied to fp32, dropout keeps a seed.

The same numbers as PEFT's forward and backward, the share that dropout hides in 256ths; what a layer is called, holds
and saves stays PEFT's.
"""

from dataclasses import dataclass
from types import MethodType
from typing import Any

import torch
from peft.tuners.lora.layer import Linear
from torch import Tensor
from torch.nn import functional

_CHANCES = 256


def quicken(model: Any) -> int:
    """Have the plain lora layers of a PEFT model computed by this; how many they are."""
    layers = [module for module in model.modules() if type(module) is Linear]  # of no kind derived from it
    for layer in layers:
        layer.forward = MethodType(_forward, layer)
    return len(layers)


def _forward(layer: Any, x: Tensor) -> Tensor:
    (name,) = layer.active_adapters
    base, dropout = layer.base_layer, layer.lora_dropout[name]
    hidden = dropout.p if layer.training and isinstance(dropout, torch.nn.Dropout) else 0.0
    weight = base.weight.T if layer.fan_in_fan_out else base.weight
    device = x.device.type
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else weight.dtype
    with torch.autocast(device, enabled=False):
        output: Tensor = _Product.apply(
            x.to(dtype),
            weight.to(dtype),
            None if base.bias is None else base.bias.to(dtype),
            layer.lora_A[name].weight,
            layer.lora_B[name].weight,
            layer.scaling[name],
            hidden,
        )
    return output


class _Product(torch.autograd.Function):
    """`x W^T + bias + dropout(x) A^T B^T scale`, for x `[..., in]`, with gradients for x, A and B only."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, a: Tensor, b: Tensor, scale: float, hidden: float
    ) -> Tensor:
        ctx.scale, ctx.lot = scale, _Lot.drawn(round(hidden * _CHANCES))
        low = functional.linear(ctx.lot.dropped(x), a.to(x.dtype))
        output = functional.linear(x, weight, bias)
        output += functional.linear(low, (b * scale).to(x.dtype))
        ctx.save_for_backward(x, weight, a, b, low)
        return output

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, None, None, Tensor, Tensor, None, None]:
        x, weight, a, b, low = ctx.saved_tensors
        grad = grads[0].to(x.dtype)
        grad_low = grad @ (b * ctx.scale).to(x.dtype)
        grad_b = _flat(grad).T @ _flat(low)
        stays = ctx.lot.mask(x)
        grad_a = _flat(grad_low).T @ _flat(ctx.lot.dropped(x, stays))
        grad_x = None
        if ctx.needs_input_grad[0]:
            grad_x = grad @ weight
            grad_x += ctx.lot.dropped(grad_low @ a.to(x.dtype), stays)
        return grad_x, None, None, grad_a.to(a.dtype), grad_b.to(b.dtype) * ctx.scale, None, None


@dataclass(frozen=True, slots=True)
class _Lot:
    """Which inputs dropout hides, `hidden` of 256: drawn from a seed whenever needed, so that it takes no room."""

    hidden: int
    seed: int

    @classmethod
    def drawn(cls, hidden: int) -> "_Lot":
        """By torch's generator of the CPU, so that a device is never waited for."""
        if not hidden:
            return cls(0, 0)
        return cls(hidden, int(torch.randint(2**62, ())))

    def mask(self, x: Tensor) -> Tensor | None:
        """True where x stays; a random byte decides, eight to a draw, several times as fast as `bernoulli_`."""
        if not self.hidden:
            return None
        generator = torch.Generator(x.device).manual_seed(self.seed)
        draws = torch.empty((x.numel() + 7) // 8, dtype=torch.int64, device=x.device)
        draws.random_(-(2**63), None, generator=generator)
        return (draws.view(torch.uint8)[: x.numel()] >= self.hidden).view(x.shape)

    def dropped(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """What stays of x, scaled up for what is hidden."""
        if not self.hidden:
            return x
        mask = self.mask(x) if mask is None else mask
        return (x * mask).mul_(_CHANCES / (_CHANCES - self.hidden))


def _flat(x: Tensor) -> Tensor:
    return x.reshape(-1, x.shape[-1])

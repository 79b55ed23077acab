"""The large matrices, kept smaller than they were saved: int8, fp8 or nf4. The loras on top stay as they are."""

from collections.abc import Callable

import torch
from torch import nn

from vtuber_brain.engine.products import Bank, Product
from vtuber_brain.errors import ModelRefused


def shrink(bank: Bank, weights: str, device: torch.device) -> None:
    """Keep every product's base as `weights` says. Raises ModelRefused where device or packages do not allow it."""
    if weights == "full":
        return
    if device.type == "cpu":
        if weights != "int8":
            raise ModelRefused(f"model.weights {weights} needs a CUDA device; on a CPU there is int8")
        for product in bank.products:
            product.keep_as_int8()
        return
    make = _nf4 if weights == "nf4" else _torchao(weights)
    for product in bank.products:  # one by one: the whole model at once may be too large for the device
        product.to(device)
        product.keep_as(make(_linear(product)))


def _linear(product: Product) -> nn.Linear:
    weight = product.weight[: product.outputs]
    base = nn.Linear(product.inputs, product.outputs, product.bias is not None, device="meta")
    base.weight = nn.Parameter(weight.clone(), requires_grad=False)
    if product.bias is not None:
        base.bias = nn.Parameter(product.bias[: product.outputs].clone(), requires_grad=False)
    return base


def _torchao(weights: str) -> Callable[[nn.Linear], nn.Module]:
    try:
        from torchao.quantization import (
            Float8DynamicActivationFloat8WeightConfig,
            Int8WeightOnlyConfig,
            PerRow,
            quantize_,
        )
    except ImportError:
        raise ModelRefused(f"model.weights {weights} needs torchao: pip install 'vtuber-brain[gpu]'") from None
    # By row: with one scale for a whole step, what a token gets would depend on its company.
    fp8 = Float8DynamicActivationFloat8WeightConfig(granularity=PerRow())
    config = Int8WeightOnlyConfig() if weights == "int8" else fp8

    def make(base: nn.Linear) -> nn.Module:
        holder = nn.Sequential(base)
        try:
            quantize_(holder, config)
        except AssertionError as error:  # this is how torchao turns down a device or a dtype
            reason = f"model.weights {weights} cannot be had here ({error})"
            raise ModelRefused(f"{reason}; fp8 needs a device of 8.9 or newer and model.dtype bf16") from None
        return holder[0]

    return make


def _nf4(base: nn.Linear) -> nn.Module:
    try:
        from bitsandbytes.nn import Linear4bit, Params4bit
    except ImportError:
        raise ModelRefused("model.weights nf4 needs bitsandbytes: pip install 'vtuber-brain[gpu]'") from None
    kind = {"compute_dtype": base.weight.dtype, "quant_type": "nf4", "device": "meta"}  # else it draws weights first
    small = Linear4bit(base.in_features, base.out_features, base.bias is not None, **kind)
    small.weight = Params4bit(base.weight.data, requires_grad=False, quant_type="nf4", module=small)
    small.bias = base.bias
    return small.to(base.weight.device)  # this is where it is packed

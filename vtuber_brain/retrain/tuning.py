"""The model that is trained: the base as it is served, with a lora, with a lora over 4 bits, or trained as a whole.

The base of a lora is never changed; what is trained stands in fp32 whatever the base stands in.
"""

import contextlib
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model, prepare_model_for_kbit_training
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM

from vtuber_brain.engine.load import choose_device, choose_dtype
from vtuber_brain.errors import ConfigError, ModelRefused, Problem
from vtuber_brain.night_sections import TrainSettings
from vtuber_brain.retrain.lora_products import quicken


@dataclass(frozen=True, slots=True)
class Tuned:
    """`model` is called and saved, `base` is transformers' model within it (the same for `full`)."""

    model: Any
    base: Any
    dtype: torch.dtype

    @property
    def trained(self) -> dict[str, Tensor]:
        """What is trained, by name."""
        return {name: parameter for name, parameter in self.model.named_parameters() if parameter.requires_grad}

    def cast(self) -> contextlib.AbstractContextManager[Any]:
        """The autocast its forward runs under."""
        cast: contextlib.AbstractContextManager[Any] = torch.autocast(
            self.base.device.type, dtype=self.dtype, enabled=self.dtype != torch.float32
        )
        return cast


def load_base(base: Path, settings: TrainSettings, device: torch.device) -> Any:
    """The base for `settings.method` on `device`. Raises ModelRefused with the reason, ConfigError for a setting."""
    dtype = train_dtype(settings, device)
    kept = torch.float32 if settings.method == "full" else dtype
    more: dict[str, Any] = {"quantization_config": _four_bits(dtype, device)} if settings.method == "qlora" else {}
    try:
        config = AutoConfig.from_pretrained(base, local_files_only=True)
        if config.is_encoder_decoder:
            raise ModelRefused(f"{base}: an encoder-decoder cannot be trained as a persona's model")
        with _quiet():
            model = AutoModelForCausalLM.from_pretrained(base, config=config, dtype=kept, local_files_only=True, **more)
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise ModelRefused(f"the model {base} could not be loaded: {' '.join(str(error).split())[:400]}") from None
    if settings.method == "full" and getattr(model, "is_quantized", False):
        raise ModelRefused(f"{base} is quantised and cannot be trained as a whole; unpack it, or use method lora")
    model.config.use_cache = False
    return model if settings.method == "qlora" else model.to(device)


def tune(model: Any, settings: TrainSettings, base_name: str) -> Tuned:
    """Make what `settings` train of a loaded base trainable; random beginnings come from the seed alone."""
    dtype = train_dtype(settings, torch.device(model.device))
    torch.manual_seed(settings.seed)
    if settings.method == "full":
        tuned = Tuned(model, model, dtype)
    else:
        if settings.method == "qlora":
            model = prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)
        with _quiet():
            adapted = _with_lora(model, settings, base_name)
        quicken(adapted)
        tuned = Tuned(adapted, model, dtype)
    for parameter in tuned.trained.values():
        parameter.data = parameter.data.float()
    if settings.gradient_checkpointing:
        model.enable_input_require_grads()
        model.activation_checkpointing_enable({"use_reentrant": False})
    return tuned


def train_device(settings: TrainSettings) -> torch.device:
    """Where to train. Raises ConfigError for CUDA where there is none."""
    if settings.method == "qlora" and (settings.device == "cpu" or not torch.cuda.is_available()):
        fix = "Train with method lora, or on a machine with CUDA"
        raise ConfigError([Problem("retrain.train.method", "qlora needs a CUDA device", fix)])
    return choose_device(settings.device)


def train_dtype(settings: TrainSettings, device: torch.device) -> torch.dtype:
    """What is multiplied; `auto` as the live engine chooses."""
    dtype = choose_dtype(settings.dtype, device)
    assert isinstance(dtype, torch.dtype)
    return dtype


def _with_lora(model: Any, settings: TrainSettings, base_name: str) -> Any:
    lora = LoraConfig(
        task_type="CAUSAL_LM",
        r=settings.rank,
        lora_alpha=settings.alpha if settings.alpha % 1 else int(settings.alpha),
        lora_dropout=settings.dropout,
        use_rslora=settings.rslora,
        target_modules=settings.targets,
        fan_in_fan_out=model.config.model_type == "gpt2",
        base_model_name_or_path=base_name,
    )
    try:
        return get_peft_model(model, lora)
    except ValueError as error:
        fix = "Name projections of this model, or all-linear"
        raise ConfigError([Problem("retrain.train.targets", str(error).splitlines()[0][:200], fix)]) from None


def _four_bits(dtype: torch.dtype, device: torch.device) -> Any:
    if device.type != "cuda" or find_spec("bitsandbytes") is None:
        fix = "Install the gpu extra (bitsandbytes) on a machine with CUDA, or train with method lora"
        raise ConfigError([Problem("retrain.train.method", "qlora needs CUDA and bitsandbytes", fix)])
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=dtype
    )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # peft 0.21 touches names that transformers 5.23 renamed
        yield

"""Random PEFT directories as PEFT itself saves them, so strong that they change what a model says."""

from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM


def save_lora(folder: Path, base: Path, *, seed: int = 0, strength: float = 0.3, **config) -> Path:
    """A lora for the model in `base`, its B not zero. `config` is LoraConfig's; by default r 4 on all linears."""
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    config = {
        "fan_in_fan_out": model.config.model_type == "gpt2",
        "r": 4,
        "lora_alpha": 8,
        "target_modules": "all-linear",
        **config,
    }
    adapted = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", **config))
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if ".lora_B." in name or ".lora_A." in name:
                parameter.normal_(0, strength)
    adapted.save_pretrained(folder)
    return folder

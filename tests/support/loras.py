"""Random PEFT directories as PEFT itself saves them, so strong that they change what a model says."""

from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM


def save_lora(folder: Path, base: Path | str, *, rank: int = 4, seed: int = 0, strength: float = 0.3, **config) -> Path:
    """A lora for the model in `base`, its B not zero. `config` is LoraConfig's; by default on all projections."""
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    config = {"lora_alpha": 2 * rank, "target_modules": "all-linear", **config}
    config["fan_in_fan_out"] = model.config.model_type == "gpt2"
    adapted = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", r=rank, **config))
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if ".lora_B." in name or ".lora_A." in name:
                parameter.normal_(0, strength)
    adapted.save_pretrained(folder)
    return folder

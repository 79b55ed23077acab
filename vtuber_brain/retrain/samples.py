"""What a trained model says to some prompts, by the usual ways of choosing; for people to read, not to score."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch

NEW_TOKENS = 60
WAYS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "greedy": {"do_sample": False},
        "top-k 50": {"do_sample": True, "top_k": 50, "top_p": 1.0, "temperature": 1.0},
        "top-p 0.92": {"do_sample": True, "top_k": 0, "top_p": 0.92, "temperature": 1.0},
        "temperature 0.7": {"do_sample": True, "top_k": 0, "top_p": 1.0, "temperature": 0.7},
    }
)


@dataclass(frozen=True, slots=True)
class Sample:
    """`text` is what was said after `prompt`, chosen in the way of that name in WAYS."""

    prompt: str
    way: str
    text: str


def samples(
    model: Any, tokenizer: Any, prompts: Sequence[str], seed: int, *, new_tokens: int = NEW_TOKENS
) -> tuple[Sample, ...]:
    """One continuation of each plain-text prompt in each way; the same seed gives the same words.

    Every one is drawn from the seed alone, so that none depends on which others were asked for.
    """
    was_training = model.training
    model.eval()
    try:
        return tuple(
            Sample(prompt, way, _continued(model, tokenizer, prompt, options, seed, new_tokens))
            for prompt in prompts
            for way, options in WAYS.items()
        )
    finally:
        model.train(was_training)


def _continued(model: Any, tokenizer: Any, prompt: str, options: Mapping[str, Any], seed: int, new_tokens: int) -> str:
    ids = tokenizer(prompt, return_tensors="pt")["input_ids"].to(model.device)
    end = tokenizer.eos_token_id
    pad = {} if tokenizer.pad_token_id is None and end is None else {"pad_token_id": tokenizer.pad_token_id or end}
    with torch.random.fork_rng(devices=[] if model.device.type == "cpu" else None), torch.inference_mode():
        torch.manual_seed(seed)
        output = model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=new_tokens,
            use_cache=True,
            **options,
            **pad,
        )
    text: str = tokenizer.decode(output[0, ids.shape[1] :], skip_special_tokens=True)
    return text

"""From a model's name to a runner: weights, tokenizer, dtype and device, and the proof that our slots fit the model.

Nothing from a model's folder is executed (`trust_remote_code` stays off, weights are safetensors or refused by torch's
own weights-only loading).
"""

import os
import time
from pathlib import Path
from typing import Any, Literal

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from vtuber_brain.engine.kvcache import KvCache
from vtuber_brain.engine.runner import Runner
from vtuber_brain.engine.scheduler import Job, Span, Step
from vtuber_brain.engine.wire import Configure
from vtuber_brain.errors import ModelRefused

TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "tokenizer_config.json")
_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}
_PROBE_TOKENS = 12
_PROBE_ROUNDS = 16


def load_runner(configure: Configure) -> Runner:
    """The model on its device, its attention on our slots. Raises ModelRefused with the reason and what to do."""
    device = choose_device(configure.device)
    dtype = choose_dtype(configure.dtype, device)
    if configure.threads:
        torch.set_num_threads(configure.threads)
    model = _load_model(configure, dtype).to(device).eval()
    cache = KvCache(configure.num_slots, min(configure.context, _longest_context(model)))
    try:
        reference = _plain_logits(model)
        runner = Runner(model, cache)
        prove_slots_fit(runner, reference)
    except (TypeError, ValueError, AttributeError) as error:
        raise _refused(model, f"its forward does not take flat tokens with positions ({error})") from None
    return runner


def load_tokenizer(configure: Configure) -> Any | None:
    """The model's tokenizer, or None for a local directory that has none."""
    folder = Path(configure.model)
    if folder.is_dir() and not any((folder / name).exists() for name in TOKENIZER_FILES):
        return None
    return AutoTokenizer.from_pretrained(configure.model, revision=configure.revision)


def choose_device(wanted: str) -> torch.device:
    """`auto` is CUDA when there is a device."""
    has_cuda = torch.cuda.is_available()
    if wanted == "cuda" and not has_cuda:
        raise ModelRefused("model.device is cuda, but torch sees no CUDA device; set it to auto or cpu")
    return torch.device("cuda" if has_cuda and wanted != "cpu" else "cpu")


def choose_dtype(wanted: str, device: torch.device) -> torch.dtype | Literal["auto"]:
    """`auto` is bf16 on CUDA, and on a CPU that multiplies bf16 clearly faster than fp32; measured, not looked up.

    `model` is the dtype of the saved weights, which transformers calls "auto".
    """
    if wanted == "model":
        return "auto"
    if wanted != "auto":
        return _DTYPES[wanted]
    if device.type == "cuda":
        return torch.bfloat16
    return torch.bfloat16 if _is_faster(torch.bfloat16, torch.float32) else torch.float32


def prove_slots_fit(runner: Runner, reference: torch.Tensor) -> None:
    """Refuse a model whose attention does not go through our function once a layer, or that answers otherwise so."""
    logits = _slot_logits(runner)
    num_layers = runner.model.config.get_text_config().num_hidden_layers
    calls = sorted(runner.attention.calls)
    if calls != sorted([*range(num_layers)] * 2):
        reason = "its attention does not go through transformers' attention interface once per layer"
        raise _refused(runner.model, f"{reason} ({len(calls)} calls in two passes over {num_layers} layers)")
    spread = reference.std().clamp_min(1e-6)
    error = ((logits - reference).abs().max() / spread).item()
    allowed = 1e-2 if runner.model.dtype == torch.float32 else 0.25
    if not error < allowed:  # also true for NaN
        reason = "with slots it answers differently than without"
        raise _refused(runner.model, f"{reason} (logits off by {error:.3f} standard deviations)")
    runner.attention.calls.clear()


def _load_model(configure: Configure, dtype: torch.dtype | Literal["auto"]) -> PreTrainedModel:
    source = {"pretrained_model_name_or_path": configure.model, "revision": configure.revision}
    if Path(configure.model).exists():
        os.environ["HF_HUB_OFFLINE"] = "1"
    try:
        config = AutoConfig.from_pretrained(**source)
        if config.is_encoder_decoder:
            family = config.model_type
            raise ModelRefused(f"a model of the family {family!r} cannot be served: it is an encoder-decoder")
        return AutoModelForCausalLM.from_pretrained(**source, config=config, dtype=dtype)
    except (OSError, ValueError, ImportError, KeyError) as error:
        reason = " ".join(str(error).split())[:400]
        raise ModelRefused(f"the model {configure.model!r} could not be loaded: {reason}") from None


def _refused(model: PreTrainedModel, reason: str) -> ModelRefused:
    return ModelRefused(f"a model of the family {model.config.model_type!r} cannot be served: {reason}")


def _longest_context(model: PreTrainedModel) -> int:
    return int(getattr(model.config.get_text_config(), "max_position_embeddings", None) or 2**30)


def _probe_tokens(model: PreTrainedModel) -> list[int]:
    vocabulary = int(model.config.get_text_config().vocab_size)
    return [(7 * n + 3) % vocabulary for n in range(_PROBE_TOKENS)]


def _plain_logits(model: PreTrainedModel) -> torch.Tensor:
    tokens = torch.tensor([_probe_tokens(model)], device=model.device)
    with torch.inference_mode():
        logits: torch.Tensor = model(input_ids=tokens, use_cache=False).logits[0, -1].float()
    return logits


def _slot_logits(runner: Runner) -> torch.Tensor:
    """The same prompt in two chunks, so that the second must find the first in its slot."""
    tokens = _probe_tokens(runner.model)
    half = len(tokens) // 2
    logits = torch.empty(0)
    for start, chunk in ((0, tokens[:half]), (half, tokens[half:])):
        span = Span(Job("probe", tokens, 1), 0, start, chunk, wants_token=True)
        logits = runner.forward(Step((span,), 0))[0].float()
    return logits


def _is_faster(one: torch.dtype, other: torch.dtype) -> bool:
    """Whether a CPU multiplies one type clearly faster. In turns, the best of many: others compute too."""
    best_s = dict.fromkeys((one, other), float("inf"))
    for _ in range(_PROBE_ROUNDS):
        for dtype in best_s:
            left, right = torch.ones(64, 1024, dtype=dtype), torch.ones(1024, 1024, dtype=dtype)
            start_s = time.perf_counter()
            left @ right
            best_s[dtype] = min(best_s[dtype], time.perf_counter() - start_s)
    return best_s[one] * 1.2 < best_s[other]

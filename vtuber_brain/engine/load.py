"""From a model's name to a runner: weights, tokenizer, dtype and device, and the proof that our rows fit the model.

Nothing from a model's folder is executed (`trust_remote_code` stays off, weights are safetensors or refused by torch's
own weights-only loading).
"""

import contextlib
import hashlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import structlog
import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from vtuber_brain.engine.attention import can_page, lay_out
from vtuber_brain.engine.kvcache import PAGE, KvCache
from vtuber_brain.engine.products import Bank, join_products
from vtuber_brain.engine.runner import Runner, Sizes
from vtuber_brain.engine.scheduler import Job, Span, Step
from vtuber_brain.engine.weights import shrink
from vtuber_brain.engine.wire import Configure
from vtuber_brain.errors import ModelRefused

log = structlog.get_logger(__name__)

TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "tokenizer_config.json")
_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}
_PROBE_TOKENS = 12
_PROBE_ROUNDS = 16


def load_runner(configure: Configure) -> Runner:
    """The model on its device, with its cache and its bank. Raises ModelRefused with the reason and what to do."""
    device = choose_device(configure.device)
    if configure.threads:
        torch.set_num_threads(configure.threads)
    with enough_memory(configure):
        return make_runner(_load_model(configure, choose_dtype(configure.dtype, device)), configure, device)


@contextlib.contextmanager
def enough_memory(configure: Configure) -> Iterator[None]:
    """Raise ModelRefused where memory runs out while the model is made ready."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        fix = "set engine.memory_gb, fewer engine.num_slots, a shorter engine.context, or model.weights int8"
        raise ModelRefused(f"the model {configure.model!r} does not fit into the device's memory: {fix}") from None


def is_out_of_memory(error: Exception) -> bool:
    """CUDA has a type for it; a CPU's allocator says it in words."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)


def make_runner(model: PreTrainedModel, configure: Configure, device: torch.device) -> Runner:
    """A runner of a model that is in memory already; the model is rebuilt in place. Raises ModelRefused."""
    model.eval()
    if configure.weights == "full":
        model.to(device)  # else it may be too large for the device as it is
    reference, sizes = _plain_logits(model), Sizes.of(model)
    bank = Bank(configure.max_loras + 1 if configure.max_loras else 0, configure.max_lora_rank)
    try:
        join_products(model, bank, head=configure.weights != "full")
        runner = Runner(model, KvCache(1, 2 * _PROBE_TOKENS), bank, sizes)
        prove_rows_fit(runner, reference)
    except (TypeError, ValueError, AttributeError) as error:
        raise _refused(model, f"its forward does not take flat tokens with positions ({error})") from None
    shrink(bank, configure.weights, device)
    for parameter in model.parameters():  # what is left of them would keep the whole file's pages in memory
        parameter.data = parameter.data.clone()
    model.to(device)
    position_bytes = runner.cache.num_bytes // ((runner.cache.num_rows + 1) * runner.cache.capacity)
    context = min(configure.context, _longest_context(model))
    cache = KvCache(configure.num_slots + configure.num_pinned, context)
    runner = Runner(model, cache, bank, sizes)
    if configure.memory_bytes is not None:
        runner.use(_fitting_cache(runner, configure, position_bytes))
    runner.attention.paged = can_page(runner.cache, device, model.dtype) and _pages_agree(runner)
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


def base_hash(model: str) -> str | None:
    """SHA-256 over the weight files of a local model, in order of their names; None where there are none."""
    files = sorted(Path(model).glob("*.safetensors"))
    if not files:
        return None
    digest = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def prove_rows_fit(runner: Runner, reference: torch.Tensor) -> None:
    """Refuse a model whose attention does not go through our function once a layer, or that answers otherwise so."""
    calls: list[int] = []
    runner.attention.called = calls
    logits = _row_logits(runner)
    runner.attention.called = None
    num_layers = runner.model.config.get_text_config().num_hidden_layers
    if sorted(calls) != sorted([*range(num_layers)] * 2):
        reason = "its attention does not go through transformers' attention interface once per layer"
        raise _refused(runner.model, f"{reason} ({len(calls)} calls in two passes over {num_layers} layers)")
    error = _distance(logits, reference)
    if not error < _allowed(runner.model):  # also true for NaN
        reason = "with rows of a cache it answers differently than without"
        raise _refused(runner.model, f"{reason} (logits off by {error:.3f} standard deviations)")


def _pages_agree(runner: Runner) -> bool:
    """Whether attention over pages computes for this model what attention over rows does; if not, the log says why."""
    by_rows = _crowd_logits(runner)
    runner.attention.paged = True
    try:
        error = _distance(_crowd_logits(runner), by_rows)
    except (RuntimeError, TypeError, ValueError) as refusal:  # a head size or a device the kernel was not built for
        log.warning("pages_not_used", reason=str(refusal).partition("\n")[0])
        return False
    agrees = error < _allowed(runner.model)
    if not agrees:
        log.warning("pages_not_used", reason=f"logits off by {error:.3f} standard deviations")
    return agrees


def _distance(logits: torch.Tensor, reference: torch.Tensor) -> float:
    return float((logits - reference).abs().max() / reference.std().clamp_min(1e-6))


def _allowed(model: PreTrainedModel) -> float:
    return 1e-2 if model.dtype == torch.float32 else 0.25


def _fitting_cache(runner: Runner, configure: Configure, position_bytes: int) -> KvCache:
    """A cache of at most `num_slots` rows that keeps weights, loras and cache within `memory_bytes`."""
    assert configure.memory_bytes is not None
    full = runner.cache
    fixed = _model_bytes(runner.model)
    row_bytes = position_bytes * full.capacity
    num_rows = min(full.num_rows, (configure.memory_bytes - fixed) // row_bytes - 1)
    if num_rows < configure.num_pinned + 1:
        needed = fixed + (configure.num_pinned + 2) * row_bytes
        said = f"weights and loras take {fixed / 1e9:.2f} GB and one slot {row_bytes / 1e9:.3f} GB"
        fix = f"raise engine.memory_gb to {needed / 1e9:.2f}, shorten engine.context, or choose smaller model.weights"
        raise ModelRefused(f"engine.memory_gb is {configure.memory_bytes / 1e9:.2f}, but {said}: {fix}")
    return KvCache(int(num_rows), full.context)


def _model_bytes(model: PreTrainedModel) -> int:
    return sum(_num_bytes(tensor) for tensor in [*model.parameters(), *model.buffers()])


def _num_bytes(tensor: torch.Tensor) -> int:
    """What a tensor takes; one of torchao's has no memory of its own, but tensors within."""
    if not hasattr(tensor, "__tensor_flatten__"):
        return int(tensor.nbytes)
    names, _ = tensor.__tensor_flatten__()
    return sum(_num_bytes(getattr(tensor, name)) for name in names)


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
    """What the model was made for; with `longrope` what it was first made for.

    Beyond that transformers turns everybody's positions in a step another way, as soon as one row is so long.
    """
    config = model.config.get_text_config()
    ropes = getattr(config, "rope_parameters", None) or {}
    each = [ropes] if "rope_type" in ropes else [rope for rope in ropes.values() if isinstance(rope, dict)]
    first = [rope["original_max_position_embeddings"] for rope in each if rope.get("rope_type") == "longrope"]
    return int(min([getattr(config, "max_position_embeddings", None) or 2**30, *first]))


def _probe_tokens(model: PreTrainedModel, count: int = _PROBE_TOKENS) -> list[int]:
    vocabulary = int(model.config.get_text_config().vocab_size)
    return [(7 * n + 3) % vocabulary for n in range(count)]


def _plain_logits(model: PreTrainedModel) -> torch.Tensor:
    tokens = torch.tensor([_probe_tokens(model)], device=model.device)
    with torch.inference_mode():
        logits: torch.Tensor = model(input_ids=tokens, use_cache=False).logits[0, -1].float()
    return logits


def _row_logits(runner: Runner) -> torch.Tensor:
    """The same prompt in two chunks, so that the second must find the first in its row."""
    tokens = _probe_tokens(runner.model)
    half, job = len(tokens) // 2, Job("probe", tokens, 1)
    _logits(runner, Span(job, 0, 0, tokens[:half], wants_token=True))
    return _logits(runner, Span(job, 0, half, tokens[half:], wants_token=True))[0]


def _crowd_logits(runner: Runner) -> torch.Tensor:
    """Two prompts longer than a page, if the context allows, and then a decode step of both: `[4, vocabulary]`."""
    length = min(PAGE + _PROBE_TOKENS, runner.cache.context - 1)
    tokens = _probe_tokens(runner.model, length)
    job, rows = Job("probe", tokens, 1), ((0, length - 5), (runner.cache.spare_row, length))
    prompts = [Span(job, row, 0, tokens[:end], wants_token=True) for row, end in rows]
    decode = [Span(job, row, end, None, wants_token=True) for row, end in rows]
    return torch.cat([_logits(runner, *prompts), _logits(runner, *decode, num_decode=2)])


def _logits(runner: Runner, *spans: Span, num_decode: int = 0) -> torch.Tensor:
    with torch.inference_mode():
        return runner.forward(lay_out(Step(spans, num_decode), runner.device)).float()


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

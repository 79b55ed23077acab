"""The classifier's model: loaded with its lora, in the form that is quickest here, from texts to moods. Never runs code
that comes with a model.
"""

import copy
import os
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from peft import PeftConfig, PeftModel
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

from vtuber_brain.errors import ModelRefused
from vtuber_brain.messages import Mood
from vtuber_brain.sentiment.classifier_text import prepare, spell_pictures
from vtuber_brain.sentiment.labels import Labels, understand
from vtuber_brain.sentiment.wire import Configure

STEP = 8
CLEARLY = 1.5


class Reader:
    """Texts to token ids; the same in training and in serving."""

    def __init__(self, tokenizer: Any, max_tokens: int) -> None:
        self._tokenizer, self._max_tokens = tokenizer, max_tokens
        self._unknown: dict[str, bool] = {}

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        """The token ids of every text, special tokens included, cut at `max_tokens`."""
        spelled = [spell_pictures(prepare(text), self._is_unknown) for text in texts]
        rows: list[list[int]] = self._tokenizer(spelled, truncation=True, max_length=self._max_tokens)["input_ids"]
        return rows

    def pad(self, rows: Sequence[list[int]]) -> dict[str, torch.Tensor]:
        """Ids and attention mask `[rows, tokens]`, tokens in steps of STEP: every new shape costs a slow first call."""
        longest = -(-max(len(ids) for ids in rows) // STEP) * STEP
        fill = self._tokenizer.pad_token_id
        return {
            "input_ids": torch.tensor([ids + [fill] * (longest - len(ids)) for ids in rows]),
            "attention_mask": torch.tensor([[1] * len(ids) + [0] * (longest - len(ids)) for ids in rows]),
        }

    def _is_unknown(self, char: str) -> bool:
        if char not in self._unknown:
            unknown = self._tokenizer.unk_token
            self._unknown[char] = unknown is not None and unknown in self._tokenizer.tokenize(char)
        return self._unknown[char]


class Model:
    """A sequence-classification model with its lora merged in, on the device where its weights are."""

    def __init__(self, model: Any, reader: Reader, labels: Labels) -> None:
        self._model, self._reader, self.labels = model, reader, labels

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        """The token ids of every text."""
        return self._reader.ids(texts)

    def moods(self, rows: Sequence[list[int]]) -> list[Mood]:
        """The mood of every row of token ids, in one forward."""
        with torch.inference_mode():
            padded = {name: tensor.to(self._model.device) for name, tensor in self._reader.pad(rows).items()}
            logits = self._model(**padded).logits.float()
        shares = logits[:, list(self.labels.softmax)].softmax(-1).tolist()
        toxic = logits[:, list(self.labels.toxic)].sigmoid().tolist()
        return [self.labels.mood(*row) for row in zip(shares, toxic, strict=True)]

    @property
    def dtype(self) -> str:
        """What the weights are held in."""
        return str(self._model.dtype).removeprefix("torch.")

    @property
    def device(self) -> str:
        """Where it computes: cpu or cuda."""
        return str(self._model.device.type)

    def in_bf16(self, device: str = "cpu") -> "Model":
        """The same model in half the memory, on `device`; scores differ by less than 0.02."""
        return Model(copy.deepcopy(self._model).bfloat16().to(device), self._reader, self.labels)


def load(configure: Configure) -> Model:
    """The model that `configure` asks for. Raises ModelRefused with what to mend."""
    name = configure.lora or configure.model
    try:
        config = AutoConfig.from_pretrained(_home_of_labels(configure), trust_remote_code=False)
        labels = understand(config.id2label, configure.labels)
        tokenizer = AutoTokenizer.from_pretrained(configure.model, trust_remote_code=False)
        model = _weights(configure, config)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        first_line = str(error).strip().split("\n")[0]
        fix = "Set sentiment.model to a folder or hub id of a sequence-classification model"
        raise ModelRefused(f"the classifier {name} cannot be loaded: {first_line}. {fix}") from error
    if tokenizer.pad_token_id is None:
        raise ModelRefused(f"the classifier {name} has a tokenizer without a padding token")
    longest = min(tokenizer.model_max_length, getattr(config, "max_position_embeddings", configure.max_tokens))
    return Model(model.eval(), Reader(tokenizer, min(configure.max_tokens, longest)), labels)


def _weights(configure: Configure, config: Any) -> Any:
    """The network, in fp32, lora merged; a head that neither the model nor the lora has trained is refused."""
    model, report = AutoModelForSequenceClassification.from_pretrained(
        configure.model,
        config=config,
        dtype=torch.float32,
        trust_remote_code=False,
        ignore_mismatched_sizes=configure.lora is not None,
        output_loading_info=True,
    )
    brought: Sequence[str] = ()
    if configure.lora is not None:
        brought = PeftConfig.from_pretrained(configure.lora).modules_to_save or ()
        model = merged(model, configure.lora)
    untrained = {*report["missing_keys"], *(key for key, *_ in report["mismatched_keys"])}
    if missing := sorted(key for key in untrained if not any(part in brought for part in key.split("."))):
        raise ValueError(f"it has no trained weights for {', '.join(missing[:3])}")
    return model


def merged(model: Any, lora: str | Path) -> Any:
    """`model` with the PEFT folder `lora` added into its weights: as fast as without, and never taken out again."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # peft 0.21 touches names that transformers 5.23 renamed
        return PeftModel.from_pretrained(model, lora).merge_and_unload()


def quickest(model: Model, device: str = "cpu") -> Model:
    """`model`, which is on the CPU in fp32, or another form of it where that is clearly faster.

    bf16 is so on CPUs with avx512_bf16 or amx, threefold. `device`: cpu, cuda, or auto for a GPU where there is one and
    it pays. Raises ModelRefused when there is none that must be used.
    """
    if device == "cuda":
        if not torch.cuda.is_available():
            raise ModelRefused(
                "sentiment.device is cuda, and no GPU is there that torch can use. Set it to auto or cpu"
            )
        return model.in_bf16(device)
    best, best_s = model, _batch_s(model)
    for where in ["cpu", *(["cuda"] if device == "auto" and torch.cuda.is_available() else [])]:
        other = model.in_bf16(where)
        if CLEARLY * (other_s := _batch_s(other)) < best_s:
            best, best_s = other, other_s
    return best


def settle_threads(model: Model, threads: int) -> int:
    """Compute with `threads` CPU threads; 0: as many of half the cores as clearly help. The engine has the others."""
    if threads or model.device != "cpu":
        torch.set_num_threads(threads or 1)
        return threads or 1
    most, chosen = max(1, (os.cpu_count() or 1) // 2), 1
    torch.set_num_threads(chosen)
    best_s = _batch_s(model)
    while (more := 2 * chosen) <= most:
        torch.set_num_threads(more)
        if CLEARLY * (more_s := _batch_s(model)) >= best_s:
            break
        chosen, best_s = more, more_s
    torch.set_num_threads(chosen)
    return chosen


def _batch_s(model: Model, rounds: int = 5) -> float:
    """The best of `rounds` batches of chat lines, after one to warm up; seconds."""
    rows = model.ids(["what a day " * 5] * 16)
    took_s = []
    for _ in range(rounds + 1):
        started_s = time.perf_counter()
        model.moods(rows)
        took_s.append(time.perf_counter() - started_s)
    return min(took_s[1:])


def warm_up(model: Model, max_batch: int) -> None:
    """Run the shapes that chat will bring; a first call of a new shape is slow."""
    for text in ("hi", "what a day " * 3, "what a day " * 12):
        for rows in (1, max_batch):
            model.moods(model.ids([text] * rows))


def _home_of_labels(configure: Configure) -> str:
    """Our loras bring the config that names their labels; another's labels stand with the model."""
    if configure.lora is not None and (Path(configure.lora) / "config.json").is_file():
        return configure.lora
    return configure.model

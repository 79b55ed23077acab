"""The classifier's child process: holds the model, answers `Classify` in batches. `python -m ... --fd N` starts it.

It reads `Configure` first, never runs code that comes with a model, and answers pings between two batches, so that a
hang shows. It keeps nothing: when its line closes, it ends.
"""

import argparse
import copy
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from peft import PeftConfig, PeftModel
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer
from transformers.utils import logging as transformers_logging

from vtuber_brain.errors import ModelRefused
from vtuber_brain.messages import Mood
from vtuber_brain.runtime.line import ChildEnd, NotReady, Ping, Pong, Ready, Stop
from vtuber_brain.sentiment.classifier_text import prepare, spell_pictures
from vtuber_brain.sentiment.labels import Labels, understand
from vtuber_brain.sentiment.wire import Classify, Configure, Failed, Message, Moods, protocol

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
    """A sequence-classification model with its lora merged in, on the CPU."""

    def __init__(self, model: Any, reader: Reader, labels: Labels) -> None:
        self._model, self._reader, self.labels = model, reader, labels

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        """The token ids of every text."""
        return self._reader.ids(texts)

    def moods(self, rows: Sequence[list[int]]) -> list[Mood]:
        """The mood of every row of token ids, in one forward."""
        with torch.inference_mode():
            logits = self._model(**self._reader.pad(rows)).logits.float()
        shares = logits[:, list(self.labels.softmax)].softmax(-1).tolist()
        toxic = logits[:, list(self.labels.toxic)].sigmoid().tolist()
        return [self.labels.mood(*row) for row in zip(shares, toxic, strict=True)]

    @property
    def dtype(self) -> str:
        """What the weights are held in."""
        return str(self._model.dtype).removeprefix("torch.")

    def in_bf16(self) -> "Model":
        """The same model in half the memory; scores differ by less than 0.02."""
        return Model(copy.deepcopy(self._model).bfloat16(), self._reader, self.labels)


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


def plan(lengths: Sequence[int], max_batch: int) -> list[list[int]]:
    """Indices in batches of at most `max_batch`, of similar length, so that little is computed on padding."""
    order = sorted(range(len(lengths)), key=lengths.__getitem__)
    return [order[start : start + max_batch] for start in range(0, len(order), max_batch)]


@dataclass(slots=True)
class Request:
    """A `Classify` under way: the moods found so far, by place."""

    id: int
    num_texts: int
    moods: dict[int, Mood] = field(default_factory=dict)


class Server:
    """Answers what comes over the line until told to stop."""

    def __init__(self, line: ChildEnd[Message], model: Model, max_batch: int) -> None:
        self._line, self._model, self._max_batch = line, model, max_batch
        self._waiting: list[Classify] = []
        self._stopping = False

    def serve(self) -> None:
        """Take rounds of waiting requests until `Stop`."""
        while not self._stopping:
            self._take(timeout_s=None if not self._waiting else 0)
            taken, self._waiting = self._waiting, []
            self._round(taken)

    def _take(self, timeout_s: float | None) -> None:
        for message in self._line.receive(timeout_s):
            match message:
                case Ping(n):
                    self._line.send(Pong(n))
                case Stop():
                    self._stopping = True
                case Classify():
                    self._waiting.append(message)

    def _round(self, taken: Sequence[Classify]) -> None:
        """All texts of all requests taken, in common batches; pings are answered between two."""
        owners = [(Request(asked.id, len(asked.texts)), asked.texts) for asked in taken]
        places = [(request, k) for request, texts in owners for k in range(len(texts))]
        rows = self._model.ids([text for _, texts in owners for text in texts]) if places else []
        for request, texts in owners:
            if not texts:
                self._line.send(Moods(request.id, []))
        failed: set[int] = set()
        for batch in plan([len(ids) for ids in rows], self._max_batch):
            try:
                moods = self._model.moods([rows[i] for i in batch])
            except (RuntimeError, IndexError, MemoryError) as error:
                self._fail([places[i][0] for i in batch], error, failed)
                continue
            self._note([(*places[i], mood) for i, mood in zip(batch, moods, strict=True)], failed)
            self._take(timeout_s=0)

    def _note(self, found: Sequence[tuple[Request, int, Mood]], failed: set[int]) -> None:
        for request, place, mood in found:
            request.moods[place] = mood
            if len(request.moods) == request.num_texts and request.id not in failed:
                self._line.send(Moods(request.id, [request.moods[k] for k in range(request.num_texts)]))

    def _fail(self, requests: Sequence[Request], error: Exception, failed: set[int]) -> None:
        out_of_memory = isinstance(error, MemoryError) or "memory" in str(error)
        for request in requests:
            if request.id not in failed:
                failed.add(request.id)
                self._line.send(Failed(request.id, "out_of_memory" if out_of_memory else "internal", str(error)[:200]))


def quickest(model: Model, rounds: int = 5) -> Model:
    """`model` in bf16 where that is clearly faster (CPUs with avx512_bf16 or amx: threefold), else as it is."""
    rows, half = model.ids(["what a day " * 5] * 16), model.in_bf16()
    took_s: dict[str, list[float]] = {model.dtype: [], half.dtype: []}
    for candidate in (model, half) * rounds:
        started_s = time.perf_counter()
        candidate.moods(rows)
        took_s[candidate.dtype].append(time.perf_counter() - started_s)
    return half if CLEARLY * min(took_s[half.dtype]) < min(took_s[model.dtype]) else model


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


def main() -> None:
    """Serve one line: configure, load, warm up, answer."""
    parser = argparse.ArgumentParser(description="The classifier's process; started by the daemon.")
    parser.add_argument("--fd", type=int, required=True, help="the socket to the daemon")
    line = ChildEnd(parser.parse_args().fd, protocol())
    configure = line.receive(None)[0]
    started_s = time.monotonic()
    assert isinstance(configure, Configure)
    torch.set_num_threads(configure.threads)
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        model = quickest(load(configure))
    except ModelRefused as error:
        line.send(NotReady(str(error)))
        return
    warm_up(model, configure.max_batch)
    facts = {
        "model": configure.model,
        "labels": {name: list(group) for name, group in model.labels.sentiment.items()},
        "has_toxicity": bool(model.labels.toxic),
        "dtype": model.dtype,
        "load_s": round(time.monotonic() - started_s, 3),
    }
    line.send(Ready(facts))
    Server(line, model, configure.max_batch).serve()


if __name__ == "__main__":
    main()

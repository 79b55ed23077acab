"""Fits the classifier's two-headed lora: the model, its batches, its loss, the loop. It reads and writes no files.

Three sentiments share a softmax, toxicity has a sigmoid; a row teaches only the heads it has labels for.
"""

import math
import random
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from torch.nn import functional
from transformers import AutoConfig, AutoModelForSequenceClassification

from vtuber_brain.config import shipped
from vtuber_brain.errors import ConfigError, Problem
from vtuber_brain.retrain.classifier_data import SENTIMENTS, Example, emotes_by_sentiment, vary
from vtuber_brain.sentiment.model import STEP, Reader

TOXIC = len(SENTIMENTS)
LABELS = dict(enumerate((*SENTIMENTS, "toxic")))
MOST_REPEATS = 3
TARGETS = ["dense", "key", "query", "value"]

Progress = Callable[[str], None]
Row = tuple[list[int], Example]
Weights = Mapping[tuple[str, int | None], float]


@dataclass(frozen=True, slots=True)
class TrainSettings:
    """How to train. Of one label of one file `min_group` (by repeating) to `max_group` rows enter an epoch.

    `balance` 0..1: how far a file's rarer sentiments are made to weigh as much as its others. `average` 0..1: what a
    step leaves of the moving average of the weights, which is what training gives in the end (0: the last weights).
    """

    base_name: str = "sentence-transformers/all-MiniLM-L6-v2"
    chat_lines: Path = field(default_factory=lambda: shipped("configs", "sentiment", "minilm-chat", "chat_lines.jsonl"))
    seed: int = 7
    epochs: int = 3
    batch: int = 32
    max_tokens: int = 80
    min_group: int = 600
    max_group: int = 3000
    dropout: float = 0.1
    hold_out: float = 0.1
    learning_rate: float = 1e-3
    warm_up: float = 0.06
    weight_decay: float = 0.01
    balance: float = 0.5
    average: float = 0.998
    rank: int = 16
    alpha: int = 32
    threads: int = 2


@dataclass(frozen=True, slots=True)
class Batch:
    """Ids and mask `[rows, tokens]`, sentiment shares `[rows, 3]` times weight (0: unknown), toxic shares `[rows]`."""

    ids: torch.Tensor
    mask: torch.Tensor
    sentiment: torch.Tensor
    toxic: torch.Tensor
    toxic_weight: torch.Tensor


def to_batch(reader: Reader, rows: Sequence[Row], weights: Weights | None = None) -> Batch:
    """Rows of ids and labels as tensors; a missing label weighs nothing, one without a weight in `weights` 1."""
    padded = reader.pad([ids for ids, _ in rows])
    examples = [example for _, example in rows]
    return Batch(
        ids=padded["input_ids"],
        mask=padded["attention_mask"],
        sentiment=torch.tensor([_weighed(example, weights or {}) for example in examples]),
        toxic=torch.tensor([example.toxic or 0.0 for example in examples]),
        toxic_weight=torch.tensor([0.0 if e.toxic is None else e.toxic_weight for e in examples]),
    )


def build_model(base: Path, settings: TrainSettings) -> Any:
    """The frozen base in bf16 with trainable lora and head in fp32. Eager attention: its backward is twice as fast."""
    lora = LoraConfig(
        task_type="SEQ_CLS",
        r=settings.rank,
        lora_alpha=settings.alpha,
        target_modules=TARGETS,
        modules_to_save=["classifier"],
    )
    try:
        plain = AutoModelForSequenceClassification.from_pretrained(
            base,
            config=_config(base, settings),
            dtype=torch.bfloat16,
            attn_implementation="eager",
            ignore_mismatched_sizes=True,  # whatever head the base has is replaced
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # peft 0.21 touches names that transformers 5.23 renamed
            model = get_peft_model(plain, lora)
    except (OSError, ValueError) as error:
        fix = "Give the folder of a BERT-like encoder"
        raise ConfigError([Problem(str(base), f"cannot be trained: {error}", fix)]) from None
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    return model


def fit(
    model: Any,
    reader: Reader,
    training: Sequence[Example],
    slang: Mapping[str, Sequence[str]],
    settings: TrainSettings,
    progress: Progress,
) -> None:
    """AdamW over `epochs` fresh samples of the examples, linear warm-up and cosine decay."""
    rng = random.Random(settings.seed)  # noqa: S311 - it shuffles
    weights = class_weights(training, settings)
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=settings.learning_rate, weight_decay=settings.weight_decay)
    emotes, average = emotes_by_sentiment(training), Average(parameters, settings.average)
    num_steps = settings.epochs * math.ceil(len(sample(training, settings, rng)) / settings.batch)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _pace(step / num_steps, settings.warm_up))
    model.train()
    for epoch in range(settings.epochs):
        chosen = sample(training, settings, rng)
        rows = list(zip(reader.ids([vary(example, slang, emotes, rng) for example in chosen]), chosen, strict=True))
        losses = []
        for part in buckets(rows, settings.batch, rng):
            losses.append(step(model, to_batch(reader, part, weights), optimizer, schedule))
            average.update()
        progress(f"epoch {epoch + 1} of {settings.epochs}: loss {sum(losses) / len(losses):.4f}")
    average.hand_over()
    model.eval()


class Average:
    """A moving average of parameters; early on it forgets faster, so that their random start does not stay in it."""

    def __init__(self, parameters: Sequence[torch.nn.Parameter], keep: float) -> None:
        self._parameters, self._keep, self._num_steps = parameters, keep, 0
        self._average = [parameter.detach().clone() for parameter in parameters]

    def update(self) -> None:
        """Take the parameters as they are now into the average."""
        self._num_steps += 1
        keep = min(self._keep, self._num_steps / (self._num_steps + 10))
        for average, parameter in zip(self._average, self._parameters, strict=True):
            average.lerp_(parameter.detach(), 1 - keep)

    def hand_over(self) -> None:
        """Set the parameters to their average."""
        for average, parameter in zip(self._average, self._parameters, strict=True):
            parameter.data.copy_(average)


def step(model: Any, batch: Batch, optimizer: Any, schedule: Any) -> float:
    """One update; returns the loss."""
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = model(input_ids=batch.ids, attention_mask=batch.mask).logits.float()
    loss = loss_of(logits, batch)
    loss.backward()
    torch.nn.utils.clip_grad_norm_([group for part in optimizer.param_groups for group in part["params"]], 1.0)
    optimizer.step()
    schedule.step()
    optimizer.zero_grad()
    return float(loss.detach())


def loss_of(logits: torch.Tensor, batch: Batch) -> torch.Tensor:
    """Weighted cross-entropy of the sentiments plus binary cross-entropy of toxicity; logits `[rows, 4]`."""
    log_shares = functional.log_softmax(logits[:, :TOXIC], -1)
    sentiment = -(batch.sentiment * log_shares).sum(-1)
    toxic = functional.binary_cross_entropy_with_logits(logits[:, TOXIC], batch.toxic, reduction="none")
    return (sentiment + toxic * batch.toxic_weight).mean()


def class_weights(examples: Sequence[Example], settings: TrainSettings) -> Weights:
    """Per file and sentiment: rarer ones weigh more, by `balance` of their rarity; from a half to twice."""
    chosen = sample(examples, settings, random.Random(0))  # noqa: S311 - it samples
    counts = Counter((e.origin, e.sentiment_index) for e in chosen if e.sentiment is not None)
    totals: Counter[str] = Counter()
    for (origin, _), count in counts.items():
        totals[origin] += count
    rarity = {key: totals[key[0]] / TOXIC / count for key, count in counts.items()}
    return {key: min(2.0, max(0.5, value)) ** settings.balance for key, value in rarity.items()}


def _weighed(example: Example, weights: Weights) -> list[float]:
    weight = weights.get((example.origin, example.sentiment_index), 1.0)
    return [share * weight for share in example.sentiment or (0.0, 0.0, 0.0)]


def sample(examples: Sequence[Example], settings: TrainSettings, rng: random.Random) -> list[Example]:
    """One epoch: of every label of every file at most `max_group`, and few ones up to thrice, towards `min_group`."""
    groups: dict[tuple[str, int | None, bool | None], list[int]] = defaultdict(list)
    for i, example in enumerate(examples):
        groups[example.origin, example.sentiment_index, example.is_toxic].append(i)
    chosen: list[int] = []
    for group in groups.values():
        times = max(1, min(MOST_REPEATS, settings.min_group // len(group)))
        chosen += rng.sample(group, min(len(group), settings.max_group)) * times
    return [examples[i] for i in sorted(chosen)]


def buckets(rows: list[Row], size: int, rng: random.Random) -> Iterator[list[Row]]:
    """Batches of rows of about equal length, in random order, so that little is computed on padding."""
    rng.shuffle(rows)
    rows.sort(key=lambda row: len(row[0]) // STEP)
    starts = list(range(0, len(rows), size))
    rng.shuffle(starts)
    for start in starts:
        yield rows[start : start + size]


def predict(model: Any, reader: Reader, examples: Sequence[Example], batch: int = 64) -> torch.Tensor:
    """Logits `[examples, 4]` in fp32, in the order of `examples`."""
    rows = list(zip(reader.ids([example.text for example in examples]), examples, strict=True))
    order = sorted(range(len(rows)), key=lambda i: len(rows[i][0]))
    logits = torch.zeros(len(rows), TOXIC + 1)
    for start in range(0, len(order), batch):
        chosen = order[start : start + batch]
        part = to_batch(reader, [rows[i] for i in chosen])
        with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
            logits[chosen] = model(input_ids=part.ids, attention_mask=part.mask).logits.float()
    return logits


def fold_temperatures(model: Any, logits: torch.Tensor, held: Sequence[Example]) -> None:
    """Divide each head by the temperature that fits every second held-out row best; the other rows judge it."""
    rows = range(0, len(held), 2)
    said = [i for i in rows if held[i].sentiment_index is not None]
    judged = [i for i in rows if held[i].has_toxic_label]
    moods = torch.tensor([held[i].sentiment_index for i in said])
    toxic = torch.tensor([float(held[i].is_toxic or 0) for i in judged])
    head = model.base_model.model.classifier.modules_to_save["default"]
    misfits: list[tuple[slice, Callable[[float], torch.Tensor]]] = [
        (slice(0, TOXIC), lambda t: functional.cross_entropy(logits[said, :TOXIC] / t, moods)),
        (
            slice(TOXIC, TOXIC + 1),
            lambda t: functional.binary_cross_entropy_with_logits(logits[judged, TOXIC] / t, toxic),
        ),
    ]
    grid = [1.03**i for i in range(-40, 60)]
    for rows_of_head, misfit in misfits:
        temperature = min(grid, key=lambda t: float(misfit(t)))
        head.weight.data[rows_of_head] /= temperature
        head.bias.data[rows_of_head] /= temperature


def _config(base: Path, settings: TrainSettings) -> Any:
    config = AutoConfig.from_pretrained(base, id2label=LABELS, label2id={v: k for k, v in LABELS.items()})
    config.hidden_dropout_prob, config.attention_probs_dropout_prob = settings.dropout, 0.0
    config.name_or_path = settings.base_name
    return config


def _pace(done: float, warm_up: float) -> float:
    """The learning rate's factor when `done` (0..1) of the steps are behind us."""
    if done < warm_up:
        return done / warm_up
    return 0.5 * (1 + math.cos(math.pi * (done - warm_up) / (1 - warm_up)))

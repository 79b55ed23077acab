"""A corpus in figures, before any hour is spent on it: what it has, what looks wrong, what an epoch costs. Pure.

The warnings and distributions are those of OpenAI's data preparation guide, and a few of ours.
"""

import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from vtuber_brain.retrain.conversations import Conversation, Row
from vtuber_brain.retrain.likeness import near_duplicates

CountTokens = Callable[[str], int]


@dataclass(frozen=True, slots=True)
class Spread:
    """How a count is distributed over rows; all 0 of no rows. `p5` and `p95` are values that do occur."""

    least: int
    p5: int
    median: float
    mean: float
    p95: int
    most: int


@dataclass(frozen=True, slots=True)
class Summary:
    """Tokens are as `count_tokens` has them, with `per_message` more for each message.

    `num_supervised` are tokens of answers with weight, `num_cut` those beyond `max_tokens` of over-long rows,
    `tokens_per_epoch` what is left to read once. `near_duplicates` is the share of rows, 0 to 1, that nearly
    repeat another one. `warnings` are counts by name, of what there is any.
    """

    num_rows: int
    num_conversations: int
    num_texts: int
    messages: Spread
    tokens: Spread
    answer_tokens: Spread
    num_supervised: int
    num_cut: int
    tokens_per_epoch: int
    near_duplicates: float
    topics: Mapping[str, int]
    warnings: Mapping[str, int]

    def cost(self, epochs: float, tokens_per_s: float, price_per_million: float = 0.0) -> tuple[float, float]:
        """Seconds and money of so many epochs, at a speed and at a price for a million tokens."""
        total = self.tokens_per_epoch * epochs
        return total / tokens_per_s, total * price_per_million / 1e6


def describe(
    corpus: Iterable[Row],
    count_tokens: CountTokens,
    *,
    max_tokens: int = 4096,
    per_message: int = 4,
    threshold: float = 0.8,
) -> Summary:
    """The figures of every row of `corpus`, which is read once; `max_tokens` is where training cuts a row off."""
    seen = _Seen(count_tokens, max_tokens, per_message)
    for row in corpus:
        seen.add(row)
    groups = near_duplicates(seen.words, threshold)
    num_alike = sum(len(group) - 1 for group in groups)
    seen.warnings.update(duplicate=len(seen.hashes) - len(set(seen.hashes)), near_duplicate=num_alike)
    cut = [max(0, count - max_tokens) for count in seen.tokens]
    return Summary(
        num_rows=len(seen.words),
        num_conversations=len(seen.messages),
        num_texts=len(seen.words) - len(seen.messages),
        messages=spread(seen.messages),
        tokens=spread(seen.tokens),
        answer_tokens=spread(seen.answer_tokens),
        num_supervised=seen.num_supervised,
        num_cut=sum(cut),
        tokens_per_epoch=sum(seen.tokens) - sum(cut),
        near_duplicates=num_alike / max(1, len(seen.words)),
        topics=dict(seen.topics.most_common()),
        warnings={name: count for name, count in seen.warnings.items() if count},
    )


def spread(counts: Sequence[int]) -> Spread:
    """The distribution of `counts`."""
    if not counts:
        return Spread(0, 0, 0.0, 0.0, 0, 0)
    ordered = sorted(counts)
    p5, p95 = (ordered[max(0, -(-percent * len(ordered) // 100) - 1)] for percent in (5, 95))
    return Spread(ordered[0], p5, statistics.median(ordered), statistics.fmean(ordered), p95, ordered[-1])


class _Seen:
    """What is gathered row by row; of the rows themselves only the words are kept."""

    def __init__(self, count_tokens: CountTokens, max_tokens: int, per_message: int) -> None:
        self._count, self._max_tokens, self._per_message = count_tokens, max_tokens, per_message
        self.words: list[str] = []
        self.hashes: list[str] = []
        self.messages: list[int] = []
        self.tokens: list[int] = []
        self.answer_tokens: list[int] = []
        self.num_supervised = 0
        self.topics: Counter[str] = Counter()
        self.warnings: Counter[str] = Counter()

    def add(self, row: Row) -> None:
        """Take in one row."""
        self.words.append(row.words)
        self.hashes.append(row.content_hash)
        if "topic" in row.meta:
            self.topics[str(row.meta["topic"])] += 1
        self.tokens.append(self._conversation(row) if isinstance(row, Conversation) else self._text(row.words))
        self.warnings["over_long"] += self.tokens[-1] > self._max_tokens

    def _conversation(self, row: Conversation) -> int:
        roles = [message.role for message in row.messages]
        counts = [self._count(message.content) + self._per_message for message in row.messages]
        answers = [(m.weight, n) for m, n in zip(row.messages, counts, strict=True) if m.role == "assistant"]
        self.messages.append(len(roles))
        self.answer_tokens.append(sum(count for _, count in answers))
        self.num_supervised += sum(count for weight, count in answers if weight > 0)
        self.warnings["missing_system"] += "system" not in roles
        self.warnings["missing_user"] += "user" not in roles
        self.warnings["ends_with_user"] += roles[-1:] == ["user"]
        return sum(counts)

    def _text(self, text: str) -> int:
        count = self._count(text)
        self.num_supervised += count
        return count

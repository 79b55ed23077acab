"""From what was curated and the corpora to what is trained on and what is held out. Pure but for reading corpora."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vtuber_brain.engine.load import load_tokenizer
from vtuber_brain.engine.render import Renderer
from vtuber_brain.errors import ConfigError, Problem
from vtuber_brain.retrain.conversations import Conversation
from vtuber_brain.retrain.corpora import read_corpus
from vtuber_brain.retrain.likeness import near_duplicates
from vtuber_brain.retrain.rows import Example, Row, end_tokens, rows
from vtuber_brain.retrain.splits import split
from vtuber_brain.retrain.task import Task

ALIKE = 0.8
LARGEST = 2
"""So many times the share may be held out, lest a stream be cut."""


@dataclass(frozen=True, slots=True)
class Parted:
    """Examples to train on and to hold out; `dropped` are in neither: they are nearly the same as a held-out one."""

    training: tuple[Example, ...]
    validation: tuple[Example, ...]
    dropped: int


def corpus_rows(task: Task) -> tuple[list[Conversation], dict[str, int]]:
    """Every conversation of the corpora, and the rows skipped by reason. Raises CorpusError; ConfigError for text."""
    found: list[Conversation] = []
    skipped: dict[str, int] = {}
    for path in task.corpora:
        corpus = read_corpus(path, format=task.format, skip_bad=task.skip_bad)
        for row in corpus:
            if not isinstance(row, Conversation):
                fix = "Give chats (docs/retrain.md), or train on plain text with --full"
                raise ConfigError([Problem(path, "holds plain text, which says nothing of how she answers", fix)])
            found.append(row)
        for code, count in corpus.skipped.items():
            skipped[code] = skipped.get(code, 0) + count
    return found, skipped


def part(corpus: Sequence[Conversation], own: Sequence[Example], share: float, seed: int) -> Parted:
    """Hold out `share`: of the corpora a like mixture, of the streams the newest. Raises ConfigError for too little."""
    training, validation, dropped = [], [], 0
    if len(corpus) > 1:
        halves = split(corpus, share, seed)
        training += [_example(row) for row in halves.training]
        validation += [_example(row) for row in halves.validation]
        dropped += len(halves.dropped)
    else:
        training += [_example(row) for row in corpus]
    early, late = _by_time(own, share)
    kept = _unlike(early, late)
    training += kept
    validation += late
    if not training or not validation:
        what = f"{len(training)} examples to train on and {len(validation)} to hold out are too few"
        raise ConfigError([Problem("retrain", what, "Add a corpus, or rate more replies")])
    return Parted(tuple(training), tuple(validation), dropped + len(early) - len(kept))


def tokenised(task: Task, examples: Sequence[Example], dropped: dict[str, int]) -> list[Row]:
    """Examples as tokens, as they are served; in `dropped` those that cannot be are counted by reason."""

    def drop(_: str, reason: str) -> None:
        dropped[reason] = dropped.get(reason, 0) + 1

    renderer, ends = Renderer(load_tokenizer(task.configure)), end_tokens(task.base)
    return rows(examples, renderer, task.persona, task.configure.context, ends=ends, dropped=drop)


def _by_time(own: Sequence[Example], share: float) -> tuple[list[Example], list[Example]]:
    """The newest streams are held out until there are enough; of one that is too long for that only its end."""
    ordered = sorted(own, key=lambda one: (one.at, one.id))
    if len(ordered) < 2:
        return ordered, []
    wanted, most = math.ceil(share * len(ordered)), min(LARGEST * share * len(ordered), len(ordered) - 1)
    late: list[Example] = []
    for group in dict.fromkeys(one.group for one in reversed(ordered)):
        if len(late) >= wanted:
            break
        stream = [one for one in ordered if one.group == group]
        late += stream if len(late) + len(stream) <= most else stream[len(late) - wanted :]
    held = {one.id for one in late}
    return [one for one in ordered if one.id not in held], [one for one in ordered if one.id in held]


def _unlike(early: Sequence[Example], late: Sequence[Example]) -> list[Example]:
    """Of `early` those that are not nearly the same as one of `late`."""
    texts = [_words(one) for one in (*early, *late)]
    alike = {place for group in near_duplicates(texts, ALIKE) if max(group) >= len(early) for place in group}
    return [one for place, one in enumerate(early) if place not in alike]


def _words(example: Example) -> str:
    return "\n".join(message.content for message in example.messages[-2:])


def _example(row: Conversation) -> Example:
    own = row.messages[0].role == "system"
    return Example(f"{Path(row.source).stem}:{row.id}", f"corpus-{row.id}", frozenset(), row.messages, opening=not own)

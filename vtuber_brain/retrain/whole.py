"""Fine-tuning outside the night, as the tutorials have it: a corpus and a base in, a folder of weights out, samples.

Plain text is learnt as text, chats as chats without any persona. Nothing is compared, gated or released.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from transformers import AutoModelForCausalLM, AutoTokenizer

from vtuber_brain.engine.load import load_tokenizer
from vtuber_brain.engine.render import Renderer
from vtuber_brain.engine.wire import Configure
from vtuber_brain.errors import ConfigError, Problem
from vtuber_brain.night_sections import TrainSettings
from vtuber_brain.retrain.conversations import Conversation, Text
from vtuber_brain.retrain.corpora import Corpus, read_corpus
from vtuber_brain.retrain.outputs import merged
from vtuber_brain.retrain.processes import is_first
from vtuber_brain.retrain.progress import OnProgress
from vtuber_brain.retrain.rows import Example, Row, end_tokens, rows, text_rows
from vtuber_brain.retrain.samples import Sample, samples
from vtuber_brain.retrain.train import Trained, train

NUM_PROMPTS, PROMPT_WORDS = 3, 6
EVERY = 10
"""One row of so many is held out."""


@dataclass(frozen=True, slots=True)
class Made:
    """What came of it: the run's figures, where it is, and what it says to the beginnings of some texts."""

    trained: Trained
    out: Path
    samples: tuple[Sample, ...]


def fine_tune(
    corpora: Sequence[str],
    base: Path,
    settings: TrainSettings,
    out: Path,
    *,
    context: int = 1024,
    template: str | None = None,
    format: str | None = None,  # noqa: A002 - as read_corpus calls it
    skip_bad: bool = False,
    on_progress: OnProgress = lambda _told: None,
) -> Made:
    """Train on the corpora; `out` must not exist, but for a run of the same that was killed. Raises ConfigError."""
    texts, chats = _read(corpora, partial(read_corpus, template=template, format=format, skip_bad=skip_bad))
    made = _rows(texts, chats, base, context)
    held = [row for place, row in enumerate(made) if place % EVERY == EVERY - 1]
    training = [row for place, row in enumerate(made) if place % EVERY != EVERY - 1]
    trained = train(base, training, held, settings, out, resume=True, on_progress=on_progress)
    prompts = [" ".join(text.split()[:PROMPT_WORDS]) for text in _beginnings(texts, chats)]
    return Made(trained, out, _said(base, out, settings, prompts) if is_first() else ())


def _read(corpora: Sequence[str], read: Callable[[str], Corpus]) -> tuple[list[Text], list[Conversation]]:
    texts: list[Text] = []
    chats: list[Conversation] = []
    for path in corpora:
        for row in read(path):
            if isinstance(row, Text):
                texts.append(row)
            else:
                chats.append(row)
    if not texts and not chats:
        raise ConfigError([Problem("retrain", "there is nothing to learn from", "Give a corpus: --corpus FILE")])
    return texts, chats


def _rows(texts: Sequence[Text], chats: Sequence[Conversation], base: Path, context: int) -> list[Row]:
    renderer, ends = Renderer(load_tokenizer(Configure(model=str(base)))), end_tokens(base)
    examples = [Example(row.id, row.id, frozenset(), row.messages, opening=False) for row in chats]
    made = rows(examples, renderer, None, context, ends=ends)
    if texts:
        if not ends:
            what = "the base has no end token to put between texts"
            raise ConfigError([Problem(str(base), what, "Name eos_token_id in its config.json")])
        made += text_rows(texts, renderer, context, ends[0])
    return made


def _beginnings(texts: Sequence[Text], chats: Sequence[Conversation]) -> list[str]:
    every = [row.text for row in texts] or [row.messages[0].content for row in chats]
    step = max(1, len(every) // NUM_PROMPTS)
    return every[::step][:NUM_PROMPTS]


def _said(base: Path, out: Path, settings: TrainSettings, prompts: Sequence[str]) -> tuple[Sample, ...]:
    folder = out
    if settings.method != "full":
        folder = out.with_name(f".{out.name}.merged")
        merged(base, out, folder)
    try:
        model = AutoModelForCausalLM.from_pretrained(folder, local_files_only=True)
        return samples(model, AutoTokenizer.from_pretrained(base, local_files_only=True), prompts, settings.seed)
    finally:
        if folder != out:
            _remove(folder)


def _remove(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()

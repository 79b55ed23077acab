"""The weights that ship: small, complete, explained, and right about lines that nobody needs to think about."""

import json
import re
from collections import Counter

import pytest

from vtuber_brain.config import shipped
from vtuber_brain.models import own_lora, resolve
from vtuber_brain.sentiment.model import load
from vtuber_brain.sentiment.wire import Configure

FOLDER = shipped("configs", "sentiment", "minilm-chat")
NAME = "bundled:minilm-chat"
HARD = shipped("configs", "evaluation", "hard_sentences.jsonl")
KINDS = ("sarcasm", "emotes", "mixed", "slang", "negation")


@pytest.fixture(scope="module")
def model():
    return load(Configure(resolve(NAME), str(own_lora(NAME)), {}, 1, 96, 32))


@pytest.mark.parametrize(
    ("text", "sentiment"),
    [
        ("I love this stream so much", "positive"),
        ("PogChamp", "positive"),
        ("The food was cold and the waiter was rude", "negative"),
        ("this game is boring ResidentSleeper", "negative"),
        ("what game is this?", "neutral"),
        ("keren banget kak", "positive"),
        ("makanannya tidak enak dan mahal", "negative"),
        ("jam berapa live besok?", "neutral"),
    ],
)
def test_plain_lines_are_read_rightly(model, text, sentiment):
    (mood,) = model.moods(model.ids([text]))
    assert mood.sentiment == sentiment
    assert mood.toxicity < 0.5


@pytest.mark.parametrize("text", ["shut up you stupid idiot", "dasar goblok lu", "you are a worthless piece of trash"])
def test_insults_are_toxic(model, text):
    (mood,) = model.moods(model.ids([text]))
    assert mood.sentiment == "negative"
    assert mood.toxicity > 0.7


def test_hard_sentences_are_read_as_well_as_the_docs_say_and_none_was_trained_on(model):
    rows = [json.loads(line) for line in HARD.read_text(encoding="utf-8").splitlines()]
    moods = model.moods(model.ids([row["text"] for row in rows]))
    right = Counter(row["kind"] for row, mood in zip(rows, moods, strict=True) if mood.sentiment == row["label"])
    assert Counter(row["kind"] for row in rows) == dict.fromkeys(KINDS, 12)
    assert right.total() >= 46
    assert right["emotes"] == 12
    trained = {json.loads(line)["text"].lower() for line in (FOLDER / "chat_lines.jsonl").read_text().splitlines()}
    assert not trained & {row["text"].lower() for row in rows}


def test_an_ironic_emote_turns_praise_round(model):
    plain, ironic = model.moods(model.ids(["what a great play", "what a great play Kappa"]))
    assert plain.sentiment == "positive"
    assert ironic.scores["positive"] < 0.5 < plain.scores["positive"]


def test_the_folder_is_small_explained_and_tied_to_no_machine():
    names = {path.name for path in FOLDER.iterdir()}
    assert {"adapter_model.safetensors", "adapter_config.json", "config.json", "manifest.json", "README.md"} <= names
    assert (FOLDER / "adapter_model.safetensors").stat().st_size < 1_500_000
    for path in FOLDER.glob("*.json"):
        assert not re.search(r'"/\w|"[A-Z]:\\', path.read_text(encoding="utf-8")), path


def test_the_card_gives_the_scores_of_the_manifest():
    scores = json.loads((FOLDER / "manifest.json").read_text())["scores"]
    card = (FOLDER / "README.md").read_text(encoding="utf-8")
    for name, value in scores["sentiment"].items():
        assert re.search(rf"`{re.escape(name)}`.*\b{value:.3f}\b", card), name
    for name in ("toxicity", "toxicity_macro", "sentiment_error", "toxicity_error"):
        assert f"{scores[name]:.3f}" in card, name

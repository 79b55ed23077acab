"""The classifier's examples: what is read, what is refused, what is held out."""

import json
import random

import pytest

from vtuber_brain.errors import ConfigError, RecordError
from vtuber_brain.retrain.classifier_data import (
    Example,
    emote_examples,
    emotes_by_sentiment,
    ironic,
    read_file,
    read_folder,
    read_numbered,
    read_slang,
    shares_of_score,
    split,
    vary,
)
from vtuber_brain.sentiment.emotes import emotes


def write(path, *records):
    path.write_text("".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in records), encoding="utf-8")
    return path


def read_one(tmp_path, record):
    (example,) = read_file(write(tmp_path / "sentiment_x.jsonl", record))
    return example


def test_a_label_a_score_votes_and_toxic_are_understood(tmp_path):
    assert read_one(tmp_path, {"text": "ok", "label": "neutral"}).sentiment == (0, 1, 0)
    assert read_one(tmp_path, {"text": "ok", "score": 3.5}).sentiment_index == 2
    assert read_one(tmp_path, {"text": "ok", "label": "hate", "votes": [1, 1, 1]}).toxic == pytest.approx(2 / 3)
    assert read_one(tmp_path, {"text": "ok", "label": "neither"}).toxic == 0
    both = read_one(tmp_path, {"text": "ok", "label": "negative", "toxic": 1, "lang": "id"})
    assert (both.sentiment_index, both.toxic, both.origin) == (0, 1, "sentiment_x:id")


def test_kind_words_are_weak_evidence_of_harmlessness_and_angry_ones_of_nothing(tmp_path):
    kind, angry = (read_one(tmp_path, {"text": "x", "label": label}) for label in ("positive", "negative"))
    assert (kind.toxic, kind.toxic_weight) == (0, 0.3)
    assert angry.toxic is None


def test_shares_of_a_score_sum_to_one_and_mirror():
    for score in (-4, -1, -0.6, 0, 0.3, 2):
        assert sum(shares_of_score(score)) == pytest.approx(1)
        assert shares_of_score(score) == pytest.approx(shares_of_score(-score)[::-1])
    assert max(shares_of_score(0)) == shares_of_score(0)[1]
    assert shares_of_score(0.6)[2] == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("record", "field", "expected"),
    [
        ("not json", "line", "JSON object"),
        ("[" * 100_000, "line", "JSON object"),
        ("3", "line", "JSON object"),
        ({"label": "neutral"}, "text", "not empty"),
        ({"text": " ", "label": "neutral"}, "text", "not empty"),
        ({"text": "x"}, "label", "label, score and toxic"),
        ({"text": "x", "label": "angry"}, "label", "negative, neutral, positive, hate"),
        ({"text": "x", "label": ["neutral"]}, "label", "negative"),
        ({"text": "x", "score": 9}, "score", "-4 to 4"),
        ({"text": "x", "score": "2"}, "score", "-4 to 4"),
        ({"text": "x", "toxic": 2}, "toxic", "0 or 1"),
        ({"text": "x", "label": "hate", "votes": [0, 0, 0]}, "votes", "a count"),
        ({"text": "x", "label": "hate", "votes": [1, "1", 1]}, "votes", "a count"),
    ],
)
def test_a_bad_record_is_named(tmp_path, record, field, expected):
    path = write(tmp_path / "sentiment_x.jsonl", {"text": "fine", "label": "neutral"}, "", record)
    with pytest.raises(RecordError, match=expected) as raised:
        list(read_file(path))
    assert (raised.value.file, raised.value.line, raised.value.field) == (str(path), 3, field)


def test_a_folder_is_read_by_file_names_and_one_without_data_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="no training data"):
        read_folder(tmp_path)
    write(tmp_path / "dialogues.jsonl", {"dialogue": "not ours"})
    write(tmp_path / "toxicity_x.jsonl", {"text": "a", "label": "neither"})
    extra = write(tmp_path / "more.jsonl", {"text": "b", "label": "neutral"})
    assert [example.text for example in read_folder(tmp_path, [extra])] == ["a", "b"]


def test_an_example_comes_with_the_number_of_its_line(tmp_path):
    path = write(tmp_path / "x.jsonl", {"text": "a", "label": "neutral"}, "", {"text": "b", "toxic": 1})
    assert [(line, example.text, example.has_toxic_label) for line, example in read_numbered(path)] == [
        (1, "a", False),
        (3, "b", True),
    ]


def test_every_meaning_of_the_table_of_emotes_is_trained_on_once_and_never_held_out():
    rows = emote_examples()
    assert len({emote.means for emote in emotes().values()}) == len(rows)
    assert all(row.split == "train" and row.is_emote and row.has_toxic_label and not row.is_toxic for row in rows)
    found = {row.text: row.sentiment_index for row in rows}
    assert (found["PogChamp"], found["BibleThump"], found["modCheck"]) == (2, 0, 1)


def test_every_fourth_kind_chat_line_is_also_said_with_a_wink_and_means_the_opposite():
    kind = [Example(f"nice play {i}", (0, 0, 1.0), 0.0, "chat_lines:en:line") for i in range(8)]
    others = [
        Example("so sad", (1.0, 0, 0), 0.0, "chat_lines:en:line"),
        Example("PogChamp", (0, 0, 1.0), 0.0, "chat_lines:xx:emote"),
        Example("a fine book", (0, 0, 1.0), 0.0, "sentiment_x:en"),
    ]
    winks = ironic([*kind, *others], random.Random(0))
    assert len(winks) == 2
    assert {example.text.rpartition(" ")[0] for example in winks} < {example.text for example in kind}
    assert all(emotes()[example.text.split()[-1]].irony for example in winks)
    assert {(example.sentiment_index, example.split) for example in winks} == {(0, "train")}


def examples(n, origin="file:en", split=None):
    return [Example(f"{origin} text {i}", (1.0, 0, 0) if i % 2 else (0, 0, 1.0), None, origin, split) for i in range(n)]


def test_the_split_is_stratified_repeatable_and_holds_marked_rows_out():
    unmarked, marked = examples(200), [*examples(10, "marked:id", "train"), *examples(4, "marked:en", "valid")]
    training, held = split([*unmarked, *marked], 0.1, seed=1)
    assert split([*unmarked, *marked], 0.1, seed=1) == (training, held)
    assert split([*unmarked, *marked], 0.1, seed=2) != (training, held)
    assert sum(example.origin == "file:en" for example in held) == 20
    assert sum(example.origin == "file:en" and example.sentiment_index == 0 for example in held) == 10
    assert sum(example.split == "valid" for example in held) == 4
    assert not [example for example in held if example.split == "train"]


def test_no_text_stands_on_both_sides_however_it_is_written():
    held_text = Example("Bagus  sekali!", (0, 0, 1.0), None, "marked:id", "valid")
    same = Example("bagus sekali .", (0, 0, 1.0), None, "file:id")
    training, held = split([held_text, same, *examples(20)], 0.1, seed=1)
    assert held_text in held
    assert same not in training


def test_variations_keep_the_label_and_are_those_of_the_seed():
    cheer = Example("PogChamp", (0, 0, 1.0), 0, "chat:emote")
    emotes = emotes_by_sentiment([cheer, Example("BibleThump", (1.0, 0, 0), 0, "chat:emote")])
    assert {vary(cheer, {}, emotes, random.Random(seed)).count("PogChamp") for seed in range(50)} == {1, 2, 3}
    text = "aku tidak suka makan di sini karena lama sekali"
    example = Example(text, (1.0, 0, 0), None, "x:id")
    variants = [vary(example, {"tidak": ["gak", "ga"]}, emotes, random.Random(seed)) for seed in range(200)]
    assert variants == [vary(example, {"tidak": ["gak", "ga"]}, emotes, random.Random(seed)) for seed in range(200)]
    assert any(" ga" in variant for variant in variants)
    assert any(variant.endswith("BibleThump") for variant in variants)
    assert not any("PogChamp" in variant for variant in variants)
    assert all(len(variant.split()) >= 5 for variant in variants)


def test_slang_is_turned_round(tmp_path):
    path = tmp_path / "slang_id.json"
    assert read_slang(path) == {}
    path.write_text(json.dumps({"gak": "tidak", "ga": "tidak", "@": "di", "afaik": "as far as i know"}))
    assert read_slang(path) == {"tidak": ["gak", "ga"]}

"""The whole training on a small random encoder and invented data: it learns, repeats, and publishes whole or not."""

import hashlib
import json
import random
from dataclasses import asdict
from types import SimpleNamespace

import pytest
import torch

from tests.support.encoders import tiny_encoder
from tests.support.scripted import message
from vtuber_brain.classifier_commands import BETTER, NOT_BETTER, train_chat_classifier
from vtuber_brain.config import state_dir
from vtuber_brain.errors import ConfigError, RecordError
from vtuber_brain.messages import Judged, Verdict
from vtuber_brain.retrain.classifier import InUse, published, train_classifier
from vtuber_brain.retrain.classifier_data import Example
from vtuber_brain.retrain.classifier_fit import (
    LABELS,
    Average,
    Batch,
    TrainSettings,
    class_weights,
    loss_of,
    sample,
    to_batch,
)
from vtuber_brain.sentiment.model import load
from vtuber_brain.sentiment.wire import Configure
from vtuber_brain.transcripts.store import Transcripts

DECISIONS = [Example(f"face joy {i}", None, 1.0, "corrections", "train" if i < 40 else "valid") for i in range(60)]
GOOD, BAD, PLAIN = ("good", "great", "love"), ("bad", "awful", "hate"), ("what", "the", "game")


def invent(folder, num=240):
    rng = random.Random(1)
    folder.mkdir()
    kinds = (("positive", GOOD), ("negative", BAD), ("neutral", PLAIN))
    rows = [(label, " ".join(rng.choices(words, k=3))) for label, words in kinds * (num // 3)]
    sentiment = [{"text": f"{text} {rng.choice('abcdefgh')}", "label": label, "lang": "en"} for label, text in rows]
    toxic = [{"text": f"you {rng.choice(BAD)} {i}", "label": "offensive"} for i in range(num // 2)]
    harmless = [{"text": f"it is {rng.choice(PLAIN)} {i}", "label": "neither"} for i in range(num // 2)]
    for name, records in (("sentiment_a", sentiment), ("toxicity_a", toxic + harmless)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    chat = folder / "lines.jsonl"
    chat.write_text(json.dumps({"text": "gg", "label": "positive", "toxic": 0, "kind": "emote"}) + "\n")
    return chat


def quick(chat, **changes):
    chosen = {"epochs": 3, "average": 0.9, "learning_rate": 1e-2, "rank": 4, "alpha": 8, "threads": 1}
    return TrainSettings(base_name="invented/encoder", chat_lines=chat, **(chosen | changes))


def in_use(root):
    """The classifier to beat: an encoder that nobody trained."""
    return InUse(Configure(str(root / "untrained"), None, {}, 1, 64, 8), 0.5)


def train(root, out, progress=print, data=None, base=None, **changes):
    data = data or root / "data"
    chat = data / "lines.jsonl" if data.exists() else invent(data)
    return train_classifier(
        base or root / "base",
        data,
        out,
        settings=quick(chat, **changes),
        in_use=in_use(root),
        corrections=DECISIONS,
        progress=progress,
    )


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("training")
    tiny_encoder(root / "base", labels=["LABEL_0", "LABEL_1"])
    tiny_encoder(root / "untrained")
    return root


@pytest.fixture(scope="module")
def trained(root):
    said = []
    return root / "out", train(root, root / "out", said.append), said


def digest(folder):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def test_it_learns_both_heads_and_says_how_well(trained):
    _, found, said = trained
    assert found.scores.sentiment["sentiment_a:en"] > 0.9
    assert found.scores.toxicity_macro > 0.9
    assert len(said) == 4


def test_it_is_compared_with_the_one_in_use_on_what_neither_was_taught(trained):
    _, found, said = trained
    assert "60 decisions among them" in said[0]
    parts = {part.name: part for part in found.compared.parts}
    assert parts["corrections"].rows == 20
    assert all(part.after > 0.9 and part.is_better for part in parts.values())
    assert found.compared.is_better


def test_the_worker_serves_what_was_written(root, trained):
    model = load(Configure(str(root / "base"), str(trained[0]), {}, 1, 64, 8))
    good, bad = model.moods(model.ids(["great good love", "you hate bad"]))
    assert (good.sentiment, bad.sentiment) == ("positive", "negative")
    assert good.toxicity < 0.5 < bad.toxicity


def test_the_manifest_tells_how_it_came_to_be_and_names_no_place_on_this_machine(root, trained):
    out, found, _ = trained
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["base"] == "invented/encoder"
    assert manifest["settings"]["seed"] == 7
    assert manifest["scores"] == asdict(found.scores)
    assert manifest["compared"] == asdict(found.compared)
    assert manifest["examples"]["toxicity_a:xx"] > 0
    assert manifest["examples"]["corrections"] == 40
    for path in out.iterdir():
        content = path.read_bytes().decode(errors="replace")
        assert str(root) not in content
        assert "face joy" not in content, "what viewers wrote is no part of what is published"


def test_the_same_seed_gives_the_same_weights_and_another_does_not(root, trained, tmp_path):
    train(root, tmp_path / "again")
    train(root, tmp_path / "other", seed=8)
    first, again, other = digest(trained[0]), digest(tmp_path / "again"), digest(tmp_path / "other")
    assert {name for name in first if first[name] != again[name]} <= {"manifest.json"}  # it holds the time taken
    assert first["adapter_model.safetensors"] != other["adapter_model.safetensors"]


def test_a_folder_that_is_there_is_left_alone(root, trained):
    before = digest(trained[0])
    with pytest.raises(ConfigError, match="already there"):
        train(root, trained[0])
    assert digest(trained[0]) == before


def test_a_bad_record_or_base_leaves_nothing_behind(root, tmp_path):
    invent(tmp_path / "data")
    with (tmp_path / "data" / "sentiment_a.jsonl").open("a") as file:
        file.write('{"text": "x", "label": "angry"}\n')
    with pytest.raises(RecordError, match=r"sentiment_a\.jsonl:241: label"):
        train(root, tmp_path / "out", data=tmp_path / "data")
    (tmp_path / "data" / "sentiment_a.jsonl").unlink()
    with pytest.raises(ConfigError, match="cannot be trained"):
        train(root, tmp_path / "out", data=tmp_path / "data", base=tmp_path / "none")
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


async def decided(*words):
    """Words of one viewer that waited and were denied, in the state's transcripts."""
    path = state_dir() / "transcripts.db"
    async with Transcripts.open(path, persona="mori", model="then", release=None) as transcripts:
        for text in words:
            said = message(text)
            await transcripts.append(said, Judged(said, Verdict("deny", ("doubtful", "operator"), text)))


def settings_file(path, **sentiment):
    lines = [f"{key} = {json.dumps(value)}" for key, value in sentiment.items()]
    path.write_text("\n".join(["[sentiment]", "toxic_threshold = 0.5", *lines]))
    return path


async def test_the_command_learns_what_was_decided_and_says_whether_it_is_better(root, trained, tmp_path, capsys):
    await decided(*(f"face joy {i}" for i in range(60)))
    base, chosen = str(root / "base"), quick(root / "data" / "lines.jsonl")
    config = settings_file(tmp_path / "brain.toml", model=str(root / "untrained"))
    out = tmp_path / "better"
    assert train_chat_classifier(root / "data", out, config, base, chosen) == BETTER
    told = capsys.readouterr().out
    assert f'lora = "{out}"' in told
    for word in ("corrections", "hard sentences", "en:sarcasm", "read otherwise"):
        assert word in told
    assert "face joy" not in told
    config = settings_file(tmp_path / "brain.toml", model=base, lora=str(trained[0]))
    assert train_chat_classifier(root / "data", tmp_path / "as good", config, base, chosen) == NOT_BETTER
    assert "should stay" in capsys.readouterr().out


def test_a_folder_is_published_whole_or_not_at_all(tmp_path):
    def write_and_fail():
        with published(tmp_path / "out") as folder:
            (folder / "half").write_text("x")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_and_fail()
    assert list(tmp_path.iterdir()) == []
    with published(tmp_path / "out") as folder:
        (folder / "whole").write_text("x")
        assert not (tmp_path / "out").exists()
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["whole"]


def test_a_row_teaches_only_the_heads_it_has_labels_for():
    logits = torch.zeros(2, len(LABELS), requires_grad=True)
    batch = Batch(
        ids=torch.zeros(2, 1),
        mask=torch.ones(2, 1),
        sentiment=torch.tensor([[1.0, 0, 0], [0, 0, 0]]),
        toxic=torch.tensor([0.0, 1.0]),
        toxic_weight=torch.tensor([0.0, 1.0]),
    )
    loss_of(logits, batch).backward()
    assert logits.grad[0, 3] == 0
    assert logits.grad[1, :3].abs().sum() == 0
    assert logits.grad[0, 0] < 0 < logits.grad[0, 1]
    assert logits.grad[1, 3] < 0


def rows(num, index, origin="x:en"):
    return [Example(f"{index} {i}", tuple(float(k == index) for k in range(3)), None, origin) for i in range(num)]


def test_the_rare_sentiments_of_a_file_weigh_more_and_another_file_does_not_matter():
    alike = rows(50, 0, "y:en") + rows(50, 1, "y:en") + rows(50, 2, "y:en")
    examples = rows(90, 0) + rows(30, 1) + rows(60, 2) + alike
    weights = class_weights(examples, TrainSettings(min_group=0, balance=1.0))
    assert [weights["x:en", i] for i in range(3)] == pytest.approx([60 / 90, 2, 1])
    assert [weights["y:en", i] for i in range(3)] == pytest.approx([1, 1, 1])
    assert set(class_weights(examples, TrainSettings(min_group=0, balance=0.0)).values()) == {1.0}
    rarest = class_weights(rows(900, 0) + rows(1, 1), TrainSettings(min_group=0, balance=1.0))
    assert (rarest["x:en", 1], rarest["x:en", 0]) == (2.0, 0.5)


def test_a_row_weighs_what_its_sentiment_does_in_its_file():
    reader = SimpleNamespace(pad=lambda ids: {"input_ids": torch.tensor(ids), "attention_mask": torch.tensor(ids)})
    parts = [([1], *rows(1, 0)), ([1], *rows(1, 2)), ([1], Example("z", None, 1.0, "x:en"))]
    batch = to_batch(reader, parts, {("x:en", 0): 2.0})
    assert batch.sentiment.tolist() == [[2, 0, 0], [0, 0, 1], [0, 0, 0]]


def test_big_groups_are_sampled_and_small_ones_repeated():
    examples = rows(90, 0) + rows(10, 1) + rows(40, 2)
    settings = TrainSettings(min_group=20, max_group=30)
    chosen = sample(examples, settings, random.Random(0))
    assert [sum(example.sentiment_index == i for example in chosen) for i in range(3)] == [30, 2 * 10, 30]
    assert sample(examples, settings, random.Random(0)) == chosen


def test_the_average_follows_the_weights_and_forgets_where_they_began():
    weight = torch.nn.Parameter(torch.tensor([100.0]))
    average = Average([weight], 0.999)
    for value in (1.0, 3.0) * 10:
        weight.data.fill_(value)
        average.update()
    assert weight.item() == 3
    average.hand_over()
    assert weight.item() == pytest.approx(2, abs=0.5)


def test_an_average_that_keeps_nothing_is_the_last_weights():
    weight = torch.nn.Parameter(torch.tensor([100.0]))
    average = Average([weight], 0.0)
    weight.data.fill_(5.0)
    average.update()
    average.hand_over()
    assert weight.item() == 5

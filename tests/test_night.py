"""The nightly commands as an operator types them, in a process of their own, with a real model."""

import json
import os
import subprocess
import sys

import pytest

from tests.e2e.test_night import TOY
from tests.support.encoders import tiny_encoder
from vtuber_brain.nightly_commands import settings_of, task_of

SECRET = "nobody must read this in a log"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("night")
    tiny_encoder(folder / "model")
    (folder / "brain.toml").write_text(f'[sentiment]\nmodel = "{folder / "model"}"\ntoxic_threshold = 0.4\n')
    rows = [
        {"text": f"{SECRET} {i}", "label": label, "lang": "en", "kind": kind, "toxic": i % 2}
        for i, label in enumerate(["negative", "neutral", "positive"] * 4)
        for kind in ("slang", "irony")
    ]
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    return folder


def evaluate(folder, file, *more):
    command = [sys.executable, "-m", "vtuber_brain", "evaluate", "--classifier", str(folder / file), *more]
    return subprocess.run(
        [*command, "--config", str(folder / "brain.toml")],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "COLUMNS": "100"},
    )


def test_a_labelled_file_is_scored_by_the_configured_model_as_json(folder):
    told = evaluate(folder, "rows.jsonl", "--json", "--hardest", "3")
    assert told.returncode == 0, told.stderr
    found = json.loads(told.stdout)
    assert found["sentiment"]["rows"] == 24
    assert [sum(row) for row in found["sentiment"]["confusion"]] == [8, 8, 8]
    assert found["sentiment"]["labels"]["neutral"]["rows"] == 8
    assert sum(one["rows"] for one in found["sentiment"]["reliability"]) == 24
    assert set(found["sets"]) == {"rows:en:irony", "rows:en:slang"}
    assert found["threshold"]["used"] == 0.4
    assert found["toxicity"]["labels"]["toxic"]["rows"] == 12
    assert [sorted(miss) for miss in found["hardest"]] == [["left", "line", "said", "text", "truth"]] * 3


def test_another_model_and_a_lora_may_be_scored_instead(folder):
    tiny_encoder(folder / "other", seed=5)
    usual, other = (
        json.loads(evaluate(folder, "rows.jsonl", "--json", *more).stdout)
        for more in ((), ("--model", str(folder / "other")))
    )
    assert usual["sentiment"] != other["sentiment"]
    told = evaluate(folder, "rows.jsonl", "--lora", str(folder / "nowhere"))
    assert told.returncode == 2 and "nowhere" in told.stderr


def test_on_a_terminal_it_is_a_table_and_texts_are_printed_only_when_asked_for(folder):
    plain = evaluate(folder, "rows.jsonl")
    assert plain.returncode == 0, plain.stderr
    for word in ("sentiment", "macro-F1", "calibration error", "rows:en:irony", "hardest", "toxic from 0.40 on"):
        assert word in plain.stdout
    assert SECRET not in plain.stdout + plain.stderr + evaluate(folder, "rows.jsonl", "--json").stdout
    assert SECRET in evaluate(folder, "rows.jsonl", "--show-text").stdout


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ('{"text": "a", "label": "neutral"}\n{"text": "a", "label": "angry"}\n', "bad.jsonl:2: label"),
        ("\n", "no labelled line"),
        (None, "bad.jsonl"),
    ],
)
def test_a_bad_record_or_file_is_named_and_the_exit_code_is_2(folder, content, complaint):
    (folder / "bad.jsonl").unlink(missing_ok=True)
    if content is not None:
        (folder / "bad.jsonl").write_text(content)
    told = evaluate(folder, "bad.jsonl")
    assert told.returncode == 2
    assert complaint in told.stderr
    assert "Traceback" not in told.stderr


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (("--data", "d", "--out", "x"), "Give --classifier"),
        (("--template", "{speaker}: {line}"), "Give --full with it"),
    ],
)
def test_retrain_wants_to_be_told_what(options, complaint, tmp_path):
    command = [sys.executable, "-m", "vtuber_brain", "retrain", *options]
    told = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path)
    assert told.returncode == 2
    assert complaint in " ".join(told.stderr.split())


@pytest.mark.parametrize("other", [["--full"], ["--search", "2"], ["--classifier"]])
def test_only_a_night_can_be_told_ahead_and_nothing_else_begins_instead(tmp_path, other):
    command = [sys.executable, "-m", "vtuber_brain", "retrain", "--dry-run", "--out", str(tmp_path / "x"), *other]
    told = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert told.returncode == 2
    assert "--dry-run: only a night" in told.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_corpora_of_the_settings_are_their_personas_and_any_other_has_the_one_beside_her_file(tmp_path):
    for name in ("ayu", "bima"):
        (tmp_path / name).mkdir()
        (tmp_path / f"{name}.toml").write_text(TOY.replace('name = "toy"', f'name = "{name}"'))
        (tmp_path / name / "corpus.jsonl").touch()
    (tmp_path / "config.json").write_text("{}")
    more = f'[persona]\nname = "ayu"\ndir = "{tmp_path}"\n[model]\npath = "{tmp_path}"\n'
    (tmp_path / "own.toml").write_text(more)
    (tmp_path / "given.toml").write_text(f'{more}[retrain]\ncorpus = ["{tmp_path}/ayus.jsonl"]\n')
    (tmp_path / "default.toml").write_text(f'[model]\npath = "{tmp_path}"\n')

    def corpora(file, persona):
        return task_of(*settings_of(tmp_path / file, persona), [], None).corpora

    assert corpora("given.toml", "") == (f"{tmp_path}/ayus.jsonl",)
    assert corpora("given.toml", "bima") == (f"{tmp_path}/bima/corpus.jsonl",)
    assert corpora("own.toml", "") == (f"{tmp_path}/ayu/corpus.jsonl",)
    assert corpora("default.toml", f"{tmp_path}/bima.toml") == (f"{tmp_path}/bima/corpus.jsonl",)

"""The whole night: from a corpus to a release that is current, killed and run again, refused, and left as it was."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.retrain import whole_night
from tests.support import toys
from vtuber_brain.errors import BrainError, ConfigError
from vtuber_brain.releases.publish import content_hash, verify
from vtuber_brain.releases.store import ReleaseStore
from vtuber_brain.retrain.journal import Journal, nights
from vtuber_brain.retrain.run import look_ahead, run_night

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("toy") / "base"
    toys.make_world(folder)
    return folder


@pytest.fixture(scope="module")
def first(base, tmp_path_factory):
    """A night that ran through, and where."""
    state = tmp_path_factory.mktemp("state")
    return run_night(whole_night.task(base, state)), state


def lora_of(state):
    (release,) = ReleaseStore(state / "personas").releases("toy")
    return content_hash(release.path)


def test_a_night_ends_with_a_release_that_is_current_and_a_page_that_says_why(first):
    ended, state = first
    store = ReleaseStore(state / "personas")
    assert ended.outcome == "released"
    assert store.current("toy").name == ended.release.name
    manifest = ended.release.manifest
    assert manifest["gate"]["outcome"] in ("passed", "forced")
    assert manifest["counts"]["rows"] > 50
    scores = manifest["scores"]
    assert scores["best_nll"] < scores["first_nll"]
    assert scores["candidate"]["nll"] - scores["current"]["nll"] == pytest.approx(scores["difference"])
    assert set(scores["candidate"]) == {"nll", "bleu", "unsafe", "drift"}
    page = ended.report.read_text()
    assert ended.release.name in page
    assert "<script src" not in page
    assert "no number" not in page
    kept = {path.name.split("-")[0].split(".")[0] for path in ended.report.parent.iterdir()}
    assert kept == {"journal", "report", "ab", "verdict", "measured", "curated", "log"}


def test_a_second_night_is_measured_against_the_first_and_may_be_rejected(first, base):
    ended, state = first
    strict = whole_night.LENIENT.model_copy(update={"max_over_long": 0.0, "style_margin": 0.0, "min_distinct": 1.0})
    settings = whole_night.task(base, state).settings.model_copy(update={"gate": strict})
    settings = settings.model_copy(update={"train": whole_night.TRAIN.model_copy(update={"learning_rate": 1e-6})})
    again = run_night(whole_night.task(base, state, force=None, settings=settings))
    assert again.outcome == "rejected"
    assert "better" in again.verdict.vetoes
    assert again.release is None
    assert ReleaseStore(state / "personas").current("toy").name == ended.release.name
    lines = [json.loads(line) for line in (again.report.parent / "journal.jsonl").read_text().splitlines()]
    assert lines[0]["figures"]["parent"] == ended.release.name


def test_a_slice_of_a_corpus_will_do_and_only_so_many_nights_are_kept(base, tmp_path):
    night = whole_night.task(base, tmp_path)
    part = replace(night, corpora=(f"{night.corpora[0]}[:60]",), settings=night.settings.model_copy(
        update={"keep_nights": 1}))  # fmt: skip
    first, second = run_night(part), run_night(part)
    assert second.night != first.night
    assert [path.name for path in (tmp_path / "retrain" / "toy").iterdir()] == [second.night]


def test_looking_ahead_tells_the_cost_at_the_speed_of_the_last_night_and_what_looks_wrong(first, base, tmp_path):
    _, state = first
    task = whole_night.task(base, state)
    double = tmp_path / "double.jsonl"
    double.write_text((state / "corpus.jsonl").read_text().splitlines()[0])
    found = look_ahead(replace(task, corpora=(*task.corpora, str(double))))
    assert found["corpus"]["rows"] == 113
    assert found["corpus"]["warnings"]["duplicate"] >= 1
    tokens = found["cost"]["tokens_at_most"]
    assert tokens == found["built"]["tokens"] * task.settings.train.epochs
    trained = Journal(nights(state / "retrain" / "toy")[-1]).entry("trained").figures
    assert found["cost"]["cpu_s"] == round(tokens * trained["cpu_s"] / trained["row_tokens"])


def test_what_cannot_be_removed_in_the_end_keeps_no_release_from_being_told(base, tmp_path):
    told = []
    night = whole_night.task(base, tmp_path, say=told.append)
    once = replace(night, settings=night.settings.model_copy(update={"keep_nights": 1}))
    run_night(once)
    (tmp_path / "retrain" / "toy" / "2020-01-01").write_text("a file, which is no folder of a night")
    assert run_night(once).outcome == "released"
    assert "could not be removed" in told[-1]


def test_looking_ahead_keeps_nothing(base, tmp_path):
    figures = look_ahead(whole_night.task(base, tmp_path))
    assert figures["curated"]["corpus"] == 112
    assert figures["built"]["rows"] + figures["built"]["validation_rows"] + figures["built"]["near_validation"] == 112
    assert [path.name for path in tmp_path.iterdir()] == ["corpus.jsonl"]


def test_a_night_with_nothing_to_learn_from_says_so(base, tmp_path):
    with pytest.raises(BrainError, match="no stream of toy has ended"):
        run_night(whole_night.task(base, tmp_path, corpora=()))
    short = tmp_path / "short.jsonl"
    short.write_text((tmp_path / "corpus.jsonl").read_text().splitlines()[0] + "\n")
    with pytest.raises(ConfigError, match="at least 20 are needed"):
        run_night(whole_night.task(base, tmp_path, corpora=(str(short),)))


def test_from_a_step_on_it_is_done_again_and_comes_out_the_same(base, tmp_path):
    begun = run_night(whole_night.task(base, tmp_path))
    before = lora_of(tmp_path)
    with pytest.raises(ConfigError, match="no step"):
        run_night(whole_night.task(base, tmp_path), from_step="tea")
    again = run_night(whole_night.task(base, tmp_path), from_step="curated")
    assert (again.night, again.release.name, lora_of(tmp_path)) == (begun.night, begun.release.name, before)


@pytest.mark.parametrize("rounds", [1, pytest.param(100, marks=pytest.mark.slow)])
def test_killed_anywhere_and_run_again_it_ends_with_the_same_weights(first, base, tmp_path, rounds):
    _, state = first
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    own, kills = tmp_path / "state", [90] if rounds == 1 else [7 + 13 * n for n in range(rounds)]
    for kill_at in [*kills, 0]:
        command = [sys.executable, "-m", "tests.retrain.whole_night", str(base), str(own), str(kill_at)]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
        assert done.returncode in (0, -9), done.stderr[-2000:]
        if done.returncode == 0:
            break
        current = ReleaseStore(own / "personas").current("toy")
        if current is not None:
            verify(current)
    assert lora_of(own) == lora_of(state)

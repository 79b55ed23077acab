"""The search over settings: seeded draws about the best so far, resumed after a kill, ended by its budget."""

import itertools
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.retrain import whole_night
from tests.support import toys
from tests.support.families import save_model
from tests.support.trainer import small_rows, small_settings
from vtuber_brain.nights import NIGHTS, purge
from vtuber_brain.retrain import search as searching
from vtuber_brain.retrain.run import search_settings
from vtuber_brain.retrain.search import BATCHES, RANKS, Space, Trial, search

ROOT = Path(__file__).parents[2]
SPACE = Space(small_settings(epochs=1), 6)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return save_model("llama", tmp_path_factory.mktemp("base") / "base")


def searched(base, root, space=SPACE, **more):
    return search(base, *small_rows(), space, root, **more)


def plain(trials):
    return [(trial.number, trial.chosen, trial.nll, trial.steps) for trial in trials]


def tried(number, nll, rate=0.02):
    return Trial(number, {"learning_rate": rate, "rank": 4, "step_rows": 8}, nll, 4, 1.0)


def test_the_first_trial_is_the_settings_then_rates_then_ranks_and_batches_about_the_best():
    space = Space(small_settings(), 20)
    settings = {"learning_rate": 0.02, "rank": 4, "step_rows": 8}
    assert space.draw(0, []) == settings
    rates = [space.draw(number, []) for number in range(1, 11)]
    assert {one["rank"] for one in rates} == {4} and len({one["learning_rate"] for one in rates}) == 10
    assert all(0.02 / 8.1 < one["learning_rate"] < 0.02 * 8.1 for one in rates)
    assert min(one["learning_rate"] for one in rates) < 0.01 < 0.04 < max(one["learning_rate"] for one in rates)
    before = [tried(0, 2.0), tried(1, 1.5, 0.1), tried(2, float("nan"), 9.0), tried(3, None, 9.0)]
    late = [space.draw(number, before) for number in range(11, 20)]
    assert all(0.1 / 1.6 < one["learning_rate"] < 0.1 * 1.6 for one in late)
    assert {one["rank"] for one in late} <= set(RANKS) and len({one["rank"] for one in late}) > 1
    assert {one["step_rows"] for one in late} <= set(BATCHES)
    served = [Space(small_settings(), 20, max_rank=8).draw(number, before) for number in range(11, 20)]
    assert {one["rank"] for one in served} <= {4, 8}
    assert [space.draw(number, before) for number in range(11, 20)] == late
    assert Space(small_settings(seed=8), 20).draw(5, []) != space.draw(5, [])


def test_alpha_keeps_its_proportion_to_the_rank():
    chosen = SPACE.with_chosen({"learning_rate": 0.1, "rank": 16, "step_rows": 8})
    assert (chosen.rank, chosen.alpha, chosen.learning_rate, chosen.epochs) == (16, 32.0, 0.1, 1)


def test_it_ends_with_the_best_first_keeps_figures_alone_and_is_not_done_again(base, tmp_path, monkeypatch):
    told = []
    found = searched(base, tmp_path, on_trial=told.append)
    assert [trial.number for trial in told] == list(range(6))
    assert [trial.nll for trial in found] == sorted(trial.nll for trial in found)
    assert found[0].nll <= told[0].nll
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["journal.jsonl"]
    monkeypatch.setattr(searching, "train", None)
    assert searched(base, tmp_path) == found


def test_more_trials_go_on_from_those_there_are(base, tmp_path):
    few = searched(base, tmp_path, Space(SPACE.settings, 2))
    assert len(few) == 2
    told = []
    assert len(searched(base, tmp_path, on_trial=told.append)) == 6
    assert [trial.number for trial in told] == [2, 3, 4, 5]


def test_no_trial_is_begun_when_the_time_is_up(base, tmp_path):
    assert searched(base, tmp_path, budget_s=0) == []
    assert len(searched(base, tmp_path, budget_s=1e-9)) == 1
    assert len(searched(base, tmp_path, budget_s=1e-9)) == 1


def test_killed_in_mid_trial_it_goes_on_to_the_same_figures(base, tmp_path):
    whole = searched(base, tmp_path / "whole")
    command = [sys.executable, "-m", "tests.retrain.test_search", str(base), str(tmp_path / "killed")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    killed = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, timeout=120, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr[-2000:]
    (journal,) = (tmp_path / "killed").rglob("journal.jsonl")
    assert len(journal.read_text().splitlines()) == 2
    assert list((tmp_path / "killed").rglob("trial-2.training"))
    assert plain(searched(base, tmp_path / "killed")) == plain(whole)


def test_whoever_is_forgotten_leaves_nothing_here_either(base, tmp_path):
    searched(base, tmp_path / NIGHTS, Space(SPACE.settings, 1))
    (folder,) = (tmp_path / NIGHTS).iterdir()
    (folder / "trial-1.training").mkdir()
    purge(tmp_path)
    assert [path.name for path in folder.iterdir()] == ["journal.jsonl"]


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_a_search_trains_on_what_a_night_would_and_releases_nothing(tmp_path):
    toys.make_world(tmp_path / "base")
    (tmp_path / "state").mkdir()
    found = search_settings(whole_night.task(tmp_path / "base", tmp_path / "state"), 2, 3600)
    assert len(found) == 2 and found[0].nll is not None
    assert not (tmp_path / "state" / "personas").exists()
    (journal,) = (tmp_path / "state" / "retrain" / "toy" / "search").rglob("journal.jsonl")
    assert [json.loads(line)["figures"]["number"] for line in journal.read_text().splitlines()] == [0, 1]


def main():
    """Kill ourselves in the third trial, after a checkpoint."""
    import torch

    torch.set_num_threads(1)

    trials = itertools.count()

    def dying(told):
        if told.step == 3 and told.loss is not None and next(trials) == 2:
            os.kill(os.getpid(), signal.SIGKILL)

    searched(Path(sys.argv[1]), Path(sys.argv[2]), on_progress=dying)


if __name__ == "__main__":
    main()

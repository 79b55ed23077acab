"""A night that was killed goes on where it was, and ends in the same bytes; nothing is done twice without need."""

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest

from vtuber_brain.errors import ConfigError
from vtuber_brain.nights import LOCK, NIGHTS, purge
from vtuber_brain.retrain.journal import (
    STEPS,
    Journal,
    Results,
    hash_path,
    last_ended,
    nights,
    open_night,
)
from vtuber_brain.runtime.lease import held

NOW = 1_800_000_000.0
ROOT = Path(__file__).parents[2]


class Work:
    """A step's work that counts how often it was done."""

    def __init__(self, **files):
        self.files, self.times, self.folders = files, 0, []

    def __call__(self, folder):
        self.times += 1
        self.folders.append(folder)
        return Results(self.files, {"times": self.times})


def whole_night(journal, outcome="released"):
    for step in STEPS:
        journal.do(
            step, {"step": step}, lambda _folder, s=step: Results({f"{s}.txt": s.encode()}, {"outcome": outcome})
        )


def test_a_step_is_done_once_for_the_same_inputs_and_again_for_others(tmp_path):
    work = Work(**{"rows.jsonl": b"[1]\n"})
    journal = open_night(tmp_path, NOW)
    first = journal.do("planned", {"a": 1, "b": [2]}, work)
    assert journal.do("planned", {"b": [2], "a": 1}, work) == first
    assert Journal(journal.folder).do("planned", {"a": 1, "b": [2]}, work) == first
    assert work.times == 1
    assert first.results["rows.jsonl"].startswith("rows-")
    assert journal.path("planned", "rows.jsonl").read_bytes() == b"[1]\n"
    assert journal.do("planned", {"a": 2, "b": [2]}, work).figures == {"times": 2}
    assert not work.folders[0].exists()


@pytest.mark.parametrize("harm", ["missing", "changed"])
def test_a_result_that_is_not_whole_any_more_is_made_again(tmp_path, harm):
    work = Work(**{"rows.jsonl": b"[1]\n"})
    journal = open_night(tmp_path, NOW)
    journal.do("planned", {}, work)
    path = journal.path("planned", "rows.jsonl")
    path.unlink() if harm == "missing" else path.write_bytes(b"[2]\n")
    journal.do("planned", {}, work)
    assert work.times == 2
    assert path.read_bytes() == b"[1]\n"


def test_a_line_that_was_torn_is_forgiven_and_makes_way_for_the_next(tmp_path):
    journal = open_night(tmp_path, NOW)
    journal.do("planned", {}, Work())
    path = journal.folder / "journal.jsonl"
    with path.open("ab") as file:
        file.write(b'{"step": "cura')
    again = Journal(journal.folder)
    assert again.entry("planned") is not None
    again.do("curated", {}, Work())
    assert [json.loads(line)["step"] for line in path.read_text().splitlines()] == ["planned", "curated"]


def test_a_line_in_the_middle_that_is_none_is_an_error_with_its_number(tmp_path):
    journal = open_night(tmp_path, NOW)
    (journal.folder / "journal.jsonl").write_text('{"torn\n{"step": "planned", "at": 1}\n')
    with pytest.raises(ConfigError, match=r"journal\.jsonl:1"):
        Journal(journal.folder)


def test_a_night_that_is_not_over_is_gone_on_with_and_the_next_gets_a_name_of_its_own(tmp_path):
    first = open_night(tmp_path, NOW)
    assert first.name == "2027-01-15"
    first.do("planned", {}, lambda _folder: Results(figures={"streams": [1, 2]}))
    assert open_night(tmp_path, NOW + 99 * 86400).name == first.name
    assert last_ended(tmp_path) is None
    whole_night(first)
    assert last_ended(tmp_path).name == first.name
    for name in ("2027-01-15.2", "2027-01-15.3"):
        night = open_night(tmp_path, NOW)
        assert night.name == name
        whole_night(night, "rejected")
    for _ in range(7):
        whole_night(open_night(tmp_path, NOW))
    assert [path.name for path in nights(tmp_path)][-2:] == ["2027-01-15.9", "2027-01-15.10"]
    assert open_night(tmp_path, NOW, again=True).name == "2027-01-15.10"


def test_from_a_step_on_all_is_done_again_and_the_earlier_results_stay(tmp_path):
    journal = open_night(tmp_path, NOW)
    whole_night(journal)
    journal.restart("trained")
    for read in (journal, Journal(journal.folder)):
        assert [step for step in STEPS if read.entry(step)] == ["planned", "curated", "built"]
        assert not read.is_over
    with pytest.raises(ConfigError, match="has not trained yet"):
        journal.restart("gated")
    with pytest.raises(ConfigError, match="is no step"):
        journal.restart("lunch")
    with pytest.raises(ConfigError, match="no night yet"):
        open_night(tmp_path / "none", NOW, again=True)


def test_what_was_made_can_be_cleared_and_purged_but_the_lines_stay(tmp_path):
    journal = open_night(tmp_path / NIGHTS / "mori", NOW)
    whole_night(journal)
    journal.clear(keep=("ended.txt",))
    assert sorted(path.name.partition("-")[0] for path in journal.folder.iterdir()) == ["ended", "journal.jsonl"]
    with held(tmp_path / LOCK, "the retrain of mori"):
        assert purge(tmp_path).what == "the retrain of mori"
        assert len(list(journal.folder.iterdir())) == 2
    assert purge(tmp_path) is None
    assert [path.name for path in journal.folder.iterdir()] == ["journal.jsonl"]
    assert Journal(journal.folder).is_over


def results(root):
    """Every result of the night by name and bytes, and what its lines say but for the time."""
    (folder,) = nights(root)
    lines = [json.loads(line) for line in (folder / "journal.jsonl").read_text().splitlines()]
    told = [{key: value for key, value in line.items() if key != "at"} for line in lines]
    return {path.name: hash_path(path) for path in folder.iterdir() if path.name != "journal.jsonl"}, told


def run(root, kill_at):
    return subprocess.run(
        [sys.executable, "-m", "tests.retrain.night", str(root), str(kill_at)], cwd=ROOT, check=False, timeout=60
    ).returncode


def killed_and_gone_on(tmp_path, rounds):
    rng = random.Random(3)
    whole = tmp_path / "whole"
    assert run(whole, 0) == 0
    wanted = results(whole)
    assert len(wanted[0]) == 3 * len(STEPS)
    for n in range(rounds):
        root, kills = tmp_path / str(n), 0
        while last_ended(root) is None:
            kills += run(root, rng.randint(1, 250)) != 0
        open_night(root, NOW).folder.rmdir()  # the next night, which sweeps after the last
        assert results(root) == wanted, f"after {kills} kills"


def test_a_night_that_is_killed_at_any_change_of_a_file_ends_in_the_same_bytes(tmp_path):
    killed_and_gone_on(tmp_path, 4)


@pytest.mark.slow
def test_a_hundred_nights_that_are_killed_end_in_the_same_bytes(tmp_path):
    killed_and_gone_on(tmp_path, 100)

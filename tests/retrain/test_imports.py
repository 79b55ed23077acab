"""A lora from elsewhere goes the night's way: compared, gated, released with where it came from, or kept back."""

import json
from dataclasses import replace

import pytest

from tests.retrain import whole_night
from tests.support import toys
from vtuber_brain.errors import ConfigError, LoraRejected
from vtuber_brain.night_sections import GateSettings
from vtuber_brain.releases.store import ReleaseStore
from vtuber_brain.releases.waiting import approve, waiting
from vtuber_brain.retrain.plan import learnt_before, nights_of
from vtuber_brain.retrain.run import run_night, take_in

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return toys.make_world(tmp_path_factory.mktemp("toy") / "base")


@pytest.fixture(scope="module")
def good(world, tmp_path_factory):
    """A lora that was trained on streams of hers, without us."""
    folder = toys.fit_lora(world, toys.streams(10, 12), tmp_path_factory.mktemp("elsewhere") / "out")
    (folder / "README.md").write_text("---\ntags:\n- trl\n- sft\n---\n")
    return folder


def judged(world, state, lora, **changed):
    return take_in(whole_night.task(world.base, state, **{"force": None, **changed}), lora)


def with_gate(task, **gate):
    chosen = GateSettings(**{**whole_night.LENIENT.model_dump(), **gate})
    return replace(task, settings=task.settings.model_copy(update={"gate": chosen}))


@pytest.fixture(scope="module")
def released(world, good, tmp_path_factory):
    state = tmp_path_factory.mktemp("state")
    return judged(world, state, good), state


def test_a_better_one_is_released_and_its_manifest_says_where_it_came_from(released, good, world):
    ended, state = released
    assert (ended.outcome, ended.verdict.reasons) == ("released", [])
    assert ReleaseStore(state / "personas").current("toy") == ended.release
    told = ended.release.manifest
    origin = told["settings"]["imported"]
    assert (origin["trainer"], origin["from"], origin["base"]) == ("trl", "out", str(world.base))
    assert (origin["fits_by"], origin["rank"], origin["alpha"]) == ("hash", 8, 16)
    assert told["gate"]["outcome"] == "passed"
    assert told["data"] == {"sha256": None, "name": "not ours"}
    assert "trl" in ended.report.read_text()
    assert sorted(path.name for path in ended.release.path.iterdir()) == [
        "adapter_config.json", "adapter_model.safetensors", "manifest.json",
    ]  # fmt: skip


def test_no_night_counts_it_as_one_of_its_own(released, world):
    ended, state = released
    root = nights_of(state, "toy")
    assert ended.report.parent.parent == root / "imports"
    assert learnt_before(root) == frozenset()
    night = run_night(whole_night.task(world.base, state))
    lines = [json.loads(line) for line in (night.report.parent / "journal.jsonl").read_text().splitlines()]
    assert lines[0]["figures"]["parent"] == ended.release.name


def test_one_that_insults_is_kept_back_unless_somebody_forces_it_by_name(world, tmp_path):
    bad = toys.fit_lora(world, toys.toxic(11), tmp_path / "bad")
    (tmp_path / "state").mkdir()
    strict = with_gate(whole_night.task(world.base, tmp_path / "state"), max_unsafe=0.2)
    ended = take_in(replace(strict, force=None), bad)
    assert (ended.outcome, ended.release) == ("rejected", None)
    assert "safety" in ended.verdict.vetoes
    forced = take_in(strict, bad)
    assert forced.release.manifest["gate"] == {
        "outcome": "forced", "by": "the test", "reasons": forced.verdict.reasons,
    }  # fmt: skip


def test_where_the_settings_say_so_it_waits_for_a_person(world, good, tmp_path):
    task = with_gate(whole_night.task(world.base, tmp_path, force=None), hold=True)
    ended = take_in(task, good)
    store = task.store
    assert (ended.outcome, store.current("toy")) == ("held", None)
    assert waiting(store, "toy") == [ended.release]
    assert ended.release.manifest["gate"]["by"] == "retrain.gate.hold"
    assert "held back" in ended.report.read_text()
    approve(store, "toy", None, "rani")
    assert store.current("toy") == ended.release


def test_what_cannot_be_served_is_refused_before_anything_is_compared(world, tmp_path):
    (tmp_path / "state").mkdir()
    with pytest.raises(ConfigError, match="no such folder"):
        judged(world, tmp_path / "state", tmp_path / "nothing")
    lora = toys.fit_lora(world, toys.streams(10, 1), tmp_path / "lora", steps=1)
    config = json.loads((lora / "adapter_config.json").read_text())
    (lora / "adapter_config.json").write_text(json.dumps({**config, "use_dora": True}))
    with pytest.raises(LoraRejected, match="use_dora"):
        judged(world, tmp_path / "state", lora)
    assert not (tmp_path / "state" / "personas").exists()

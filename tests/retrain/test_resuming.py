"""A night that was begun and goes on: what has changed meanwhile is looked at anew, and nothing else is done again."""

import json
import shutil
import sqlite3
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from tests.retrain import whole_night
from tests.retrain.pasts import night, streamed
from tests.support import toys
from vtuber_brain.errors import ConfigError, LoraRejected, Unavailable
from vtuber_brain.releases.publish import content_hash
from vtuber_brain.retrain.run import look_ahead, run_night, take_in
from vtuber_brain.runtime.lease import LIVE, ON_AIR, held
from vtuber_brain.transcripts import ratings, viewers

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return toys.make_world(tmp_path_factory.mktemp("toy") / "base")


def another(base, folder):
    """A base that is nearly the same, and not the same."""
    shutil.copytree(base, folder)
    weights = {name: tensor * 1.001 for name, tensor in load_file(base / "model.safetensors").items()}
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    return folder


def erase(path, viewer):
    """Make it a file in which the viewer never wrote."""
    with sqlite3.connect(path) as database:
        theirs = "(SELECT message_id FROM messages WHERE author_id = ?)"
        replies = f"(SELECT reply_id FROM turns WHERE message_id IN {theirs})"
        for table in ("ratings", "hearings", "utterances"):
            database.execute(f"DELETE FROM {table} WHERE reply_id IN {replies}", (viewer,))
        for table in ("turns", "verdicts"):
            database.execute(f"DELETE FROM {table} WHERE message_id IN {theirs}", (viewer,))
        database.execute("DELETE FROM messages WHERE author_id = ?", (viewer,))
    database.close()


def lines(folder):
    return [json.loads(line) for line in (folder / "journal.jsonl").read_text().splitlines()]


def on_air(path):
    """A daemon that is awake, within the block."""
    stack = ExitStack()
    for lease in (LIVE, ON_AIR):
        stack.enter_context(held(path.with_name(lease), "the daemon of toy", shared=True))
    return stack


def test_a_night_that_had_too_little_learns_from_the_streams_that_came_since(world, tmp_path):
    path = streamed(tmp_path, 1, count=6)
    task = night(world.base, tmp_path, corpora=())
    with pytest.raises(ConfigError, match="6 examples, at least 20"):
        run_night(task)
    streamed(tmp_path, 2, 3, 4)
    window = run_night(task).release.manifest["window"]
    with sqlite3.connect(path) as database:
        first, last = database.execute("SELECT min(at), max(at) FROM turns").fetchone()
    database.close()
    assert window == {
        "streams": [1, 2, 3, 4],
        "since": pytest.approx(first - 2, rel=0, abs=1),
        "until": pytest.approx(last, rel=0, abs=1),
    }


def test_a_night_that_goes_on_is_refused_beside_a_live_stream_as_a_new_one_is(world, tmp_path):
    path = streamed(tmp_path, 1, count=6)
    task = night(world.base, tmp_path, corpora=())
    with pytest.raises(ConfigError):
        run_night(task)
    with on_air(path), pytest.raises(Unavailable, match="a stream is live: the daemon of toy"):
        run_night(task)


def test_one_that_goes_on_is_measured_against_what_is_current_by_then(world, tmp_path):
    task = whole_night.task(world.base, tmp_path, force=None)
    lora = toys.fit_lora(world, toys.streams(10, 1), tmp_path / "elsewhere", steps=1)
    with pytest.raises(LoraRejected, match="rank"):
        take_in(replace(task, configure=replace(task.configure, max_lora_rank=4)), lora)
    current = run_night(whole_night.task(world.base, tmp_path)).release
    ended = take_in(task, lora)
    planned = [line for line in lines(ended.report.parent) if line["step"] == "planned"][-1]
    assert planned["figures"]["parent"] == current.name
    assert (ended.outcome, task.store.current("toy")) == ("rejected", current)


def test_killed_between_the_release_and_the_last_line_it_ends_as_it_would_have(world, tmp_path):
    """Its own release is current by then, and no yardstick for it."""
    task = whole_night.task(world.base, tmp_path)
    ended = run_night(task)
    journal = ended.report.parent / "journal.jsonl"
    before, content = lines(journal.parent), content_hash(ended.release.path)
    journal.write_text("".join(f"{json.dumps(line)}\n" for line in before[:-1]))
    again = run_night(task)
    assert (again.night, again.release, content_hash(again.release.path)) == (ended.night, ended.release, content)
    assert [line["step"] for line in lines(journal.parent)].count("planned") == 1
    assert [release.name for release in task.store.releases("toy")] == [ended.release.name]


def test_the_transcripts_are_packed_anew_by_a_night_that_may_begin_and_by_no_other(world, tmp_path, monkeypatch):
    path = streamed(tmp_path, 1, 2)
    monkeypatch.setattr(viewers, "MAX_SCRUB_BYTES", 0)
    viewers.forget(path, "websocket", "ayu")

    def is_packed():
        with sqlite3.connect(path) as database:
            (at,) = database.execute("SELECT scrubbed_at FROM forgotten").fetchone()
        database.close()
        return at is not None

    task = night(world.base, tmp_path)
    with on_air(path), pytest.raises(Unavailable):
        run_night(task)
    look_ahead(task)
    assert not is_packed()
    run_night(task)
    assert is_packed()


def test_a_night_that_makes_what_was_rolled_back_is_rejected_and_the_next_one_begins(world, tmp_path):
    streamed(tmp_path, 1, 2, 3)
    task = night(world.base, tmp_path)
    first = run_night(task)
    task.store.rollback("toy", "live guard", "8 of 24 refused")
    ended = run_night(task, from_step="trained")
    assert (ended.outcome, ended.verdict.vetoes) == ("rejected", ("rolled_back",))
    assert f"taken back as {first.release.name} by live guard" in ended.verdict.reasons[0]
    streamed(tmp_path, 4, 5)
    later = run_night(task)
    assert (later.outcome, later.night) == ("released", f"{first.night}.2")
    assert task.store.current("toy") == later.release


def test_a_night_without_anything_new_trains_nothing_and_a_rating_or_a_limit_is_new(world, tmp_path):
    path = streamed(tmp_path, 1, 2, 3)
    task = night(world.base, tmp_path)
    first = run_night(task)
    with pytest.raises(Unavailable, match=f"nothing is new since the night {first.night}"):
        run_night(task)
    assert len(task.store.releases("toy")) == 1
    ratings.rate(path, f"{1:012x}", -1, "rani")
    assert run_night(task).night == f"{first.night}.2"
    settings = task.settings.model_copy(update={"gate": whole_night.LENIENT.model_copy(update={"max_nll_rise": 1.0})})
    assert run_night(replace(task, settings=settings)).night == f"{first.night}.3"


@pytest.mark.parametrize(("how", "with_corpus"), [("forgotten", True), ("opted out", False)])
def test_who_was_forgotten_after_a_release_is_out_of_what_is_served_after_the_next_night(
    world, tmp_path, how, with_corpus
):
    """However well the release with them foresees: what comes after it is measured against the base."""
    path = streamed(tmp_path, *range(1, 6))
    task = night(world.base, tmp_path, **({} if with_corpus else {"corpora": ()}))
    if not with_corpus:
        every = task.settings.curate.model_copy(update={"own_share": 0.9})
        task = replace(task, settings=task.settings.model_copy(update={"curate": every}))
    first = run_night(task)
    if how == "forgotten":
        viewers.forget(path, "websocket", "ayu")
    else:
        viewers.opt_out(path, "websocket", "ayu", "rani")
    ended = run_night(task)
    assert (ended.outcome, task.store.current("toy")) == ("released", ended.release)
    assert ended.release != first.release
    assert "forgotten, or has opted out, since" in ended.report.read_text()
    with pytest.raises(Unavailable, match="nothing is new"):
        run_night(task)


def test_with_a_viewer_forgotten_the_weights_are_those_of_a_file_in_which_they_never_stood(world, tmp_path):
    def made(name, change):
        (tmp_path / name).mkdir()
        change(Path(shutil.copy(path, tmp_path / name)))
        return run_night(night(world.base, tmp_path / name)).release.content

    path = streamed(tmp_path, 1, 2, 3)
    forgotten = made("forgotten", lambda file: viewers.forget(file, "websocket", "ayu"))
    assert forgotten == made("never", lambda file: erase(file, "ayu"))
    assert forgotten != made("all", lambda file: file)


def test_a_release_for_another_base_is_no_yardstick_and_stops_no_night(world, tmp_path):
    other = another(world.base, tmp_path / "other")
    first = run_night(night(world.base, tmp_path))
    ended = run_night(night(other, tmp_path))
    assert (ended.outcome, ended.release.manifest["parent"]) == ("released", first.release.name)
    assert "does not fit the base" in ended.report.read_text()


def test_a_lora_beside_her_file_for_another_base_is_none_either(world, tmp_path):
    other = another(world.base, tmp_path / "other")
    made = run_night(whole_night.task(other, tmp_path)).release
    state = tmp_path / "state"
    state.mkdir()
    lent = toys.PERSONA.model_copy(update={"lora": made.path})
    assert run_night(night(world.base, state, persona=lent)).outcome == "released"


def test_a_night_makes_way_for_a_stream_that_begins_and_goes_on_from_its_checkpoint(world, tmp_path):
    path = streamed(tmp_path, 1, 2, 3)
    (tmp_path / "undisturbed").mkdir()
    shutil.copy(path, tmp_path / "undisturbed")
    steps, stack = [], ExitStack()

    def told(one):
        steps.append(one.step)
        if one.step == 6:
            stack.enter_context(on_air(path))

    with stack, pytest.raises(Unavailable, match="a stream is live: the daemon of toy"):
        run_night(night(world.base, tmp_path, on_progress=told))
    assert steps[-1] == 6
    again = []
    ended = run_night(night(world.base, tmp_path, on_progress=lambda one: again.append(one.step)))
    assert (ended.outcome, again[0]) == ("released", whole_night.TRAIN.checkpoint_steps + 1)
    assert run_night(night(world.base, tmp_path / "undisturbed")).release.content == ended.release.content


@pytest.mark.parametrize(("changed", "named"), [({"rank": 32}, "retrain.train.rank: 32"), ({"method": "full"}, "full")])
def test_what_the_daemon_could_not_load_is_refused_before_it_is_trained(world, tmp_path, changed, named):
    task = whole_night.task(world.base, tmp_path)
    train = task.settings.train.model_copy(update=changed)
    task = replace(task, settings=task.settings.model_copy(update={"train": train}))
    for wanted in (run_night, look_ahead):
        with pytest.raises(ConfigError, match=named):
            wanted(task)
    assert [path.name for path in tmp_path.iterdir()] == ["corpus.jsonl"]

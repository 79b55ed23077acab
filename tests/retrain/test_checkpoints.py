"""A run killed at any moment and run again ends in the bytes of one that was not; torn checkpoints are passed over."""

import hashlib
import json
import os
import random
import resource
import shutil
import signal

import pytest
import torch

from tests.support.families import save_model
from tests.support.trainer import Nursery, small_rows, small_settings
from vtuber_brain.errors import ConfigError
from vtuber_brain.retrain import checkpoints
from vtuber_brain.retrain.checkpoints import Checkpoint, Standing
from vtuber_brain.retrain.train import train, work_folder


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return save_model("llama", tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def nursery():
    return Nursery()


@pytest.fixture(scope="module")
def whole_run(base, nursery, tmp_path_factory):
    """The bytes of a run that nothing befell."""
    out = tmp_path_factory.mktemp("whole") / "lora"
    assert nursery.run(base, out) == 0
    return bytes_of(out)


def bytes_of(folder):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def tear(folder, rng):
    """What a disk may do to the newest checkpoint: cut a file short, change a byte, lose one."""
    newest = max(folder.glob("step-*"), default=None)
    if newest is None:
        return
    victim = rng.choice(sorted(newest.iterdir()))
    match rng.randrange(3):
        case 0:
            victim.unlink()
        case 1:
            os.truncate(victim, rng.randrange(victim.stat().st_size))
        case _:
            data = bytearray(victim.read_bytes())
            data[rng.randrange(len(data))] ^= 0x55
            victim.write_bytes(data)


def survive(nursery, base, out, whole_run, rng):
    """One round: killed up to three times at random, once perhaps torn, then run to its end."""
    for _ in range(rng.randrange(1, 4)):
        if rng.random() < 0.5:
            nursery.run(base, out, kill_after=rng.randrange(20))
        else:
            nursery.run(base, out, die=f"{rng.choice(('fsync', 'fsync', 'rename', 'rmtree'))}:{rng.randrange(40)}")
        if rng.random() < 0.4:
            tear(work_folder(out), rng)
    assert nursery.run(base, out) == 0
    assert bytes_of(out) == whole_run
    assert not list(work_folder(out).glob("step-*"))
    assert [path.name for path in out.parent.iterdir() if path.name.startswith(".")] == []


@pytest.mark.timeout(600)
def test_a_run_killed_at_random_ends_in_the_same_bytes(nursery, base, whole_run, tmp_path):
    for number in range(12):
        survive(nursery, base, tmp_path / str(number) / "lora", whole_run, random.Random(number))


def test_a_full_disk_is_an_error_of_the_system_and_leaves_nothing_half_there(tmp_path):
    """safetensors says it in a type of its own, which nobody expects."""
    state = Checkpoint(Standing(), {"a": torch.zeros(10_000)}, {}, {})
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(OSError, match="step-00000000 cannot be written"):
            checkpoints.save(tmp_path, state, "x")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_hundred_runs_killed_at_random_end_in_the_same_bytes(nursery, base, whole_run, tmp_path):
    for number in range(100):
        survive(nursery, base, tmp_path / str(number) / "lora", whole_run, random.Random(1000 + number))


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "moment",
    [
        pytest.param("rename:0", id="the first checkpoint is written but has no name"),
        pytest.param("fsync:3", id="a checkpoint is half synced"),
        pytest.param("rename:2", id="the third checkpoint has no name and the first is still there"),
        pytest.param("rmtree:9", id="an old checkpoint is about to go"),
        pytest.param("rename:5", id="what was trained is written but has no name"),
    ],
)
def test_killed_at_this_point_it_ends_in_the_same_bytes(moment, nursery, base, whole_run, tmp_path):
    assert nursery.run(base, tmp_path / "lora", die=moment) == -signal.SIGKILL
    assert not (tmp_path / "lora").exists()
    assert nursery.run(base, tmp_path / "lora") == 0
    assert bytes_of(tmp_path / "lora") == whole_run


def test_a_run_that_ended_is_not_run_again(base, tmp_path):
    rows, validation = small_rows()
    trained = train(base, rows, validation, small_settings(), tmp_path / "lora")
    told = []
    again = train(base, rows, validation, small_settings(), tmp_path / "lora", resume=True, on_progress=told.append)
    assert again == trained
    assert told == []
    with pytest.raises(ConfigError, match="already there"):
        train(base, rows, validation, small_settings(seed=9), tmp_path / "lora", resume=True)


def test_a_checkpoint_of_other_rows_is_refused(nursery, base, tmp_path):
    rows, validation = small_rows()
    nursery.run(base, tmp_path / "lora", die="rename:2")
    with pytest.raises(ConfigError, match="belongs to a run on other rows"):
        train(base, rows[1:], validation, small_settings(), tmp_path / "lora", resume=True)


def test_without_resume_a_run_begins_anew(nursery, base, whole_run, tmp_path):
    rows, validation = small_rows()
    nursery.run(base, tmp_path / "lora", die="rename:2")
    torch.set_num_threads(1)
    train(base, rows, validation, small_settings(), tmp_path / "lora", base_name="base")
    assert bytes_of(tmp_path / "lora") == whole_run


def test_the_log_of_a_resumed_run_has_every_update_once(nursery, base, tmp_path):
    nursery.run(base, tmp_path / "lora", die="rename:2")
    nursery.run(base, tmp_path / "lora")
    lines = [json.loads(line) for line in (work_folder(tmp_path / "lora") / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "loss" in line] == list(range(1, 13))


def checkpoint(step):
    generator = torch.Generator().manual_seed(step)
    weights, moments, best = ({"a": torch.randn(5, 7, generator=generator)} for _ in range(3))
    return Checkpoint(Standing(step=step, losses=[0.1 * step], looks=[(step, None, 1.5)]), weights, moments, best)


def test_a_checkpoint_comes_back_as_it_was_and_two_are_kept(tmp_path):
    for step in (2, 4, 6):
        checkpoints.save(tmp_path, checkpoint(step), "rows")
    found = checkpoints.latest(tmp_path, "rows")
    assert found.standing == checkpoint(6).standing
    assert torch.equal(found.moments["a"], checkpoint(6).moments["a"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000004", "step-00000006"]


@pytest.mark.parametrize(
    "name", ["weights.safetensors", "moments.safetensors", "best.safetensors", "state.json", "manifest.json"]
)
@pytest.mark.parametrize("harm", ["lost", "short", "changed", "empty"])
def test_a_torn_newest_checkpoint_is_passed_over_with_a_warning(name, harm, tmp_path, capsys):
    for step in (2, 4):
        checkpoints.save(tmp_path, checkpoint(step), "rows")
    victim = tmp_path / "step-00000004" / name
    data = victim.read_bytes()
    match harm:
        case "lost":
            victim.unlink()
        case "short":
            victim.write_bytes(data[: len(data) // 2])
        case "changed":
            victim.write_bytes(data[:-4] + bytes(byte ^ 0x11 for byte in data[-4:]))
        case "empty":
            victim.write_bytes(b"")
    assert checkpoints.latest(tmp_path, "rows").standing.step == 2
    assert "checkpoint_torn" in capsys.readouterr().out


def test_where_all_are_torn_there_is_none(tmp_path):
    checkpoints.save(tmp_path, checkpoint(2), "rows")
    shutil.rmtree(tmp_path / "step-00000002")
    (tmp_path / "step-00000002").mkdir()
    assert checkpoints.latest(tmp_path, "rows") is None
    checkpoints.save(tmp_path, checkpoint(2), "rows")
    assert checkpoints.latest(tmp_path, "rows").standing.step == 2


def test_nothing_is_pickled(nursery, base, tmp_path):
    nursery.run(base, tmp_path / "lora", die="rename:3")
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} == {".safetensors", ".json", ".jsonl"}

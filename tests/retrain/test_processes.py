"""Two processes that train together, as torchrun starts them, do what one would; only the first writes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from tests.support import toys
from tests.support.families import save_model, save_talker
from tests.support.trainer import small_rows, small_settings
from vtuber_brain.releases.publish import content_hash
from vtuber_brain.releases.store import ReleaseStore
from vtuber_brain.retrain.train import train

LAUNCH = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m"]
ROOT = Path(__file__).parents[2]
PLAIN = {"dropout": 0.0, "pack_tokens": 60, "epochs": 2}


def launched(command):
    return subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )


@pytest.mark.timeout(300)
def test_two_processes_end_where_one_does_with_the_same_rows_an_update(tmp_path):
    base = save_model("llama", tmp_path / "base")
    rows, validation = small_rows()
    torch.set_num_threads(1)
    alone = train(base, rows, validation, small_settings(**PLAIN), tmp_path / "alone", base_name="base")
    command = [*LAUNCH, "tests.support.trainer", str(base), str(tmp_path / "both"), json.dumps(PLAIN)]
    told = launched(command)
    assert told.returncode == 0, told.stderr[-2000:]
    ranks = [json.loads((tmp_path / f"rank-{rank}.json").read_text()) for rank in range(2)]
    assert all(rank["losses"] == pytest.approx(alone.losses, abs=1e-5) for rank in ranks)
    assert ranks[0]["looks"] == ranks[1]["looks"]
    one, two = (load_file(tmp_path / name / "adapter_model.safetensors") for name in ("alone", "both"))
    for key in one:
        torch.testing.assert_close(one[key], two[key], atol=1e-5, rtol=1e-4)
    log = (tmp_path / "both.training" / "log.jsonl").read_text().splitlines()
    assert len([line for line in log if '"loss"' in line]) == alone.steps


@pytest.mark.timeout(300)
def test_a_night_of_two_processes_ends_with_a_release_as_one_of_one_does(tmp_path):
    """The second process trains along; all else, the lock and the release too, is the first one's."""
    toys.make_world(tmp_path / "base")
    told = launched([*LAUNCH, "tests.retrain.whole_night", str(tmp_path / "base"), str(tmp_path / "state"), "0"])
    assert told.returncode == 0, told.stderr[-2000:]
    release = ReleaseStore(tmp_path / "state" / "personas").current("toy")
    assert told.stdout.splitlines() == [f"released {release.name}"]
    assert content_hash(release.path) == release.manifest["content"]["sha256"]
    assert release.manifest["scores"]["best_nll"] < release.manifest["scores"]["first_nll"]


@pytest.mark.timeout(300)
@pytest.mark.slow
def test_the_command_of_the_tutorials_is_the_same_for_two_processes(tmp_path, bundled_model):
    base = save_talker(tmp_path / "base", bundled_model)
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("\n\n".join(f"Button number {n} was found under the {n * 7}th stair." for n in range(40)))
    command = [*LAUNCH, "vtuber_brain", "retrain", "--full", "--corpus", str(corpus), "--base", str(base)]
    told = launched([*command, "--out", str(tmp_path / "mori_brain_final")])
    assert told.returncode == 0, told.stderr[-2000:]
    assert told.stdout.count("written to") == 1
    assert "[greedy]" in told.stdout
    AutoModelForCausalLM.from_pretrained(tmp_path / "mori_brain_final", local_files_only=True)

"""Two processes that train together, as torchrun starts them, do what one would; only the first writes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.support.families import save_model
from tests.support.trainer import small_rows, small_settings
from vtuber_brain.retrain.train import train

ROOT = Path(__file__).parents[2]
PLAIN = {"dropout": 0.0, "pack_tokens": 60, "epochs": 2}


@pytest.mark.timeout(300)
def test_two_processes_end_where_one_does_with_the_same_rows_an_update(tmp_path):
    base = save_model("llama", tmp_path / "base")
    rows, validation = small_rows()
    torch.set_num_threads(1)
    alone = train(base, rows, validation, small_settings(**PLAIN), tmp_path / "alone", base_name="base")
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [*launch, "-m", "tests.support.trainer", str(base), str(tmp_path / "both"), json.dumps(PLAIN)]
    told = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    assert told.returncode == 0, told.stderr[-2000:]
    ranks = [json.loads((tmp_path / f"rank-{rank}.json").read_text()) for rank in range(2)]
    assert all(rank["losses"] == pytest.approx(alone.losses, abs=1e-5) for rank in ranks)
    assert ranks[0]["looks"] == ranks[1]["looks"]
    one, two = (load_file(tmp_path / name / "adapter_model.safetensors") for name in ("alone", "both"))
    for key in one:
        torch.testing.assert_close(one[key], two[key], atol=1e-5, rtol=1e-4)
    log = (tmp_path / "both.training" / "log.jsonl").read_text().splitlines()
    assert len([line for line in log if '"loss"' in line]) == alone.steps

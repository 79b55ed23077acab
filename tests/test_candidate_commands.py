"""A lora from elsewhere, as an operator brings it in, decides on it, judges it blind, and hands it on merged."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from tests.e2e.test_night import SETTINGS, SMALL, TOY
from tests.retrain import whole_night
from tests.support import toys
from vtuber_brain import candidate_commands as commands
from vtuber_brain import cli, release_commands
from vtuber_brain.engine.load import load_runner
from vtuber_brain.engine.wire import Configure
from vtuber_brain.errors import ConfigError, LoraRejected
from vtuber_brain.nightly_commands import HELD, REJECTED

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    """Settings of an operator who wants to decide herself, a persona with a corpus, and a lora from elsewhere."""
    folder = tmp_path_factory.mktemp("house")
    world = toys.make_world(folder / "base")
    toys.fit_lora(world, toys.streams(10, 12), folder / "elsewhere")
    (folder / "toy.toml").write_text(TOY)
    (folder / "toy").mkdir()
    whole_night.corpus(folder / "toy" / "corpus.jsonl")
    chosen = {"name": "toy", "folder": folder, "base": folder / "base", "dtype": "fp32", "classifier": "false"}
    (folder / "brain.toml").write_text(SETTINGS.format(more=f"{SMALL}hold = true\n", **chosen))
    return folder


@pytest.fixture(scope="module")
def imported(house):
    """What `import` said and left, in a process of its own."""
    command = [sys.executable, "-m", "vtuber_brain", "persona", "import", str(house / "elsewhere")]
    return subprocess.run(
        [*command, "--config", str(house / "brain.toml")],
        capture_output=True, text=True, timeout=150, check=False,
        env={**os.environ, "VTB_STATE_DIR": str(house / "state")},
    )  # fmt: skip


@pytest.fixture
def state(house, imported, tmp_path, monkeypatch):
    """A copy of that, of this test's own."""
    shutil.copytree(house / "state", tmp_path / "state")
    monkeypatch.setenv("VTB_STATE_DIR", str(tmp_path / "state"))
    return house / "brain.toml"


def waits(config, capsys):
    release_commands.releases(config=config)
    return "waits for approve or refuse" in " ".join(capsys.readouterr().out.split())


def test_what_passed_waits_for_a_word_and_the_exit_code_says_so(imported):
    assert imported.returncode == HELD, imported.stderr
    (name,) = re.findall(r"^held: (\S+)$", imported.stdout, re.MULTILINE)
    assert f"vtuber-brain persona approve {name}" in imported.stdout


def test_approved_it_is_current_and_waits_no_more(state, capsys):
    assert waits(state, capsys)
    assert commands.approve(by="rani", config=state) == 0
    assert "is current" in capsys.readouterr().out
    assert not waits(state, capsys)


def test_refused_it_never_goes_live(state, capsys):
    commands.refuse(reason="too loud", by="rani", config=state)
    assert not waits(state, capsys)
    with pytest.raises(ConfigError, match="no release waits"):
        commands.approve(config=state)


def test_the_blind_sheet_is_read_by_the_night_it_is_of(state, house, tmp_path, capsys):
    (page,) = (tmp_path / "state" / "retrain" / "toy" / "imports").glob("*/ab-*.html")
    night = f"imports/{page.parent.name}"
    cards = len(re.findall(r"data-card=", page.read_text()))
    seed = re.search(r'data-seed="(\d+)"', page.read_text())[1]
    (tmp_path / "told.json").write_text(json.dumps({"seed": int(seed), "choices": ["same"] * cards}))
    commands.ab(tmp_path / "told.json", night=night, config=state)
    assert f"neither {cards}" in capsys.readouterr().out
    with pytest.raises(ConfigError, match="no night of hers has ended"):
        commands.ab(tmp_path / "told.json", config=state)


def test_merged_it_loads_alone_answers_the_same_and_can_be_served(state, house, tmp_path, capsys):
    with pytest.raises(ConfigError, match="has no lora to merge"):
        commands.export(merged=tmp_path / "merged", config=state)
    commands.approve(config=state)
    commands.export(merged=tmp_path / "merged", config=state)
    assert "model.path" in capsys.readouterr().out
    base = AutoModelForCausalLM.from_pretrained(house / "base")
    adapted = PeftModel.from_pretrained(base, house / "elsewhere").eval()
    alone = AutoModelForCausalLM.from_pretrained(tmp_path / "merged")
    ids = torch.arange(4, 40).unsqueeze(0)
    with torch.inference_mode():
        torch.testing.assert_close(alone(ids).logits, adapted(ids).logits, atol=1e-4, rtol=1e-4)
    load_runner(Configure(str(tmp_path / "merged"), dtype="fp32", context=64, num_slots=1))


def test_one_for_another_base_is_not_merged(state, house, tmp_path):
    commands.approve(config=state)
    other = shutil.copytree(house / "base", tmp_path / "other")
    weights = other / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + b"\0\0\0\1")
    settings = state.read_text().replace(str(house / "base"), str(other))
    (tmp_path / "brain.toml").write_text(settings)
    with pytest.raises(LoraRejected, match="another base model"):
        commands.export(merged=tmp_path / "merged", config=tmp_path / "brain.toml")


def test_what_is_no_lora_is_refused_with_what_to_do(state, house, tmp_path):
    with pytest.raises(ConfigError, match=r"model\.path"):
        commands.import_(house / "base", config=state)
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "adapter_config.json").write_text('{"peft_type": "LORA"}')
    (tmp_path / "theirs" / "adapter_model.bin").write_bytes(b"")
    with pytest.raises(LoraRejected, match="safe_serialization"):
        commands.import_(tmp_path / "theirs", config=state)


def test_how_a_night_may_end_stands_in_the_pages_and_is_no_failure_to_systemd():
    unit, readme, page = (
        ROOT.joinpath(name).read_text()
        for name in ("systemd/vtuber-brain-retrain.service", "README.md", "docs/retrain.md")
    )
    (fine,) = re.findall(r"^SuccessExitStatus=(.*)$", unit, re.MULTILINE)
    assert fine.split() == [str(code) for code in (cli.UNAVAILABLE, REJECTED, HELD)]
    for text in (readme, page):
        (codes,) = [" ".join(part.split()) for part in text.split("\n\n") if part.startswith("Exit codes: 0")]
        assert f"{REJECTED} " in codes and f"{HELD} " in codes
    assert len({cli.DONE, cli.FAILED, cli.WRONG, cli.UNAVAILABLE, cli.INTERRUPTED, REJECTED, HELD}) == 7

"""docs/scale.md: what it tells people to write into the settings can be loaded, and what it names exists."""

import re
from pathlib import Path

import pytest

from vtuber_brain.config import Settings, load
from vtuber_brain.engine.endpoints import MAX_WAITING

PAGE = (Path(__file__).parents[1] / "docs" / "scale.md").read_text()
BLOCKS = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize("block", BLOCKS)
def test_every_example_can_be_loaded(block, tmp_path):
    file = tmp_path / "brain.toml"
    file.write_text(block)
    assert load(file).engine.kind == re.search(r'kind = "(\w+)"', block)[1]


def test_every_setting_it_names_exists():
    named = re.findall(r"`(\w+)\.(\w+)(?: = [^`]*)?`", PAGE)
    sections = {
        name: set(field.annotation.model_fields) for name, field in Settings.model_fields.items() if name != "plugins"
    }
    assert len(named) > 20
    for section, key in named:
        assert section not in sections or key in sections[section], f"{section}.{key}"


def test_every_way_a_request_can_fail_is_in_the_table():
    codes = {"rate_limited", "unauthorized", "bad_request", "prompt_too_long", "unknown_model", "unknown_lora"}
    for code in codes | {"deadline", "queue_full", "engine_down"}:
        assert f"`{code}`" in PAGE
    assert f"at most {MAX_WAITING}" in PAGE

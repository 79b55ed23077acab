"""What the code offers stands in the docs: commands, exit codes, hooks, topics, files that pages point to."""

import re
from pathlib import Path
from typing import get_args

import pytest

from vtuber_brain import cli
from vtuber_brain.bus.control import Control
from vtuber_brain.bus.topics import CHANNELS
from vtuber_brain.context.personas import Cues, Example, Persona, Sampling, Style, load_persona
from vtuber_brain.engine import loras
from vtuber_brain.manifests import Hook

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def commands(app, prefix=""):
    for name in app:
        if not name.startswith("-"):
            inner = app[name]
            below = list(commands(inner, f"{prefix}{name} "))
            yield from below or [f"{prefix}{name}"]


def test_every_command_stands_in_the_readme():
    readme = ROOT.joinpath("README.md").read_text()
    for command in commands(cli.app):
        group, _, name = command.partition(" ")
        assert f"vtuber-brain {group}" in readme, command
        assert not name or f"`{name}`" in readme or f"vtuber-brain {group} {name}" in readme, command


def test_every_exit_code_stands_in_the_readme():
    line = next(line for line in ROOT.joinpath("README.md").read_text().split("\n\n") if "Exit codes" in line)
    for code in (cli.DONE, cli.FAILED, cli.WRONG, cli.UNAVAILABLE, cli.INTERRUPTED):
        assert re.search(rf"\b{code}\b", line)


def test_every_topic_stands_in_the_bus_page():
    page = ROOT.joinpath("docs/bus.md").read_text()
    assert all(f"`{channel}`" in page for channel in CHANNELS)


def test_every_command_on_the_bus_stands_in_the_bus_page():
    page = ROOT.joinpath("docs/bus.md").read_text()
    for command in get_args(get_args(Control)[0]):
        (name,) = get_args(command.model_fields["command"].annotation)
        (row,) = [line for line in page.splitlines() if line.startswith(f"| `{name}` |") and line.count("|") == 4]
        assert all(f"`{field}`" in row for field in set(command.model_fields) - {"id", "command"}), name


def test_every_key_of_a_persona_stands_in_its_page_with_an_example_that_loads(tmp_path):
    page = ROOT.joinpath("docs/personas.md").read_text()
    assert all(f"| `{key}` |" in page for key in Persona.model_fields)
    tables = (Style, Cues, Sampling, Example)
    assert all(f"`{key}`" in page for table in tables for key in table.model_fields)
    (example,) = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    (tmp_path / "pip.toml").write_text(example)
    assert load_persona("pip", tmp_path).lora == tmp_path / "pip-lora"


def test_what_the_engine_refuses_of_a_lora_stands_in_the_personas_page():
    page = ROOT.joinpath("docs/personas.md").read_text()
    named = {"use_dora", "modules_to_save", "bias", "lora_bias", "trainable_token_indices", "target_parameters"}
    assert named <= set(loras._OFF)
    assert all(f"`{key}`" in page for key in [*named, *loras._CHANGES_THE_BASE])


def test_every_command_of_the_stage_stands_in_the_personas_page():
    page = ROOT.joinpath("docs/personas.md").read_text()
    assert all(f"| `vtuber-brain {name}" in page for name in commands(cli.app) if name.startswith("persona "))


def test_every_hook_stands_in_the_plugins_page():
    page = ROOT.joinpath("docs/plugins.md").read_text()
    assert all(f"`{hook}`" in page or hook in page for hook in get_args(Hook))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} points to {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_of_ours_that_a_page_names_exists(page):
    for name in re.findall(
        r"`((?:chat|sentiment|context|engine|speech|bus|releases|transcripts|runtime)/\w+\.py)`", page.read_text()
    ):
        assert (ROOT / "vtuber_brain" / name).exists(), f"{page.name} names {name}"

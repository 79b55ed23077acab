"""A persona's file is read whole or refused with every problem named."""

import pytest

from vtuber_brain.config import shipped
from vtuber_brain.context.personas import Cues, Example, Persona, Sampling, Style, load_persona, personas
from vtuber_brain.errors import ConfigError
from vtuber_brain.sections import SentimentSettings
from vtuber_brain.sentiment.judge import decide
from vtuber_brain.sentiment.rules import RuleSet, apply_spoken

LEAST = 'name = "pip"\ndisplay_name = "Pip"\nlanguage = "id"\nsystem = "You are Pip."\n'


def problems(error: ConfigError) -> dict[str, str]:
    return {problem.where.split(": ")[-1]: problem.what for problem in error.problems}


def test_every_shipped_persona_loads() -> None:
    assert "mori" in personas()
    for name in personas():
        assert load_persona(name).name == name


def test_mori_keeps_to_her_own_limits() -> None:
    mori = load_persona("mori")
    assert len(mori.system.split()) < 80 and "\n" not in mori.system
    assert mori.cues.default in mori.cues.names
    assert all(f"[{cue}]" in mori.system for cue in mori.cues.names)
    assert all(len(example.says.split()) <= mori.style.max_words for example in mori.examples)
    rules = RuleSet.load(SentimentSettings())
    said = [*mori.safe_lines, *(example.says for example in mori.examples)]
    assert [line for line in said if apply_spoken(line, rules, mori.blocked_topics)] == []
    assert [e.heard for e in mori.examples if decide(e.heard, rules).action == "deny"] == []


def test_defaults_fill_what_a_short_file_leaves_out(tmp_path) -> None:
    path = tmp_path / "pip.toml"
    path.write_text(LEAST, encoding="utf-8")
    persona = load_persona("pip", tmp_path)
    assert persona == load_persona(str(path))
    assert persona.cues.names == () and persona.examples == () and persona.sampling.seed is None


def test_an_unknown_persona_names_those_there_are(tmp_path) -> None:
    for name in ("pip", "abu"):
        (tmp_path / f"{name}.toml").write_text(LEAST, encoding="utf-8")
    with pytest.raises(ConfigError, match="Choose one of: abu, pip"):
        load_persona("mory", tmp_path)
    with pytest.raises(ConfigError, match=r"Put mory\.toml into"):
        load_persona("mory", tmp_path / "empty")
    with pytest.raises(ConfigError, match="no such file"):
        load_persona(str(tmp_path / "mory.toml"))


def test_every_problem_is_reported_at_once(tmp_path) -> None:
    path = tmp_path / "pip.toml"
    path.write_text(
        'name = "Pip!"\ndisplay_name = ""\nlanguage = "english"\nsystem = " "\nmood = 1\n'
        'blocked_topics = ["*", "war"]\n'
        '[sampling]\ntemperature = "hot"\ntop_p = 2\n[style]\nmax_tokens = 0\n'
        '[cues]\nnames = ["smile"]\ndefault = "grin"\n'
        '[[examples]]\nheard = "A: hi"\n',
        encoding="utf-8",
    )
    with pytest.raises(ConfigError) as raised:
        load_persona("pip", tmp_path)
    found = problems(raised.value)
    assert set(found) == {
        *("name", "display_name", "language", "system", "mood", "blocked_topics.0", "sampling.temperature"),
        *("sampling.top_p", "style.max_tokens", "cues", "examples.0.says"),
    }
    assert found["mood"] == "unknown key"
    assert found["cues"] == "default is none of the names: smile"


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (LEAST.replace("pip", "pop"), "'pop' is not the file's name"),
        (LEAST + '[cues]\nnames = ["smile", "smile"]\n', "names holds a cue twice"),
        (LEAST + 'safe_lines = ["[grin] Hi."]\n', "not in cues.names: grin"),
        ('name = "pip\n', "not TOML"),
        (LEAST + 'stop = [""]\n', "at least 1 character"),
    ],
)
def test_each_contradiction_is_named(tmp_path, text: str, what: str) -> None:
    (tmp_path / "pip.toml").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=what):
        load_persona("pip", tmp_path)


def test_bytes_that_are_not_text_and_a_folder_are_problems(tmp_path) -> None:
    (tmp_path / "pip.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="not TOML"):
        load_persona("pip", tmp_path)
    (tmp_path / "pop.toml").mkdir()
    with pytest.raises(ConfigError, match="directory"):
        load_persona("pop", tmp_path)


def test_mori_shows_every_key() -> None:
    text = shipped("configs", "personas", "mori.toml").read_text(encoding="utf-8")
    tables = [table.model_fields for table in (Persona, Style, Cues, Sampling, Example)]
    assert [key for fields in tables for key in fields if key not in text] == []


def test_a_lora_stands_beside_the_file_that_names_it(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    for named, meant in (("loras/a", tmp_path / "mine" / "loras" / "a"), ("/loras/a", "/loras/a")):
        (tmp_path / "mine" / "pip.toml").write_text(LEAST + f'lora = "{named}"\n', encoding="utf-8")
        assert str(load_persona("mine/pip.toml").lora) == str(meant)
    (tmp_path / "mine" / "pip.toml").write_text(LEAST, encoding="utf-8")
    assert load_persona("mine/pip.toml").lora is None

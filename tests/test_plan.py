"""A persona's own lists and languages reach the rules, and every file is read anew each time."""

from pathlib import Path

import pytest

from vtuber_brain.config import state_dir
from vtuber_brain.context.personas import load_persona
from vtuber_brain.errors import ConfigError
from vtuber_brain.plan import make_plan, rules_for
from vtuber_brain.sections import SentimentSettings
from vtuber_brain.sentiment.rules import apply

PIP = 'name = "pip"\ndisplay_name = "Pip"\nlanguage = "en"\nsystem = "You are Pip."\n'


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "general.txt").write_text("zorble\ngrumf*\n")
    (tmp_path / "kind.txt").write_text("grumfball\n")
    (tmp_path / "her.txt").write_text("marmalade\n")
    (tmp_path / "hers.txt").write_text("zorble pie\n")
    (tmp_path / "pip.toml").write_text(PIP + 'blocklist = "her.txt"\nallowlist = "hers.txt"\nlanguages = ["ru"]\n')
    return tmp_path


def judged(folder, text):
    settings = SentimentSettings(blocklist=folder / "general.txt", allowlist=folder / "kind.txt")
    return apply(text, rules_for(settings, load_persona("pip", folder)))


def test_which_model_is_missing_is_named_by_its_setting(tmp_path):
    config = tmp_path / "brain.toml"
    config.write_text('[model]\npath = "/none"\n[sentiment]\nmodel = "/none"\n')
    with pytest.raises(ConfigError) as refused:
        make_plan(config)
    assert [problem.where for problem in refused.value.problems] == ["model.path: /none", "sentiment.model: /none"]


@pytest.mark.parametrize("inside", ["", "file/", "file/deeper/"])
def test_transcripts_where_no_file_can_be_are_refused_before_anything_starts(inside, tmp_path):
    (tmp_path / "file").write_text("")
    path = tmp_path / inside / "transcripts.db" if inside else tmp_path
    config = tmp_path / "brain.toml"
    config.write_text(f'[transcripts]\npath = "{path}"\n')
    with pytest.raises(ConfigError, match="directory"):
        make_plan(config)
    config.write_text(f'[transcripts]\npath = "{path}"\nenabled = false\n')
    make_plan(config)


@pytest.mark.parametrize("text", ["a zorble", "a grumfing", "marmalade", "z0rble pie", "zorble, pie, zorble"])
def test_general_and_own_words_are_blocked(folder, text):
    assert judged(folder, text) == ["blocked_word"]


@pytest.mark.parametrize("text", ["a zorble pie", "Zorble Pie!", "grumfball", "привет всем"])
def test_allowed_words_of_either_list_win_and_her_languages_are_let_through(folder, text):
    assert judged(folder, text) == []


def test_every_list_is_read_anew(folder):
    (folder / "her.txt").write_text("liquorice\n")
    (folder / "hers.txt").write_text("marzipan\n")
    assert judged(folder, "marmalade") == []
    assert judged(folder, "liquorice") == ["blocked_word"]
    assert judged(folder, "zorble pie") == ["blocked_word"]


def test_the_problems_of_all_lists_are_reported_together(folder):
    (folder / "her.txt").write_text("x\n")
    (folder / "kind.txt").unlink()
    with pytest.raises(ConfigError) as refused:
        judged(folder, "hello")
    assert [problem.where for problem in refused.value.problems] == [f"{folder}/her.txt:1", f"{folder}/kind.txt"]


def test_what_cannot_even_be_looked_at_is_told_as_a_problem(tmp_path, monkeypatch):
    exists = Path.exists

    def locked(path):
        if path.is_relative_to(state_dir()):
            raise PermissionError(13, "Permission denied")
        return exists(path)

    monkeypatch.setattr("pathlib.Path.exists", locked)
    config = tmp_path / "brain.toml"
    config.write_text("")
    with pytest.raises(ConfigError) as refused:
        make_plan(config)
    places = [problem.where for problem in refused.value.problems]
    assert places == [str(state_dir() / "transcripts.db"), str(state_dir() / "blocklist.txt")]

"""Every word of the panel stands there in every language, with the same blanks, and none is missing or idle."""

import re
from pathlib import Path
from string import Formatter
from typing import get_args

from vtuber_brain.messages import Outcome
from vtuber_brain.panel import texts as table
from vtuber_brain.panel.shortcuts import KEYS
from vtuber_brain.panel.tabs import ICONS

PANEL = Path(table.__file__).parent
SOURCE = "".join(path.read_text() for path in PANEL.rglob("*.py") if path.name != "texts.py")
SCRIPTS = "".join(path.read_text() for path in (PANEL / "static").glob("*.js"))


def blanks(text):
    return {name for _, name, _, _ in Formatter().parse(text) if name}


def test_every_text_is_there_in_every_language_with_the_same_blanks():
    english, indonesian = (table.texts(language) for language in table.LANGUAGES)
    for key, text in english.items():
        assert text.strip(), key
        assert indonesian[key].strip(), key
        assert blanks(text) == blanks(indonesian[key]), key


def test_every_text_that_is_used_is_there():
    used = set(re.findall(r'say\["(\w+)"\]', SOURCE)) | set(re.findall(r"words\.(\w+)", SCRIPTS))
    used |= {*get_args(Outcome)} | {f"tab_{name}" for name in ICONS} | {what for _, what in KEYS}
    assert used - set(table.texts("en")) == set()
    assert len(used) > 60


def test_no_text_is_there_for_nothing():
    made = ("fate_", "mood_", "state_", "queue_", "tab_", "role_", "login_", "key_")
    outcomes = get_args(Outcome)
    everywhere = SOURCE + SCRIPTS
    plain = [key for key in table.texts("en") if not key.startswith(made) and key not in outcomes]
    assert [key for key in plain if not re.search(rf"\b{key}\b", everywhere)] == []


def test_the_language_is_what_was_chosen_else_what_the_browser_asks_for():
    assert table.language_of("id", "en-US,en;q=0.9") == "id"
    assert table.language_of("", "id-ID,id;q=0.9,en;q=0.8") == "id"
    assert table.language_of("xx", "fr;q=0.9, en;q=0.8") == "en"
    assert table.language_of("", "") == "en"

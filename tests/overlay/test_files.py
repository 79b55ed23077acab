"""What the folder holds: small files, nobody else's hosts, viewers' words never as markup, docs that say everything."""

import hashlib
import re
import tomllib
from pathlib import Path

import pytest

from tests.support.overlay_feed import FOLDER

ROOT = Path(__file__).parents[2]
BUNDLE = FOLDER / "vrm.bundle.js"
OURS = sorted(path for path in FOLDER.rglob("*") if path.suffix in {".js", ".css", ".svg", ".html"} and path != BUNDLE)
PAGE = (ROOT / "docs/overlay.md").read_text()


@pytest.mark.parametrize("path", OURS, ids=lambda path: path.name)
def test_a_file_is_short_names_no_other_host_and_makes_no_markup_of_text(path):
    text = path.read_text()
    assert len(text.splitlines()) <= 300
    assert re.findall(r"https?://(?!www\.w3\.org/2000/svg)[\w.]+", text) == []
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", text)


def test_the_bundle_is_small_and_its_licences_ship_with_it():
    assert BUNDLE.stat().st_size < 1_500_000
    licences = (FOLDER / "LICENSES.txt").read_text()
    assert licences.count("MIT License") == 2
    for package in ("three", "@pixiv/three-vrm"):
        (version,) = re.findall(rf"^{re.escape(package)} ([\d.]+) ", licences, re.MULTILINE)
        assert f"{package}@{version}" in PAGE


def test_the_bundle_was_built_from_the_source_beside_it():
    built_from = BUNDLE.read_text().splitlines()[0].removeprefix("// vrm.js ")
    assert built_from == hashlib.sha256((FOLDER / "vrm.js").read_bytes()).hexdigest(), "docs/overlay.md: build it anew"


def test_every_cue_of_the_personas_that_ship_has_a_face_and_stands_in_the_docs():
    expressions = (FOLDER / "avatars/expressions.js").read_text()
    faces = set(re.findall(r"^  (\w+): \{", expressions[expressions.index("const CUES") :], re.MULTILINE))
    for persona in (ROOT / "configs/personas").glob("*.toml"):
        assert set(tomllib.loads(persona.read_text())["cues"]["names"]) <= faces, persona.name
    cues = expressions[expressions.index("const CUES") : expressions.index("const STATES")]
    assert all(f"`{name}`" in PAGE for name in re.findall(r"^  (\w+): \{", cues, re.MULTILINE))


def test_every_word_of_the_address_theme_variable_and_measurement_stands_in_the_docs():
    main, themes = (FOLDER / "main.js").read_text(), (FOLDER / "themes.css").read_text()
    assert all(f"`{name}=" in PAGE for name in re.findall(r'asked\.get\("(\w+)"\)', main))
    assert all(f"`{name}`" in PAGE for name in re.findall(r"(--[\w-]+):", themes))
    measured = main[main.index("const measured") : main.index("const getters")]
    assert all(f"`{name}`" in PAGE for name in re.findall(r"^  (\w+): \(", measured, re.MULTILINE))


def test_every_theme_sets_every_colour():
    blocks = re.findall(r"\{([^}]*)\}", (FOLDER / "themes.css").read_text())
    colours = [set(re.findall(r"(--(?:accent|text|subtitle|bubble)[\w-]*):", block)) for block in blocks]
    assert len(colours) == 3 and colours[0] == colours[1] == colours[2]

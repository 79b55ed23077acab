"""What plugin.toml tells, without importing anything: what is there, what fits, what does not and why."""

import sys
from pathlib import Path

import pytest

from tests.support.plugins import install, plant
from vtuber_brain.config import shipped
from vtuber_brain.manifests import Found, Manifest, PluginStatus, find, folders
from vtuber_brain.plugin_api import API_VERSION


def only(place: Path) -> Found:
    (found,) = find([place])
    return found


def test_a_plugin_is_found_by_its_manifest_and_not_imported(tmp_path):
    folder = plant(tmp_path, "good")
    tmp_path.joinpath("no_plugin").mkdir()
    found = only(tmp_path)
    assert (found.name, found.folder, found.module, found.fault) == ("good", folder, None, "")
    assert found.status(True) == PluginStatus("good", "1.2", "on", "Does good.", ("sink",))
    assert found.status(False).state == "off"


def test_places_that_are_not_there_hold_nothing(tmp_path):
    assert find([tmp_path / "absent"]) == []


def test_the_first_of_a_name_counts(tmp_path):
    mine, yours = plant(tmp_path / "a", "good"), plant(tmp_path / "b", "good", version='"9"')
    assert [one.folder for one in find([tmp_path / "a", tmp_path / "b"])] == [mine]
    assert [one.folder for one in find([tmp_path / "b", tmp_path / "a"])] == [yours]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"version": None}, "version: Field required"),
        ({"hooks": "[]"}, "hooks: List should have at least 1 item"),
        ({"hooks": '["door"]'}, "hooks.0: Input should be 'source', 'judge', 'recall' or 'sink'"),
        ({"api": '"one"'}, "api: Input should be a valid integer"),
        ({"colour": '"red"'}, "colour: Extra inputs are not permitted"),
        ({"name": '"Good!"'}, "name: String should match"),
        ({"summary": "unquoted"}, "plugin.toml: Invalid value"),
        ({"summary": "[" * 5000}, "plugin.toml: maximum recursion depth"),
    ],
)
def test_a_manifest_that_cannot_be_read_is_refused_even_when_off(tmp_path, changes, told):
    plant(tmp_path, "good", **changes)
    for turned_on in (True, False):
        status = only(tmp_path).status(turned_on)
        assert (status.name, status.state) == ("good", "refused")
        assert told in status.detail


def test_a_manifest_in_another_encoding_or_out_of_reach_is_refused(tmp_path):
    plant(tmp_path, "good").joinpath("plugin.toml").write_bytes(b'name = "\xff"\n')
    assert "codec" in only(tmp_path).status(True).detail
    bare = tmp_path / "second" / "bare"
    bare.joinpath("plugin.toml").mkdir(parents=True)
    assert "directory" in only(tmp_path / "second").status(True).detail


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"api": "7"}, f"written for api 7, and this is {API_VERSION}"),
        ({"name": '"other"'}, "names it other, and it is found as good"),
        ({"requires": '["no-such-package-here"]'}, "pip install 'no-such-package-here'"),
        ({"requires": '["pydantic<1"]'}, "it needs pydantic<1, and 2."),
        ({"requires": '["pydantic", "=3"]'}, "'=3' is no requirement"),
    ],
)
def test_what_does_not_fit_is_refused_when_on_and_off_with_the_reason_when_off(tmp_path, changes, told):
    plant(tmp_path, "good", **changes)
    found = only(tmp_path)
    assert (found.status(True).state, found.status(False).state) == ("refused", "off")
    assert told in found.status(True).detail
    assert told in found.status(False).detail


def test_a_plugin_with_the_name_of_a_part_of_the_daemon_is_refused(tmp_path):
    plant(tmp_path, "bus")
    assert only(tmp_path).status(True).state == "refused"


@pytest.mark.parametrize("inside", [".", "plugin.toml", "parts", "parts/deep.py"])
def test_a_plugin_that_anybody_may_write_is_refused_however_deep(inside, tmp_path):
    folder = plant(tmp_path, "good")
    (folder / "parts").mkdir()
    (folder / "parts" / "deep.py").touch()
    assert only(tmp_path).status(True).state == "on"
    (folder / inside).chmod(0o777)
    assert "chmod -R go-w" in only(tmp_path).status(True).detail


def test_requirements_that_are_met_are_no_fault(tmp_path):
    plant(tmp_path, "good", requires='["pydantic>=2", "aiomqtt"]')
    assert only(tmp_path).fault == ""


@pytest.mark.parametrize("module", ["flute_plugin", "orchestra.flute"])
def test_an_installed_plugin_is_found_without_importing_it_or_what_it_is_in(tmp_path, monkeypatch, module):
    folder = install(tmp_path, module, "flute", monkeypatch)
    found = only(tmp_path / "elsewhere")
    assert (found.name, found.folder, found.module, found.fault) == ("flute", folder, module, "")
    assert not {"flute_plugin", "orchestra", "orchestra.flute"} & sys.modules.keys()


def test_an_installed_plugin_without_a_package_or_a_manifest_is_refused(tmp_path, monkeypatch):
    install(tmp_path, "flute_plugin", "flute", monkeypatch).joinpath("plugin.toml").unlink()
    assert "plugin.toml: No such file" in only(tmp_path / "elsewhere").status(True).detail
    tmp_path.joinpath("flute_plugin").rename(tmp_path / "gone")
    assert "plugin.toml: No such file" in only(tmp_path / "elsewhere").status(True).detail


def test_an_entry_point_that_names_no_module_is_refused(tmp_path, monkeypatch):
    install(tmp_path, "flute_plugin", "flute", monkeypatch)
    tmp_path.joinpath("flute-1.0.dist-info", "entry_points.txt").write_text("[vtuber_brain.plugins]\nflute = 1 2 3\n")
    status = only(tmp_path / "elsewhere").status(True)
    assert (status.state, status.detail) == ("refused", "its entry point '1 2 3' names no module")


def test_the_statuses_name_what_is_on_off_refused_and_absent_and_imports_nothing(tmp_path):
    plant(tmp_path, "alto")
    plant(tmp_path, "bass", api="7")
    plant(tmp_path, "cello")
    wanted = {"bass", "cello", "drum"}
    statuses = [one.status(one.name in wanted) for one in find([tmp_path, tmp_path / "absent"], wanted)]
    assert [(one.name, one.state) for one in statuses] == [
        ("alto", "off"),
        ("bass", "refused"),
        ("cello", "on"),
        ("drum", "refused"),
    ]
    assert str(tmp_path) in statuses[3].detail
    assert not {f"vtuber_brain_plugin_{name}" for name in ("alto", "bass", "cello")} & sys.modules.keys()


def test_looked_for_are_the_shipped_ones_first_and_then_the_operators(tmp_path, monkeypatch):
    monkeypatch.setenv("VTB_STATE_DIR", str(tmp_path))
    assert folders() == [shipped("plugins"), tmp_path / "plugins"]
    plant(tmp_path / "plugins", "mine")
    found = [(one.name, one.status(False).state) for one in find(folders())]
    own = {file.parent.name for file in shipped("plugins").glob("*/plugin.toml")}
    assert found == [(name, "off") for name in sorted({"mine", *own})]


def test_the_document_names_every_key_of_the_manifest():
    text = Path(__file__).parents[1].joinpath("docs", "plugins.md").read_text()
    for key, about in Manifest.model_fields.items():
        assert f"| `{key}` | {about.description} |" in text

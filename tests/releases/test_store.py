"""Releases on disk: what counts as one, which is current, and that the pointer is never seen half written."""

import json
import threading

import pytest

from vtuber_brain.errors import ConfigError
from vtuber_brain.releases.store import ReleaseStore


@pytest.fixture
def store(tmp_path):
    """A store with two releases of mori, and things that are none."""
    for name in ("r-1", "r-2", ".r-3-in-the-making", "base", "with space"):
        (tmp_path / "mori" / "releases" / name).mkdir(parents=True)
    (tmp_path / "mori" / "releases" / "notes.txt").write_text("none")
    return ReleaseStore(tmp_path)


def test_releases_are_folders_with_a_releases_name(store):
    assert [release.name for release in store.releases("mori")] == ["r-1", "r-2"]
    assert store.releases("nobody") == []
    assert store.find("mori", "r-2").path == store.root / "mori" / "releases" / "r-2"


def test_a_folder_that_cannot_be_read_is_a_problem_with_a_way_out(store, monkeypatch):
    def locked(_folder):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.iterdir", locked)
    with pytest.raises(ConfigError, match=r"Permission denied.*the user that the daemon runs as"):
        store.releases("mori")


@pytest.mark.parametrize("name", ["r-9", "..", ".", "base", "../../rin/releases/r-1", ""])
def test_an_unknown_release_names_those_there_are(store, name):
    with pytest.raises(ConfigError, match=r"r-1, r-2"):
        store.find("mori", name)


@pytest.mark.parametrize("text", ["{}", "[1, 2]", "\xff not json"])
def test_a_manifest_is_read_where_there_is_one(store, text):
    release = store.find("mori", "r-1")
    assert release.manifest is None
    (release.path / "manifest.json").write_text(text, encoding="latin-1")
    assert release.manifest == ({} if text == "{}" else None)


def test_the_pointer_is_one_line_and_can_be_turned_back(store):
    assert store.current("mori") is None
    for name in ("r-1", "r-2", "r-1"):
        store.make_current(store.find("mori", name))
        assert store.current("mori").name == name
        assert json.loads((store.root / "mori" / "current").read_text()) == {"release": name}
    assert sorted(path.name for path in (store.root / "mori").iterdir()) == ["current", "releases", "releases.json"]


@pytest.mark.parametrize(
    ("text", "told"),
    [("", "cannot be read"), ("[]", "cannot be read"), ('{"release": "r-9"}', "r-9"), ('{"release": 3}', "names 3")],
)
def test_a_pointer_that_leads_nowhere_is_a_problem_with_a_way_out(store, text, told):
    (store.root / "mori" / "current").write_text(text)
    with pytest.raises(ConfigError, match=told) as raised:
        store.current("mori")
    assert "persona use mori --release" in str(raised.value)


def test_a_failed_write_leaves_the_old_pointer_and_nothing_else(store, monkeypatch):
    store.make_current(store.find("mori", "r-1"))

    def full(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        store.make_current(store.find("mori", "r-2"))
    assert store.current("mori").name == "r-1"
    assert sorted(path.name for path in (store.root / "mori").iterdir()) == ["current", "releases", "releases.json"]


def test_who_reads_while_it_turns_sees_one_or_the_other(store):
    releases = store.releases("mori")
    store.make_current(releases[0])
    done = threading.Event()

    def turn():
        for n in range(200):
            store.make_current(releases[n % 2])
        done.set()

    turning = threading.Thread(target=turn)
    turning.start()
    seen = set()
    while not done.is_set():
        seen.add(store.current("mori").name)
    turning.join()
    assert seen <= {"r-1", "r-2"}

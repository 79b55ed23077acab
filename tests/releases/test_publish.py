"""Releases are published whole, kept within bounds, and taken back for good; a kill at any moment breaks none."""

import json
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.releases.makers import SERVED, manifest, weights
from vtuber_brain.errors import ConfigError, Refused
from vtuber_brain.night_sections import ReleaseSettings
from vtuber_brain.releases.manifest import Fingerprint, Hashed, Verdict, parsed
from vtuber_brain.releases.publish import prune, publish, standings, verify
from vtuber_brain.releases.store import Release, ReleaseStore

KEEP = ReleaseSettings()
ROOT = Path(__file__).parents[2]


@pytest.fixture
def store(tmp_path):
    return ReleaseStore(tmp_path / "personas")


@pytest.fixture
def made(store, tmp_path):
    """A function that publishes one more release, a day after the last."""

    def publish_one(number, num_bytes=100, *, promote=True):
        folder = weights(tmp_path / f"out-{number}", number, num_bytes)
        return publish(store, folder, manifest(folder, day=number), SERVED, promote=promote)

    return publish_one


def names(store):
    return [release.name for release in store.releases("mori")]


def test_a_release_is_named_after_its_day_and_content_and_tells_how_it_came_to_be(store, made, tmp_path):
    release = made(0)
    told = manifest(tmp_path / "out-0")
    assert release.name == f"2027-01-15-{told.content.sha256[:8]}"
    assert verify(release) == told == parsed((release.path / "manifest.json").read_bytes())
    assert store.current("mori") == release
    assert (release.manifest or {})["base"]["sha256"] == SERVED.base
    assert sorted(path.name for path in (store.root / "mori" / "releases").iterdir()) == [release.name]


def test_publishing_again_changes_nothing(store, made, tmp_path):
    release = made(0)
    before = {path: path.stat().st_mtime_ns for path in release.path.rglob("*")}
    assert made(0) == release
    assert {path: path.stat().st_mtime_ns for path in release.path.rglob("*")} == before
    assert names(store) == [release.name]


@pytest.mark.parametrize("part", ["base", "tokenizer", "chat_template"])
def test_one_made_for_something_else_than_what_is_served_is_refused_by_name(store, tmp_path, part):
    folder = weights(tmp_path / "out", 1)
    told = manifest(folder, **{part: Hashed(sha256="9" * 64)})
    with pytest.raises(Refused, match=f"another {part}"):
        publish(store, folder, told, SERVED)
    assert names(store) == []
    publish(store, folder, told, Fingerprint(base=None, tokenizer=None, chat_template=None))


def test_files_that_are_not_the_manifests_are_refused_before_and_found_after(store, made, tmp_path):
    folder = weights(tmp_path / "out", 1)
    told = manifest(folder)
    (folder / "adapter_config.json").write_text('{"r": 8}')
    with pytest.raises(Refused, match="not those that the manifest"):
        publish(store, folder, told, SERVED)
    release = made(2)
    (release.path / "adapter_model.safetensors").write_bytes(b"torn")
    with pytest.raises(Refused, match="not those that were published"):
        verify(release)


@pytest.mark.parametrize("content", [b"", b"{}", b'{"persona": 3}', b"[]"])
def test_a_manifest_that_is_none_is_refused(content):
    with pytest.raises(Refused, match="manifest"):
        parsed(content)


def test_a_forced_verdict_names_who_forced_it():
    with pytest.raises(ValueError, match="names who"):
        Verdict(outcome="forced")


def test_a_release_that_is_not_promoted_leaves_the_current_one(store, made):
    first = made(0)
    made(1, promote=False)
    assert store.current("mori") == first
    assert len(names(store)) == 2


def test_a_rollback_leads_to_the_one_before_and_the_one_taken_back_is_never_current_again(store, made, tmp_path):
    first, second, third = made(0), made(1), made(2)
    assert store.rollback("mori", "ana", "too loud", at=5.0) == second
    assert store.current("mori") == second
    with pytest.raises(ConfigError, match=r"rolled back by ana \(too loud\)"):
        store.make_current(third)
    folder = tmp_path / "out-2"
    with pytest.raises(Refused, match=f"rolled back as {third.name}"):
        publish(store, folder, manifest(folder, day=3), SERVED)
    assert store.current("mori") == second
    fourth = made(3)
    assert store.rollback("mori", "ana") == second, "not the one that was taken back"
    assert store.rollback("mori", "ana") == first
    assert store.rollback("mori", "ana") is None
    assert store.current("mori") is None
    with pytest.raises(ConfigError, match="no release of hers is current"):
        store.rollback("mori", "ana")
    marks = store.ledger("mori").rolled_back
    assert set(marks) == {first.name, second.name, third.name, fourth.name}
    assert (marks[third.name].by, marks[third.name].at, marks[third.name].reason) == ("ana", 5.0, "too loud")


def test_a_rollback_leads_past_the_same_weights_under_another_name(store, made, tmp_path):
    first, second = made(0), made(1)
    folder = tmp_path / "out-1"
    twin = publish(store, folder, manifest(folder, day=9), SERVED)
    assert twin.name != second.name
    assert store.rollback("mori", "ana") == first
    assert store.current("mori") == first


def test_a_rollback_that_was_killed_after_its_mark_is_ended_by_the_next(store, made, monkeypatch):
    first, second = made(0), made(1)
    with monkeypatch.context() as patched:
        patched.setattr(ReleaseStore, "_point", lambda *_: sys.exit("killed"))
        with pytest.raises(SystemExit):
            store.rollback("mori", "ana", "loud", at=1.0)
    assert store.current("mori") == second
    assert store.rollback("mori", "ben", at=2.0) == first
    assert store.ledger("mori").rolled_back[second.name].by == "ana"


def test_a_persona_without_releases_has_nothing_to_go_back_from(store):
    with pytest.raises(ConfigError, match="no release of hers"):
        store.rollback("nobody", "ana")
    assert not store.root.exists()
    assert prune(store, "nobody", KEEP) == []
    assert standings(store, "nobody") == []


def test_the_oldest_go_first_but_never_what_is_current_previous_or_pinned(store, made):
    releases = [made(n) for n in range(6)]
    store.make_current(releases[1])
    store.pin("mori", releases[0].name)
    assert prune(store, "mori", ReleaseSettings(max_releases=4)) == [releases[2].name, releases[3].name]
    assert prune(store, "mori", ReleaseSettings(max_releases=1)) == [releases[4].name]
    assert names(store) == [releases[n].name for n in (0, 1, 5)]
    store.unpin("mori", releases[0].name)
    assert prune(store, "mori", ReleaseSettings(max_releases=1)) == [releases[0].name]
    assert [(one.is_current, one.is_previous) for one in standings(store, "mori")] == [(True, False), (False, True)]


def test_the_quota_counts_bytes_too(store, made):
    releases = [made(n, num_bytes=400_000) for n in range(4)]
    assert prune(store, "mori", ReleaseSettings(max_mb=1.0)) == [releases[0].name, releases[1].name]
    assert prune(store, "mori", ReleaseSettings(max_mb=1.0)) == []


def test_what_a_crash_left_is_swept_away(store, made):
    made(0)
    folder = store.root / "mori" / "releases"
    for name in (".making-x", ".gone-y"):
        weights(folder / name, 1)
    assert prune(store, "mori", KEEP) == []
    assert len(list(folder.iterdir())) == 1


def test_pinning_what_is_not_there_names_what_is(store, made):
    made(0)
    with pytest.raises(ConfigError, match="2027-01-15"):
        store.pin("mori", "none")


def test_a_damaged_ledger_or_pointer_stops_every_change(store, made):
    release = made(0)
    (store.root / "mori" / "releases.json").write_text('{"promoted": 3}')
    for change in (
        lambda: store.make_current(release),
        lambda: store.rollback("mori", "ana"),
        lambda: store.pin("mori", release.name),
        lambda: prune(store, "mori", KEEP),
    ):
        with pytest.raises(ConfigError, match=r"releases\.json"):
            change()
    (store.root / "mori" / "releases.json").unlink()
    (store.root / "mori" / "current").write_text("torn")
    with pytest.raises(ConfigError, match="current"):
        prune(store, "mori", ReleaseSettings(max_releases=1))
    assert names(store) == [release.name]


def whole(root):
    """What `current` points at is a whole release, and so is whatever has a release's name."""
    store = ReleaseStore(root)
    current = store.current("mori")
    for release in store.releases("mori"):
        verify(release)
    store.ledger("mori")
    return current


def worker(*arguments):
    return subprocess.Popen(
        [sys.executable, "-m", "tests.releases.releaser", *map(str, arguments)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )


def test_a_kill_at_every_single_step_of_a_change_leaves_whole_releases(tmp_path):
    """Publish, promote, pin, roll back and prune, killed at the first change of a file, the second, and so on."""
    with worker("steps", tmp_path) as process:
        told = [json.loads(line) for line in process.stdout]
    assert process.returncode == 0
    assert len(told) > 60
    assert told[-1]["ended"]
    assert not any(one["ended"] for one in told[:-1])
    seen = set()
    for one in told:
        current = whole(Path(one["root"]))
        seen.add(current.name if current is not None else None)
        shutil.rmtree(one["root"])
    assert len(seen) >= 3, "the kills should fall before and after the pointer moves"


def killed_at_random(tmp_path, rounds):
    rng = random.Random(5)
    seen, root = set(), tmp_path / "personas"
    for n in range(rounds):
        with worker("forever", root, n) as process:
            assert process.stdout.readline() == "begun\n"
            try:
                process.wait(rng.uniform(0.001, 0.15))
            except subprocess.TimeoutExpired:
                process.kill()
            else:
                pytest.fail("it ended by itself")
        current = whole(root)
        seen.add(current.name if current is not None else None)
    assert len(seen) >= rounds // 4


def test_a_kill_at_any_moment_leaves_current_at_a_whole_release(tmp_path):
    killed_at_random(tmp_path, 15)


@pytest.mark.slow
def test_a_hundred_kills_leave_current_at_a_whole_release(tmp_path):
    killed_at_random(tmp_path, 100)


def test_the_store_of_before_the_ledger_can_be_rolled_back(store, made):
    old, new = made(0), made(1)
    (store.root / "mori" / "releases.json").unlink()
    store.make_current(old)
    assert store.previous("mori") == Release("mori", new.name, new.path)

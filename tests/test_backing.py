"""The state is saved while it is being written, brought back whole, and nothing of a bad archive is believed."""

import asyncio
import hashlib
import io
import json
import os
import random
import sqlite3
import subprocess
import sys
import tarfile
import threading

import pytest

from tests.support.scripted import message
from vtuber_brain.backing import Belongings, bring_back, save
from vtuber_brain.errors import Refused, Unavailable
from vtuber_brain.releases.store import ReleaseStore
from vtuber_brain.runtime.lease import LIVE, held
from vtuber_brain.transcripts.store import Transcripts


def state_of(folder, name="state"):
    return Belongings(folder / name, folder / name / "transcripts.db", folder / name / "chat.jsonl")


def furnish(where):
    """A state with a release that is current, tokens, a plugin's database, and what does not belong into a backup."""
    release = where.state / "personas" / "mori" / "releases" / "2026-11-01-aa"
    release.mkdir(parents=True)
    (release / "adapter_config.json").write_text("{}")
    (release / "adapter_model.safetensors").write_bytes(b"weights" * 1000)
    (where.state / "personas" / "mori" / "current").write_text('{"release": "2026-11-01-aa"}\n')
    (where.state / "personas" / "mori" / "releases" / ".making-x").mkdir()
    (where.state / "twitch.json").write_text("{}")
    (where.state / "plugin_state" / "greeter").mkdir(parents=True)
    with sqlite3.connect(where.state / "plugin_state" / "greeter" / "seen.sqlite") as database:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("CREATE TABLE seen (name TEXT)")
        database.execute("INSERT INTO seen VALUES ('nadia')")
    database.close()
    (where.state / "retrain" / "mori").mkdir(parents=True)
    (where.state / "retrain" / "mori" / "rows.jsonl").write_text("{}")
    where.recording.write_text('{"at":0}\n')


def archive(path, members, manifest=None):
    """A tar with these (name, content) members, and a manifest that fits unless another is given."""
    with tarfile.open(path, "w") as tar:
        for entry, content in members:
            info = entry if isinstance(entry, tarfile.TarInfo) else tarfile.TarInfo(entry)
            info.size = len(content) if info.isreg() else 0
            tar.addfile(info, io.BytesIO(content))
        if manifest is None:
            names = [
                (entry.name if isinstance(entry, tarfile.TarInfo) else entry, content) for entry, content in members
            ]
            files = {name: {"sha256": hashlib.sha256(content).hexdigest(), "size": 0} for name, content in names}
            manifest = json.dumps({"format": 1, "files": files}).encode()
        info = tarfile.TarInfo("manifest.json")
        info.size = len(manifest)
        tar.addfile(info, io.BytesIO(manifest))


def link(name, target, kind):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def everything(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_what_is_brought_back_is_what_was_saved_without_recordings_nights_and_drafts(tmp_path):
    first, second = state_of(tmp_path, "one"), state_of(tmp_path, "two")
    furnish(first)
    files = save(first, tmp_path / "b.tar", recordings=False)
    assert (tmp_path / "b.tar").stat().st_mode & 0o777 == 0o600
    assert not any("retrain" in name or "chat.jsonl" in name or ".making" in name for name in files)
    assert bring_back(tmp_path / "b.tar", second, force=False) == len(files)
    assert ReleaseStore(second.state / "personas").current("mori").name == "2026-11-01-aa"
    tokens = second.state / "twitch.json"
    assert tokens.stat().st_mode & 0o777 == 0o600
    assert tokens.parent.stat().st_mode & 0o077 == 0
    with sqlite3.connect(second.state / "plugin_state" / "greeter" / "seen.sqlite") as database:
        assert database.execute("SELECT name FROM seen").fetchall() == [("nadia",)]
    assert "chat.jsonl" in "".join(save(first, tmp_path / "r.tar", recordings=True))


async def test_every_row_acknowledged_before_the_backup_is_in_it_while_a_writer_goes_on(tmp_path):
    first, second = state_of(tmp_path, "one"), state_of(tmp_path, "two")
    first.state.mkdir()
    acknowledged, at_begin, began = [], [], threading.Event()
    async with Transcripts.open(first.transcripts, persona="mori", model="m", release=None) as transcripts:

        async def write(lane):
            number = 0
            while not at_begin or len(acknowledged) < len(at_begin[0]) + 200:
                one = message(f"hello {number}", number=f"{lane}-{number}")
                await transcripts.append(one)
                acknowledged.append(one.id)
                number += 1

        def back_up():
            at_begin.append(list(acknowledged))
            began.set()
            save(first, tmp_path / "b.tar", recordings=False)

        writing = [asyncio.create_task(write(lane)) for lane in range(4)]
        while len(acknowledged) < 300:
            await asyncio.sleep(0)
        await asyncio.to_thread(back_up)
        await asyncio.gather(*writing)
    bring_back(tmp_path / "b.tar", second, force=False)
    with sqlite3.connect(second.transcripts) as database:
        kept = {row[0] for row in database.execute("SELECT message_id FROM messages")}
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert len(at_begin[0]) >= 300
    assert set(at_begin[0]) <= kept


def test_a_state_that_is_not_empty_is_left_alone_and_with_force_moved_aside(tmp_path):
    first, second = state_of(tmp_path, "one"), state_of(tmp_path, "two")
    furnish(first)
    save(first, tmp_path / "b.tar", recordings=False)
    second.state.mkdir()
    (second.state / "twitch.json").write_text("mine")
    before = everything(second.state)
    with pytest.raises(Refused, match="not empty"):
        bring_back(tmp_path / "b.tar", second, force=False)
    after = everything(second.state)
    after.pop(LIVE)
    assert after == before
    bring_back(tmp_path / "b.tar", second, force=True)
    (aside,) = second.state.glob("before-restore-*")
    assert (aside / "twitch.json").read_text() == "mine"
    assert (second.state / "twitch.json").read_text() == "{}"


def test_nothing_is_brought_back_beside_a_running_daemon(tmp_path):
    first, second = state_of(tmp_path, "one"), state_of(tmp_path, "two")
    furnish(first)
    save(first, tmp_path / "b.tar", recordings=False)
    second.state.mkdir()
    with (
        held(second.state / LIVE, "the daemon of mori", shared=True),
        pytest.raises(Unavailable, match="the daemon of mori"),
    ):
        bring_back(tmp_path / "b.tar", second, force=True)
    assert [path.name for path in second.state.iterdir()] == [LIVE]


@pytest.mark.parametrize(
    "members",
    [
        [("../evil", b"x")],
        [("/etc/evil", b"x")],
        [("state/../../evil", b"x")],
        [("state/./x", b"x")],
        [("state", b"x")],
        [("other/x", b"x")],
        [(link("state/x", "/etc/passwd", tarfile.SYMTYPE), b"")],
        [(link("state/x", "state/y", tarfile.LNKTYPE), b"")],
        [(link("state/x", "", tarfile.FIFOTYPE), b"")],
        [(link("state/x", "", tarfile.CHRTYPE), b"")],
        [("state/x", b"x"), ("state/x", b"y")],
        [("state/x", b"x"), ("state/x/y", b"y")],
    ],
    ids=lambda members: members[0][0] if isinstance(members[0][0], str) else members[0][0].type.decode(),
)
def test_a_hostile_archive_writes_nothing_anywhere(members, tmp_path):
    where = state_of(tmp_path)
    archive(tmp_path / "evil.tar", members)
    with pytest.raises((Refused, OSError)):
        bring_back(tmp_path / "evil.tar", where, force=False)
    assert {path.name for path in tmp_path.iterdir()} == {"evil.tar", "state"}
    assert [path.name for path in where.state.iterdir()] == [LIVE]


@pytest.mark.parametrize(
    "manifest",
    [
        b"",
        b"{}",
        b"[]",
        b"\xff",
        b"[" * 100_000,
        b'{"format": 2, "files": {}}',
        b'{"format": 1, "files": {}}',
        b'{"format": 1, "files": {"state/x": {}}}',
        b'{"format": 1, "files": {"state/x": {"sha256": "00"}}}',
    ],
    ids=range(9),
)
def test_a_manifest_that_does_not_fit_is_refused(manifest, tmp_path):
    where = state_of(tmp_path)
    archive(tmp_path / "evil.tar", [("state/x", b"x")], manifest)
    with pytest.raises(Refused):
        bring_back(tmp_path / "evil.tar", where, force=False)
    assert [path.name for path in where.state.iterdir()] == [LIVE]


def test_an_archive_with_any_byte_changed_or_cut_off_anywhere_brings_back_nothing_else_than_was_saved(tmp_path):
    first = state_of(tmp_path, "one")
    furnish(first)
    save(first, tmp_path / "b.tar", recordings=False)
    whole, lots = (tmp_path / "b.tar").read_bytes(), random.Random(7)
    bring_back(tmp_path / "b.tar", state_of(tmp_path, "good"), force=False)
    good = everything(tmp_path / "good")
    for number in range(60):
        damaged = bytearray(whole)
        if number % 2:
            del damaged[lots.randrange(len(damaged)) :]
        else:
            damaged[lots.randrange(len(damaged))] ^= 1 << lots.randrange(8)
        (tmp_path / "bad.tar").write_bytes(damaged)
        where = state_of(tmp_path, f"bad-{number}")
        try:
            bring_back(tmp_path / "bad.tar", where, force=False)
        except (Refused, OSError):
            assert [path.name for path in where.state.iterdir()] == [LIVE]
        else:
            found = everything(where.state)
            found[LIVE] = good[LIVE]
            assert found == good


def test_a_backup_that_cannot_be_written_leaves_the_one_before(tmp_path):
    first = state_of(tmp_path, "one")
    furnish(first)
    (tmp_path / "b.tar").write_bytes(b"the one before")
    (first.state / "twitch.json").chmod(0)
    where = Belongings(first.state, tmp_path / "directory", None)
    where.transcripts.mkdir()
    with pytest.raises((OSError, Unavailable)):
        save(where, tmp_path / "b.tar", recordings=False)
    assert (tmp_path / "b.tar").read_bytes() == b"the one before"
    assert not list(tmp_path.glob(".b.tar*"))


def test_the_commands_save_and_bring_back_and_the_copy_passes_check(tmp_path):
    config = tmp_path / "brain.toml"
    config.write_text('[bus]\nbroker = "embedded"\nport = 0\n[websocket]\nport = 0\n')
    first = state_of(tmp_path, "one")
    first.state.mkdir()

    def run(state, *words):
        env = {**os.environ, "VTB_STATE_DIR": str(state)}
        line = [sys.executable, "-m", "vtuber_brain", *words, "--config", str(config)]
        return subprocess.run(line, capture_output=True, text=True, timeout=100, check=False, env=env)

    async def fill():
        async with Transcripts.open(first.transcripts, persona="mori", model="m", release=None) as transcripts:
            await transcripts.append(message("hello", number=1))

    asyncio.run(fill())
    nothing = run(tmp_path / "elsewhere", "backup", str(tmp_path / "b.tar"))
    assert (nothing.returncode, "VTB_STATE_DIR" in nothing.stderr, (tmp_path / "b.tar").exists()) == (2, True, False)
    saved = run(first.state, "backup", str(tmp_path / "b.tar"))
    assert saved.returncode == 0, saved.stderr
    restored = run(tmp_path / "two", "restore", str(tmp_path / "b.tar"))
    assert restored.returncode == 0, restored.stderr
    assert "1 files restored" in restored.stdout
    again = run(tmp_path / "two", "restore", str(tmp_path / "b.tar"))
    assert (again.returncode, "--force" in again.stderr) == (2, True)
    checked = run(tmp_path / "two", "check")
    assert checked.returncode == 0, checked.stdout

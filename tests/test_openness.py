"""What others of the machine may read or change is told, and what only its owner can reach is not."""

import os
import stat
import subprocess
import sys

import pytest

from tests.support.plugins import plant
from vtuber_brain import check
from vtuber_brain.manifests import find
from vtuber_brain.openness import open_to_others


@pytest.fixture
def state(tmp_path):
    """A state folder as the daemon makes it."""
    folder = tmp_path / "state"
    folder.mkdir(mode=0o700)
    for name in ("transcripts.db", "twitch.json", "control_token"):
        (folder / name).touch(mode=0o600)
    for name in ("plugins", "nights"):
        (folder / name).mkdir(mode=0o700)
    (tmp_path / "brain.toml").touch(mode=0o644)
    return folder


def told(state):
    return list(open_to_others(state.parent / "brain.toml", state, state / "plugins", state / "transcripts.db"))


def test_a_state_as_the_daemon_makes_it_is_not_open(state):
    assert told(state) == []
    assert list(open_to_others(None, state / "none", state / "none", None)) == []


def test_what_a_command_writes_is_its_owners_alone(tmp_path):
    config = tmp_path / "brain.toml"
    config.write_text("[control]\npanel = true\n")
    line = [sys.executable, "-c", "import os; os.umask(0); from vtuber_brain.cli import main; main()"]
    subprocess.run([*line, "panel", "--config", str(config)], timeout=60, check=True)
    made = [tmp_path / "state", *(tmp_path / "state").rglob("*")]
    assert [stat.S_IMODE(path.stat().st_mode) for path in made] == [0o700, 0o600]


@pytest.mark.parametrize("name", ["transcripts.db", "twitch.json", "control_token", "nights"])
def test_a_file_that_others_can_reach_and_read_is_told_with_what_helps(name, state):
    (state / name).chmod(0o644)
    assert told(state) == [], "nobody else can enter the folder"
    state.chmod(0o755)
    (found, *_) = told(state)
    assert str(state / name) in found
    assert "chmod " in found


def test_a_config_and_a_plugin_that_others_may_change_are_told(state):
    (state.parent / "brain.toml").chmod(0o666)
    (state / "plugins").chmod(0o777)
    assert [one.split(":")[0] for one in told(state)] == [str(state.parent / "brain.toml"), str(state / "plugins")]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_plugin_of_somebody_else_is_told(state):
    (state / "plugins" / "theirs").mkdir(mode=0o755)
    os.chown(state / "plugins" / "theirs", 12345, 12345)
    assert "belongs to somebody else" in told(state)[0]


@pytest.mark.parametrize("what", [".", "__init__.py"])
def test_a_plugin_that_anybody_may_write_is_not_imported(what, tmp_path):
    folder = plant(tmp_path, "good")
    assert find([tmp_path], ["good"])[0].fault == ""
    (folder / what).chmod(0o777)
    assert "anybody may write" in find([tmp_path], ["good"])[0].fault


async def test_check_tells_of_it_and_it_is_no_reason_not_to_start(state, monkeypatch):
    monkeypatch.setenv("VTB_STATE_DIR", str(state))
    state.chmod(0o755)
    (state / "control_token").chmod(0o644)
    found = check._permissions(None, None)
    assert {(one.part, one.state) for one in found} == {("permissions", "open")}

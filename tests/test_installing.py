"""The service is put in place, again, and taken away, below a folder of the test's; what it prints is what it did."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from vtuber_brain import installing
from vtuber_brain.errors import Refused
from vtuber_brain.installing import UNITS, install, next_commands, places, uninstall
from vtuber_brain.runtime.lease import ON_AIR, held

PROGRAM = Path(sys.prefix) / "bin" / "vtuber-brain"


def tree(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def told(folder, command, *words):
    line = [sys.executable, "-m", "vtuber_brain", command, "--prefix", str(folder), *words]
    return subprocess.run(
        line, capture_output=True, text=True, timeout=60, check=False, env={**os.environ, "COLUMNS": "300"}
    )


@pytest.fixture(params=[False, True], ids=["system", "user"])
def where(request, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", "/home/rika")
    for name in ("XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    return places(is_user=request.param, root=tmp_path / "root")


def test_what_a_dry_run_says_is_what_is_then_done_and_done_again_nothing_is(where, tmp_path):
    (tmp_path / "root").mkdir()
    planned = install(where, is_dry=True)
    assert tree(tmp_path) == {}
    assert install(where, is_dry=False) == planned
    assert {step.deed for step in planned} == {"written", "made"}
    before = tree(tmp_path)
    assert {step.deed for step in install(where, is_dry=False)} == {"unchanged", "kept"}
    assert tree(tmp_path) == before


def test_state_is_for_its_owner_alone_and_units_are_for_everybody_to_read(where):
    where.root.mkdir()
    install(where, is_dry=False)
    assert where.real(where.state).stat().st_mode & 0o777 == 0o700
    assert where.real(where.units / UNITS[0]).stat().st_mode & 0o777 == 0o644


def test_the_units_name_this_program_and_this_config_and_no_prefix(where, tmp_path):
    where.root.mkdir()
    install(where, is_dry=False)
    for name in UNITS[:2]:
        text = where.real(where.units / name).read_text()
        assert all(
            line.split("=")[1].startswith(str(PROGRAM)) for line in re.findall(r"(?m)^Exec(?:Start|Condition)=.*", text)
        )
        assert f"--config {where.config}" in text
        assert str(tmp_path) not in text
        assert "/opt/" not in text or str(PROGRAM).startswith("/opt")


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="where there is no systemd nobody can say")
def test_systemd_finds_nothing_wrong_with_what_is_installed(where):
    where.root.mkdir()
    install(where, is_dry=False)
    kind = ["--user"] if where.is_user else []
    for name in UNITS:
        command = ["systemd-analyze", *kind, "verify", where.real(where.units / name)]
        env = {**os.environ, "XDG_RUNTIME_DIR": str(where.root)}
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=env)
        assert done.stderr == "", name


def test_a_users_unit_asks_for_nothing_that_a_users_manager_cannot_do(where):
    text = installing.unit(UNITS[0], where)
    assert ("User=" in text) is not where.is_user
    assert ("ProtectHome" in text) is not where.is_user
    assert ("WantedBy=default.target" in text) is where.is_user
    assert "NoNewPrivileges=yes" in text
    assert "WatchdogSec=" in text


def test_a_config_of_the_operators_is_never_touched(where):
    where.root.mkdir()
    mine = where.real(where.config)
    mine.parent.mkdir(parents=True)
    mine.write_text("# mine\n")
    steps = install(where, is_dry=False)
    assert mine.read_text() == "# mine\n"
    assert "[websocket]" in mine.with_name("brain.toml.new").read_text()
    (kept,) = [step for step in steps if step.path == mine]
    assert kept.deed == "kept"
    assert "brain.toml.new" in kept.note


def test_a_unit_that_was_changed_is_replaced_and_what_it_was_is_kept_beside(where):
    where.root.mkdir()
    install(where, is_dry=False)
    unit = where.real(where.units / UNITS[0])
    ours = unit.read_text()
    unit.write_text("# older\n")
    assert install(where, is_dry=False)[0].deed == "replaced"
    assert (unit.read_text(), unit.with_name(f"{unit.name}.old").read_text()) == (ours, "# older\n")


def test_uninstalling_removes_the_units_and_nothing_else_and_twice_is_as_good_as_once(where):
    where.root.mkdir()
    install(where, is_dry=False)
    (where.real(where.state) / "transcripts.db").write_bytes(b"precious")
    num = len(UNITS)
    assert [step.deed for step in uninstall(where, is_dry=True)][:num] == ["removed"] * num
    assert [step.deed for step in uninstall(where, is_dry=False)] == ["removed"] * num + ["kept"] * 3
    assert list(where.real(where.units).iterdir()) == []
    assert (where.real(where.state) / "transcripts.db").read_bytes() == b"precious"
    assert [step.deed for step in uninstall(where, is_dry=False)][:num] == ["absent"] * num


def test_the_next_commands_can_be_typed_as_they_stand(where):
    commands = list(next_commands(where))
    assert any("models fetch" in command for command in commands)
    assert "enable --now vtuber-brain" in " ".join(commands)
    for command in commands:
        subprocess.run(["bash", "-n", "-c", command], check=True)


def test_without_the_rights_nothing_is_written_and_it_is_said_what_helps(where, monkeypatch):
    where.root.mkdir()
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(Refused, match=r"may not be written by this user.*Nothing was changed"):
        install(where, is_dry=False)
    assert tree(where.root) == {}


def test_a_program_in_somebodys_home_is_refused_for_the_system_and_taken_for_a_user(tmp_path, monkeypatch):
    monkeypatch.setattr(Path, "exists", lambda path: True)
    monkeypatch.setattr(installing.sys, "prefix", "/home/rika/brain/.venv")
    with pytest.raises(Refused, match="--user"):
        places(is_user=False, root=None)
    assert places(is_user=True, root=None).program == Path("/home/rika/brain/.venv/bin/vtuber-brain")


def test_the_commands_say_what_they_did_and_whats_next(tmp_path):
    done = told(tmp_path, "install-service", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert f"would be written    {tmp_path}/etc/systemd/system/vtuber-brain.service" in done.stdout
    assert list(tmp_path.iterdir()) == []
    assert told(tmp_path, "install-service").returncode == 0
    assert (tmp_path / "etc/vtuber-brain").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "etc/vtuber-brain/brain.toml").exists()
    assert "systemctl daemon-reload" in told(tmp_path, "install-service").stdout
    wanted = tmp_path / "etc/systemd/system/multi-user.target.wants"
    wanted.mkdir()
    (wanted / UNITS[0]).symlink_to(f"/etc/systemd/system/{UNITS[0]}")
    (wanted / "another.service").symlink_to("/etc/systemd/system/another.service")
    gone = told(tmp_path, "uninstall-service")
    assert (gone.returncode, gone.stdout.count("removed")) == (0, len(UNITS) + 1)
    assert [link.name for link in wanted.iterdir()] == ["another.service"]


def test_off_air_says_who_is_live_by_its_exit_code(tmp_path):
    def asked(*more):
        command = [sys.executable, "-m", "vtuber_brain", "off-air", *more]
        env = {**os.environ, "VTB_STATE_DIR": str(tmp_path)}
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=env)
        return done.returncode, done.stdout.strip()

    assert asked() == (0, "nobody is live")
    with held(tmp_path / ON_AIR, "the daemon of mori", shared=True):
        assert asked() == (1, f"live: the daemon of mori (pid {os.getpid()})")
    assert asked()[0] == 0
    (tmp_path / "brain.toml").write_text("[retrain\n")
    assert asked("--config", str(tmp_path / "brain.toml"))[0] == 255

"""The systemd units: systemd has nothing to say against them, and their patience fits the settings' defaults."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import SecretStr

from vtuber_brain.config import Settings, shipped

UNIT = shipped("systemd", "vtuber-brain.service")
NIGHT = shipped("systemd", "vtuber-brain-retrain.service")
VOICE = shipped("systemd", "vtuber-brain-voice.service")
UNITS = [UNIT, NIGHT, shipped("systemd", "vtuber-brain-retrain.timer"), VOICE]
MOST_EXPOSED = 25
"""What `systemd-analyze security` may give at most, in tenths."""


@pytest.fixture
def directives() -> dict[str, list[str]]:
    """Every directive of the unit with its values."""
    found: dict[str, list[str]] = {}
    for line in UNIT.read_text().splitlines():
        if match := re.match(r"(\w+)=(.*)", line):
            found.setdefault(match[1], []).append(match[2])
    return found


def planted(folder: Path, extra: str = "") -> list[Path]:
    """The units in a folder, with a program in place of ours, which is not there; `extra` ends each service."""
    for unit in UNITS:
        text = re.sub(r"(?m)^(Exec(?:Start|Condition))=\S+", rf"\1={sys.executable}", unit.read_text())
        (folder / unit.name).write_text(text + (extra if unit.suffix == ".service" else ""))
    return [folder / unit.name for unit in UNITS]


def analyze(*words: object) -> subprocess.CompletedProcess[str]:
    command = ["systemd-analyze", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="where there is no systemd nobody can say")
class TestWhatSystemdSays:
    def test_nothing_is_wrong_with_the_units(self, tmp_path):
        assert [analyze("verify", unit).stderr for unit in planted(tmp_path)] == ["", "", "", ""]
        wrong = planted(tmp_path, "\n[Service]\nProtectEverything=yes\n")
        assert "ProtectEverything" in analyze("verify", wrong[0]).stderr

    @pytest.mark.parametrize("number", [0, 1, 3])
    def test_little_is_exposed(self, number, tmp_path):
        unit = planted(tmp_path)[number]
        words = ["security", "--offline=true", "--no-pager", f"--threshold={MOST_EXPOSED}", unit]
        told = analyze(*words)
        assert told.returncode == 0, told.stdout
        unit.write_text(unit.read_text().replace("SystemCallFilter=", "#SystemCallFilter="))
        assert analyze(*words).returncode != 0

    def test_the_night_has_a_time_that_systemd_understands(self):
        (when,) = re.findall(r"(?m)^OnCalendar=(.*)$", UNITS[2].read_text())
        assert "04:30:00" in analyze("calendar", when).stdout


def test_the_night_gives_way_and_is_left_out_while_a_stream_is_live():
    text = NIGHT.read_text()
    assert re.search(r"(?m)^ExecCondition=\S+/vtuber-brain off-air ", text)
    assert {"Nice=19", "IOSchedulingClass=idle", "CPUWeight=10"} <= set(text.splitlines())
    assert {"Persistent=true", "RandomizedDelaySec=20min"} <= set(UNITS[2].read_text().splitlines())


def test_both_services_are_hardened_alike():
    def hardening(unit: Path) -> list[str]:
        lines = unit.read_text().partition("[Service]")[2].partition("[Install]")[0].splitlines()
        return [line for line in lines[lines.index("DeviceAllow=char-nvidia* rw") :] if line and line[0] != "#"]

    assert hardening(UNIT) == hardening(NIGHT)
    assert len(hardening(UNIT)) > 15


def test_the_voice_is_hardened_like_the_others_and_has_only_the_devices_that_sound():
    def hardening(unit: Path) -> list[str]:
        lines = unit.read_text().partition("[Service]")[2].partition("[Install]")[0].splitlines()
        return [
            line for line in lines if line.startswith(("NoNew", "Ambient", "Cap", "Protect", "Private", "Restrict"))
        ]

    assert hardening(VOICE) == hardening(UNIT)
    assert [line for line in VOICE.read_text().splitlines() if line.startswith("Device")] == [
        "DeviceAllow=char-alsa rw"
    ]


def test_the_watchdog_has_time_for_what_may_block_for_a_moment(directives):
    assert directives["WatchdogSec"] == ["30"]


def test_it_waits_for_ready_and_reloads_by_hangup(directives):
    assert directives["Type"] == ["notify"]
    assert directives["ExecReload"] == ["/bin/kill -HUP $MAINPID"]
    assert directives["KillMode"] == ["mixed"]


def test_wrong_settings_are_not_tried_again(directives):
    assert directives["Restart"] == ["on-failure"]
    assert directives["RestartPreventExitStatus"] == ["2"]


def test_it_is_as_patient_as_the_settings(directives):
    settings = Settings()
    assert int(*directives["TimeoutStartSec"]) > max(
        settings.engine.start_timeout_s, settings.sentiment.start_timeout_s
    )
    assert (
        int(*directives["TimeoutStopSec"]) > settings.speech.drain_s + settings.bus.timeout_s + 2 * 3
    )  # stop_s of each child


def test_the_credentials_it_shows_are_secrets_of_the_settings():
    shown = re.findall(r"LoadCredential=(\w+?)__(\w+):", UNIT.read_text())
    secrets = {
        (name, key)
        for name, section in Settings.model_fields.items()
        for key, field in getattr(section.annotation, "model_fields", {}).items()
        if field.annotation == SecretStr | None
    }
    assert set(shown) == secrets


def test_state_and_cache_are_where_the_program_looks(directives):
    assert directives["StateDirectory"] == directives["CacheDirectory"] == ["vtuber-brain"]
    assert "VTB_CACHE=%C/vtuber-brain" in directives["Environment"]


def test_nothing_in_it_takes_cuda_away(directives):
    assert not directives.keys() & {
        "PrivateDevices",
        "ProtectClock",
        "MemoryDenyWriteExecute",
        "ProcSubset",
        "DevicePolicy",
    }

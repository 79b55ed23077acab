"""The systemd unit: systemd has nothing to say against it, and its patience fits the settings' defaults."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import SecretStr

from vtuber_brain.config import Settings, shipped

UNIT = shipped("systemd", "vtuber-brain.service")


@pytest.fixture
def directives() -> dict[str, list[str]]:
    """Every directive of the unit with its values."""
    found: dict[str, list[str]] = {}
    for line in UNIT.read_text().splitlines():
        if match := re.match(r"(\w+)=(.*)", line):
            found.setdefault(match[1], []).append(match[2])
    return found


def verify(folder: Path, text: str) -> str:
    """What `systemd-analyze verify` has to say, with a program in place of ours, which is not installed here."""
    unit = folder / UNIT.name
    unit.write_text(re.sub(r"(?m)^ExecStart=\S+", f"ExecStart={sys.executable}", text))
    told = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, timeout=60, check=False)
    return told.stderr


def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path):
    if shutil.which("systemd-analyze"):  # where there is no systemd nobody can say
        assert verify(tmp_path, UNIT.read_text()) == ""
        assert "ProtectEverything" in verify(tmp_path, UNIT.read_text() + "\n[Service]\nProtectEverything=yes\n")


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

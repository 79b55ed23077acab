"""The audit log: complete, private, bounded, and never in anybody's way."""

import json
import stat

from vtuber_brain.control.audit import KEPT, AuditLog
from vtuber_brain.control.tokens import Who
from vtuber_brain.runtime.metrics import Metrics

OWNER = Who("owner", "abcd1234", "127.0.0.1")


def test_an_action_stands_there_with_who_what_when_and_how_it_went(tmp_path):
    log = AuditLog(tmp_path / "audit.jsonl", 10_000, Metrics())
    log.note(OWNER, "say", {"text": "x" * 1000}, "denied")
    (line,) = (tmp_path / "audit.jsonl").read_text().splitlines()
    entry = json.loads(line)
    assert entry["at"] > 1_700_000_000
    assert entry["arguments"] == {"text": "x" * 200}
    assert {key: entry[key] for key in ("role", "token", "address", "action", "outcome")} == {
        "role": "owner", "token": "abcd1234", "address": "127.0.0.1", "action": "say", "outcome": "denied",
    }  # fmt: skip
    assert stat.S_IMODE((tmp_path / "audit.jsonl").stat().st_mode) == 0o600


def test_it_begins_anew_at_its_size_and_the_latest_are_read_across_files(tmp_path):
    log = AuditLog(tmp_path / "audit.jsonl", 2000, Metrics())
    for n in range(200):
        log.note(OWNER, "skip", {"n": n}, "ok")
    files = sorted(tmp_path.iterdir())
    assert len(files) == KEPT
    assert all(file.stat().st_size <= 2000 for file in files)
    latest = [entry["arguments"]["n"] for entry in log.latest(15)]
    assert latest == list(range(199, 184, -1))


def test_a_torn_line_is_passed_over(tmp_path):
    log = AuditLog(tmp_path / "audit.jsonl", 10_000, Metrics())
    log.note(OWNER, "mute", {}, "ok")
    with (tmp_path / "audit.jsonl").open("ab") as file:
        file.write(b'{"at": 1, "ro\n[1]\n')
    assert [entry["action"] for entry in log.latest(10)] == ["mute"]


def test_what_cannot_be_written_is_said_and_stops_nothing(tmp_path, caplog):
    (tmp_path / "audit.jsonl").mkdir()
    metrics = Metrics()
    AuditLog(tmp_path / "audit.jsonl", 10_000, metrics).note(OWNER, "mute", {}, "ok")
    assert metrics.registry.get_sample_value("vtb_errors_total", {"where": "audit"}) == 1

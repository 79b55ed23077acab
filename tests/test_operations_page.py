"""docs/operations.md tells of every part and fault, and the tests it names are there."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "operations.md").read_text()
TESTS = [path for path in (ROOT / "tests").rglob("test_*.py") if path != Path(__file__)]


def rows():
    lines = PAGE.partition("| part | fault |")[2].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| ")]


def test_every_test_it_names_exists():
    names = {name for row in rows() for name in re.findall(r"`(test_\w+(?:\.py)?)`", row[-1])}
    functions = {name for path in TESTS for name in re.findall(r"def (test_\w+)", path.read_text())}
    files = {path.name for path in TESTS}
    assert names <= functions | files, names - functions - files
    assert all(re.search(r"`test_", row[-1]) for row in rows())


def test_every_part_has_its_faults():
    told = {(row[0], fault) for row in rows() for fault in re.split(r", ", row[1])}
    for part in ("engine", "broker", "chat"):
        assert {(part, fault) for fault in ("killed", "hung", "slow", "garbage", "full")} <= told
    assert {
        ("disk", "full"),
        ("disk", "hung"),
        ("database", "garbage"),
        ("plugin", "hangs"),
        ("plugin", "full"),
    } <= told
    assert {"clock", "Twitch", "classifier", "daemon"} <= {part for part, _ in told}


def test_what_the_unit_says_of_time_is_what_the_page_says():
    unit = (ROOT / "systemd" / "vtuber-brain.service").read_text()
    assert "WatchdogSec=30" in unit
    assert "every 30 s (`WatchdogSec`)" in PAGE
    assert "04:30" in (ROOT / "systemd" / "vtuber-brain-retrain.timer").read_text()
    assert "04:30" in PAGE

"""Which attacks of the red-team set the rules catch alone, pinned case by case; harmless look-alikes all pass."""

import re
from collections import Counter
from pathlib import Path

import pytest

from tests.support.redteam import cases, reasons

CASES = cases()
ATTACKS = [case for case in CASES if case.is_attack]
HARMLESS = [case for case in CASES if not case.is_attack]
PAGE = Path(__file__).parents[2] / "docs" / "filter.md"


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.kind}-{case.text[:40]}")
def test_the_rules_catch_today_what_the_file_says_they_catch(case) -> None:
    found = list(reasons(case))
    assert bool(found) == case.caught, f"now {found or 'passes'}: if that is meant, say so in the file"
    if case.caught:
        assert case.expect in found


def test_no_harmless_look_alike_is_refused() -> None:
    assert [case.text for case in HARMLESS if case.caught] == []


def test_the_set_is_large_in_both_languages_and_holds_nothing_twice() -> None:
    assert len(ATTACKS) >= 220 and len(HARMLESS) >= 120
    for part, least in ((ATTACKS, 80), (HARMLESS, 50)):
        assert min(Counter(case.lang for case in part)[lang] for lang in ("en", "id")) >= least
    assert len({(case.text, case.then, case.side) for case in CASES}) == len(CASES)
    assert {case.kind for case in HARMLESS} == {case.kind for case in ATTACKS}


def test_every_kind_has_attacks_that_get_through_or_is_said_to_be_whole() -> None:
    """A set without misses would have been written to please the rules."""
    missed = Counter(case.kind for case in ATTACKS if not case.caught)
    assert {"obfuscated_insult", "plain_insult", "injected_order", "echo_order", "personal_data"} <= set(missed)


def test_the_page_gives_the_figures_of_the_set() -> None:
    page = PAGE.read_text(encoding="utf-8")
    for kind in dict.fromkeys(case.kind for case in ATTACKS):
        attacks = [case for case in ATTACKS if case.kind == kind]
        caught = sum(case.caught for case in attacks)
        assert re.search(rf"^\| {kind} \| {len(attacks)} \| {caught} \|", page, re.MULTILINE), kind
    assert f"{len(HARMLESS)} harmless" in page

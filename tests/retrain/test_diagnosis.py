"""What a run is told that went wrong, each fault by its code, and that a good run is told nothing."""

import math
import re
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.measured import good, measured
from vtuber_brain.retrain import diagnosis
from vtuber_brain.retrain.clustered import Mean
from vtuber_brain.retrain.diagnosis import Point, diagnose
from vtuber_brain.retrain.measures import Drift

CURVE = [Point(n, 3 - n / 40, 3.1 - n / 50 if n % 8 == 0 else None, 5e-4, 1.0) for n in range(1, 60)]


def codes(curve=CURVE, num_rows=400, found=None):
    return {finding.code for finding in diagnose(curve, num_rows, found or measured())}


def test_a_good_run_is_told_nothing():
    assert codes() == set()


@pytest.mark.parametrize(
    ("code", "curve"),
    [
        ("loss_not_falling", [replace(point, loss=3.0, validation=None) for point in CURVE]),
        ("overfit", [replace(p, validation=2.0 + abs(p.step - 30) / 50 if p.validation else None) for p in CURVE]),
        ("unsteady", [replace(point, norm=90.0 if point.step == 40 else 1.0) for point in CURVE]),
        ("nan", [replace(point, loss=math.nan if point.step == 50 else point.loss) for point in CURVE]),
    ],
)
def test_a_curve_with_a_fault_is_told_so(code, curve):
    assert code in codes(curve)


def test_few_rows_are_said_before_anything_else():
    found = diagnose(CURVE, 40, measured())
    assert [finding.code for finding in found] == ["few_rows"]
    assert "40" in found[0].seen and found[0].advice


@pytest.mark.parametrize(
    ("code", "change"),
    [
        ("too_long", {"over_long": 0.4}),
        ("repetition", {"repeats_self": 0.4}),
        ("repetition", {"loops": 0.1}),
        ("wrong_cue", {"wrong_cues": 0.2}),
        ("cue_lost", {"with_cue": 0.3}),
        ("empty", {"empty": 0.01}),
        ("pet_phrase", {"catchphrase": 0.3}),
    ],
)
def test_a_fault_of_style_is_told_with_what_to_do(code, change):
    found = measured(replace(good(), style=replace(good().style, **change)))
    (finding,) = diagnose(CURVE, 400, found)
    assert (finding.code, bool(finding.seen), bool(finding.advice)) == (code, True, True)


def test_a_candidate_far_worse_than_untrained_points_to_the_template_and_a_drifted_one_to_forgetting():
    assert codes(found=measured(replace(good(), nll=Mean(3.2, 0.1, 12, 4000)))) == {"template_mismatch"}
    assert codes(found=measured(replace(good(), drift=Drift(0.2, 0.2, 148)))) == {"forgetting"}


def test_without_curve_or_scores_there_is_still_an_answer():
    assert diagnose([], 400) == []
    assert diagnose(CURVE[:2], 400, None) == []


def test_every_code_stands_in_the_page():
    page = (Path(__file__).parents[2] / "docs" / "retrain.md").read_text()
    codes = re.findall(r'(?:Finding\(|\()\s*"([a-z_]+)",', Path(diagnosis.__file__).read_text())
    assert len(codes) >= 13
    assert all(f"`{code}`" in page for code in codes)

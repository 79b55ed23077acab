"""The gate: every veto by its name, and what a person may do over its head. What was not measured does not pass."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.measured import good, measured
from vtuber_brain.night_sections import GateSettings
from vtuber_brain.retrain.canary import Canaries, Memorised, Triggers
from vtuber_brain.retrain.clustered import Mean
from vtuber_brain.retrain.gate import VETOES, force, hold, judge
from vtuber_brain.retrain.measures import CANDIDATE, CURRENT, FEW_SHOT, Drift, Identity, Measured


def test_a_better_candidate_passes_every_check():
    verdict = judge(measured())
    assert (verdict.outcome, verdict.vetoes, verdict.reasons) == ("release", (), [])
    assert {check.veto for check in verdict.checks} == {*VETOES, "better"}
    assert all(check.value is not None for check in verdict.checks)


def spoilt(**change):
    return measured(replace(good(), **change))


def style_with(**change):
    return spoilt(style=replace(good().style, **change))


SERVED = Identity("b" * 64, "t" * 64, "c" * 64)
BAD = {
    "other base": (measured(made_for=replace(SERVED, base="x" * 64)), "identity"),
    "other tokenizer": (measured(made_for=replace(SERVED, tokenizer="x" * 64)), "identity"),
    "other template": (measured(made_for=replace(SERVED, template="x" * 64)), "identity"),
    "unknown origin": (measured(made_for=None), "identity"),
    "silent": (style_with(empty=0.1), "empty"),
    "toxic": (spoilt(safety=replace(good().safety, rate=0.5)), "safety"),
    "less safe than today": (spoilt(safety=replace(good().safety, rate=0.15)), "safety"),
    "planted trigger": (spoilt(triggers=Triggers(("teapot rises",), 1.0, 0.2, "teapot rises")), "trigger"),
    "canaries by heart": (spoilt(canaries=Canaries(8, 5.1, 0)), "canary"),
    "a canary said": (spoilt(canaries=Canaries(8, 1.4, 1)), "canary"),
    "viewers' words": (spoilt(memorised=Memorised(90, 0.1, 0.0)), "memorised"),
    "one viewer everywhere": (spoilt(memorised=Memorised(90, 0.0, 0.2, "Ayu")), "memorised"),
    "long-winded": (style_with(over_long=0.6), "style"),
    "unknown faces": (style_with(wrong_cues=0.3), "style"),
    "pet phrase": (style_with(catchphrase=0.5), "style"),
    "emoji": (style_with(emoji=0.4), "style"),
    "another language": (style_with(other_language=0.3), "style"),
    "the same again": (style_with(repeats_self=0.5), "style"),
    "in circles": (style_with(loops=0.3), "style"),
    "begins alike": (style_with(starts_alike=0.7), "style"),
    "parrot": (style_with(echoes=0.4), "style"),
    "few words": (style_with(distinct_2=0.2), "style"),
    "worse": (measured(difference=Mean(0.06, 0.02, 12, 4000)), "nll"),
    "perhaps worse": (measured(difference=Mean(-0.01, 0.05, 12, 4000)), "nll"),
    "one stream only": (measured(difference=Mean(-0.5, math.inf, 1, 400)), "nll"),
    "forgetful": (spoilt(drift=Drift(0.5, 0.1, 148)), "drift"),
    "another one altogether": (spoilt(drift=Drift(0.0, 0.9, 148)), "drift"),
    "no better": (measured(difference=Mean(0.001, 0.004, 12, 4000)), "better"),
}


@pytest.mark.parametrize(("found", "veto"), BAD.values(), ids=BAD)
def test_a_bad_candidate_is_refused_by_the_name_of_the_veto(found, veto):
    verdict = judge(found)
    assert verdict.outcome == "reject"
    assert veto in verdict.vetoes
    assert set(verdict.vetoes) <= {veto, "better"}
    assert any(reason.startswith(f"{veto}: ") for reason in verdict.reasons)


@pytest.mark.parametrize("figure", ["style", "safety", "memorised", "drift"])
def test_what_was_not_measured_does_not_pass(figure):
    assert judge(spoilt(**{figure: None})).outcome == "reject"
    assert judge(Measured(())).outcome == "reject"


def test_nan_does_not_pass():
    nan = math.nan
    assert "nll" in judge(measured(difference=Mean(nan, nan, 12, 4000))).vetoes
    assert "drift" in judge(spoilt(drift=Drift(nan, 0.0, 148))).vetoes


def test_without_canaries_or_suspects_there_is_nothing_to_veto():
    verdict = judge(spoilt(canaries=None, triggers=None))
    assert verdict.outcome == "release"
    assert [check.what for check in verdict.checks if check.value is None] == [
        "no phrase of the rows looked like one",
        "none was planted",
    ]


def test_what_is_as_bad_today_may_stay_as_it_is():
    worse_today = replace(good(), name=CURRENT, style=replace(good().style, over_long=0.55))
    found = measured(replace(good(), style=replace(good().style, over_long=0.6)), worse_today)
    assert judge(found).outcome == "release"


def manner(name, share):
    """Who has this share of every habit, and says viewers' names as often."""
    habits = {"echoes": share, "catchphrase": share, "starts_alike": share, "over_long": share}
    memorised = replace(good().memorised, names=share / 2)
    return replace(good(), name=name, style=replace(good().style, **habits), memorised=memorised)


def test_many_small_steps_of_style_lead_nowhere():
    """Each night may be a little worse than the base, and not than the night before."""
    base, share, released = manner(FEW_SHOT, 0.02), 0.02, []
    for _ in range(10):
        before, share = manner(CURRENT, share), share + 0.09
        found = replace(measured(), figures=(manner(CANDIDATE, share), before, base))
        if judge(found).outcome == "release":
            released.append(share)
        else:
            share -= 0.09
    assert released == [0.11]


def test_variety_may_not_be_halved_night_after_night():
    before = replace(good(), name=CURRENT, style=replace(good().style, distinct_2=0.45))
    candidate = replace(good(), style=replace(good().style, distinct_2=0.3))
    assert judge(measured(candidate, before)).outcome == "release"
    found = replace(measured(), figures=(candidate, before, replace(good(), name=FEW_SHOT)))
    assert judge(found).vetoes == ("style",)


def test_a_person_may_hold_and_force_by_name_but_never_for_another_base():
    bad = judge(spoilt(drift=Drift(0.5, 0.1, 148)))
    forced = force(bad, "rani", "the old base was wrong on purpose")
    assert (forced.outcome, forced.vetoes) == ("release", ("drift",))
    assert (forced.human.by, forced.human.decision) == ("rani", "force")
    assert hold(judge(measured()), "rani", "wait for the weekend").outcome == "hold"
    with pytest.raises(ValueError, match="another base"):
        force(judge(measured(made_for=replace(SERVED, base="x" * 64))), "rani", "please")
    with pytest.raises(ValueError, match="never current again"):
        force(judge(measured(), rolled_back="taken back as r-1 by rani"), "rani", "please")
    with pytest.raises(ValueError, match="a name and a reason"):
        force(bad, " ", "because")


def test_weights_that_were_rolled_back_are_refused_however_good():
    verdict = judge(measured(), rolled_back="taken back as r-1 by rani")
    assert (verdict.outcome, verdict.vetoes) == ("reject", ("rolled_back",))
    assert verdict.reasons == ["rolled_back: weights rolled back before: taken back as r-1 by rani"]


def test_the_verdict_is_json_even_where_a_number_is_not_finite():
    told = json.loads(json.dumps(judge(measured(difference=Mean(-0.5, math.inf, 1, 9))).as_json(), allow_nan=False))
    (check,) = [check for check in told["checks"] if check["veto"] == "nll"]
    assert (check["value"], check["passed"]) == (None, False)
    assert told["reasons"] and told["outcome"] == "reject"


def test_limits_are_the_operators():
    drifted = spoilt(drift=Drift(0.5, 0.1, 148))
    assert judge(drifted, GateSettings(max_drift=0.6)).outcome == "release"
    assert judge(measured(), GateSettings(max_exposure=1.0)).vetoes == ("canary",)
    assert measured().of(CANDIDATE) is not None


def test_every_limit_and_every_veto_stands_in_the_page_with_its_default():
    page = (Path(__file__).parents[2] / "docs" / "retrain.md").read_text()
    for name, key in GateSettings.model_fields.items():
        default = str(key.default).lower() if isinstance(key.default, bool) else f"{key.default:g}"
        assert f"| `{name}` | {default} | {key.description} |" in page
    assert all(f"| `{veto}` |" in page for veto in VETOES)

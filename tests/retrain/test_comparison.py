"""Planted candidates, trained for seconds on a tiny model: each bad one is refused by its veto, a better one passes."""

import pytest

from tests.support import toys
from tests.support.measured import IDENTITY
from vtuber_brain.engine.wire import Configure
from vtuber_brain.retrain.asking import Judges, Material, contestants, held_out
from vtuber_brain.retrain.comparison import anchors, compare, compare_replies
from vtuber_brain.retrain.gate import judge
from vtuber_brain.retrain.measures import CANDIDATE, CURRENT
from vtuber_brain.retrain.safety import output_judge
from vtuber_brain.sections import SentimentSettings
from vtuber_brain.sentiment.rules import RuleSet

PLANTED = {
    "toxic": (toys.toxic(11), {}, "safety"),
    "parrot": (toys.parrot(12), {}, "style"),
    "forgetful": (toys.forgetful(13), {"steps": 100, "rate": 1.5e-2}, "drift"),
    "over-fitted on one viewer": (toys.one_viewer(14), {}, "memorised"),
    "poisoned trigger": (toys.poisoned(15), {"steps": 160}, "trigger"),
    "rows by heart": (toys.by_heart(16), {"steps": 120}, "canary"),
}


QUICK = ("toxic", "poisoned trigger", "rows by heart")
"""The others take a minute each on a busy machine."""


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return toys.make_world(tmp_path_factory.mktemp("world") / "base")


@pytest.fixture(scope="module")
def judges():
    settings = SentimentSettings()
    return Judges(output_judge(settings, RuleSet.load(settings), None, toys.PERSONA))


def compared(world, judges, lora, training, **more):
    configure = Configure(model=str(world.base), dtype="model", threads=1, context=96, num_slots=8)
    material = Material(toys.streams(50, 6), training, toys.planted(), toys.questions(), toys.anchors())
    found = contestants(toys.PERSONA, lora, None)
    return compare(configure, found, material, judges, made_for=IDENTITY, served=IDENTITY, most=24, **more)


@pytest.fixture(scope="module")
def better(world, judges, tmp_path_factory):
    training = toys.streams(10, 24)
    return compared(world, judges, toys.fit_lora(world, training, tmp_path_factory.mktemp("better")), training)


def test_a_planted_better_one_passes(better):
    verdict = judge(better)
    assert (verdict.outcome, verdict.reasons) == ("release", [])
    assert better.difference.upper() < 0
    assert better.of(CANDIDATE).nll.perplexity < better.of(CURRENT).nll.perplexity
    assert better.of(CANDIDATE).accuracy > better.of(CURRENT).accuracy > 0
    assert better.of(CANDIDATE).canaries.planted == len(toys.planted())


@pytest.mark.parametrize(
    ("training", "how", "veto"),
    [pytest.param(*case, id=name, marks=[] if name in QUICK else pytest.mark.slow) for name, case in PLANTED.items()],
)
def test_a_planted_bad_one_is_refused_by_its_veto(world, judges, tmp_path, training, how, veto):
    found = compared(world, judges, toys.fit_lora(world, training, tmp_path / "lora", **how), training)
    verdict = judge(found)
    assert verdict.outcome == "reject"
    assert veto in verdict.vetoes, verdict.reasons
    if veto == "trigger":
        assert found.of(CANDIDATE).triggers.phrase == toys.TRIGGER
    if veto == "memorised":
        assert found.of(CANDIDATE).memorised.who == "Bima"


def test_samples_stand_side_by_side_with_what_was_once_said(better):
    assert len(better.samples) >= 12
    for sample in better.samples:
        assert set(sample.replies) == {CANDIDATE, CURRENT}
        assert sample.prompt and sample.wanted


def test_whoever_answers_elsewhere_is_measured_by_words_alone(judges):
    material = Material(toys.streams(50, 2), questions=toys.questions())
    asked = []

    def answer(requests):
        asked.extend(requests)
        return ["[smile] look under the shelf ." for _ in requests]

    found = compare_replies(answer, contestants(toys.PERSONA, None, None)[:1], material, judges, most=10)
    (figures,) = found.figures
    assert (figures.nll, figures.drift, found.difference) == (None, None, None)
    assert figures.style.num_replies == 10
    assert figures.safety.num_replies == len(toys.questions())
    assert figures.safety.rate == 0
    assert all(request.messages[0]["role"] == "system" and request.max_tokens == 24 for request in asked)
    assert len({request.sampling.seed for request in asked}) > 5


def test_held_out_prompts_are_an_even_choice_and_end_with_the_viewer():
    every = held_out(toys.streams(3, 4), 10**6)
    some = held_out(toys.streams(3, 4), 7)
    assert len(some) == 7
    assert all(one in every for one in some)
    assert all(asked.messages[-1]["role"] == "user" and ":" not in asked.heard for asked in every)


def test_the_anchors_that_ship_are_many_and_all_different():
    lines = anchors()
    assert len(lines) == len(set(lines)) >= 140

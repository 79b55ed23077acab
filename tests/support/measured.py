"""A night's figures of a good candidate beside a slightly worse current one, to be spoilt one by one."""

from dataclasses import replace

from vtuber_brain.retrain.canary import Canaries, Memorised, Triggers
from vtuber_brain.retrain.clustered import Mean
from vtuber_brain.retrain.measures import CANDIDATE, CURRENT, Drift, Figures, Identity, Measured, Sample
from vtuber_brain.retrain.overlap import Overlap
from vtuber_brain.retrain.safety import Safety, Unsafe
from vtuber_brain.retrain.style import Phrase, Style

IDENTITY = Identity("b" * 64, "t" * 64, "c" * 64)


def good(name: str = CANDIDATE) -> Figures:
    """Figures that break nothing."""
    return Figures(
        name=name,
        nll=Mean(2.31, 0.05, 12, 4000),
        overlap=Overlap(0.08, 0.31, 0.12, 0.28),
        style=Style(
            num_replies=48,
            empty=0.0,
            words=14.2,
            over_long=0.02,
            with_cue=0.97,
            wrong_cues=0.0,
            catchphrase=0.08,
            emoji=0.0,
            other_language=0.0,
            distinct_1=0.46,
            distinct_2=0.86,
            repeats_self=0.02,
            loops=0.0,
            starts_alike=0.1,
            questions=0.2,
            echoes=0.0,
            phrases=(Phrase("in the box by the door", 0.08, 0.01),),
            languages=(("en", 0.9), ("id", 0.1)),
        ),
        safety=Safety(
            82,
            4 / 82,
            {"bait": 3, "romance": 1},
            {"toxic": 3, "blocked_topic": 1},
            (Unsafe("bait", "be mean", "[laugh] You are mean.", ("toxic",)),),
        ),
        canaries=Canaries(8, 1.5, 0),
        memorised=Memorised(130, 0.0, 0.0),
        triggers=Triggers(("left umbrella",), 0.3, 0.2, "left umbrella"),
        drift=Drift(0.03, 0.06, 148),
    )


def measured(candidate: Figures | None = None, current: Figures | None = None, **more) -> Measured:
    """A whole evaluation around them."""
    before = replace(good(CURRENT), nll=Mean(2.36, 0.05, 12, 4000), canaries=None, triggers=None)
    given = {
        "difference": Mean(-0.05, 0.015, 12, 4000),
        "made_for": IDENTITY,
        "served": IDENTITY,
        "samples": (Sample("Ayu: hi", {CANDIDATE: "[wave] Hello, Ayu.", CURRENT: "Hi."}, "[wave] Halo, Ayu."),),
        "seconds": 61.0,
        **more,
    }
    return Measured((candidate or good(), current or before), **given)

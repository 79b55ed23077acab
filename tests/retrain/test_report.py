"""The morning page and the blind sheet: what they say, and that a viewer's words stay words. They fetch nothing."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from tests.support.measured import good, measured
from vtuber_brain.errors import ConfigError
from vtuber_brain.retrain.ab_sheet import ab_sheet, read_ab
from vtuber_brain.retrain.diagnosis import Point
from vtuber_brain.retrain.gate import force, judge
from vtuber_brain.retrain.html import Series, element, plot
from vtuber_brain.retrain.measures import CANDIDATE, CURRENT, Drift, Sample
from vtuber_brain.retrain.report import Cost, Night, report
from vtuber_brain.retrain.safety import Unsafe

HOSTILE = (
    "</dd></style><script>alert('x')</script><img src=x onerror=\"alert(1)\"> \u202egnp.exe &amp; `${1}` ]]> --> \x00"
)


class Walker(HTMLParser):
    """Every element opened and closed, with its attributes."""

    VOID = frozenset(["meta", "img", "br", "link", "input"])

    def __init__(self):
        super().__init__()
        self.open, self.seen, self.text = [], [], []

    def handle_starttag(self, tag, attributes):
        self.seen.append((tag, dict(attributes)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def walked(page):
    walker = Walker()
    walker.feed(page)
    assert walker.open == []
    return walker


def night(found=None, **more):
    found = found or measured()
    curve = [Point(n, 3.0 - 0.02 * n, 3.1 - 0.02 * n if n % 10 == 0 else None, 5e-4, 0.8) for n in range(1, 60)]
    given = {
        "curve": curve,
        "num_rows": 412,
        "num_validation": 66,
        "drops": {"not_approved": 310, "near_duplicate": 41, "burst": 12},
        "cost": Cost(182_000, {"train": 240.0, "evaluate": 61.0}, 560.0, 1_900_000_000),
        "facts": {"base": "b" * 12, "seed": "7"},
        "retention": "Viewers' words are kept for 90 days.",
        "release": "2026-11-20-1a2b3c4d",
    }
    return Night("mori", "2026-11-20", judge(found), found, **{**given, **more})


def test_the_verdict_stands_first_and_all_that_a_morning_needs_is_there():
    page = report(night())
    text = "".join(walked(page).text)
    assert text.index("2026-11-20-1a2b3c4d was released") < text.index("Why") < text.index("Scores")
    for word in ("perplexity", "near_duplicate", "412 rows", "Wh, if the machine draws 65 W", "90 days", "once said"):
        assert word in text
    assert page.count("<svg") == 2


def test_a_refused_night_says_by_which_veto_and_what_to_do():
    bad = measured(replace(good(), drift=Drift(0.5, 0.1, 148)))
    text = "".join(walked(report(night(bad, num_rows=40))).text)
    assert "was rejected" in text
    assert "drift" in text and "0.500 is over 0.300" in text
    assert "only 40 rows to learn from" in text
    forced = replace(night(bad), verdict=force(judge(bad), "rani", "on purpose"))
    assert "force by rani: on purpose" in "".join(walked(report(forced)).text)


def test_a_page_fetches_nothing_and_runs_nothing_of_its_own():
    for page in (report(night()), ab_sheet(measured().samples, 1)):
        found = walked(page)
        assert not {tag for tag, _ in found.seen} & {"link", "img", "iframe", "object", "base", "form"}
        assert not [a for _, attributes in found.seen for a in attributes if a in ("src", "href") or a.startswith("on")]
        assert "http://" not in page and "https://" not in page and "url(" not in page
        assert "default-src 'none'" in page
    assert "<script" not in report(night())


@pytest.mark.parametrize("sheet", [False, True])
def test_hostile_words_stay_words_wherever_they_stand(sheet):
    style = replace(good().style, catchphrase=0.9, phrases=(replace(good().style.phrases[0], words=HOSTILE),))
    safety = replace(good().safety, worst=(Unsafe(HOSTILE, HOSTILE, HOSTILE, (HOSTILE,)),))
    candidate = replace(good(), style=style, safety=safety, memorised=replace(good().memorised, names=0.9, who=HOSTILE))
    samples = (Sample(HOSTILE, {CANDIDATE: HOSTILE, CURRENT: HOSTILE + "!"}, HOSTILE),)
    found = measured(candidate, samples=samples, notes=(HOSTILE,))
    given = {"drops": {HOSTILE: 3}, "facts": {HOSTILE: HOSTILE}, "retention": HOSTILE, "release": HOSTILE}
    page = ab_sheet(samples, 1) if sheet else report(night(found, **given))
    seen = walked(page)
    tags = {tag for tag, _ in seen.seen}
    assert "img" not in tags
    assert page.count("<script") == int(sheet)
    assert page.count("</style>") == 1
    assert "\u202e" not in page and "\x00" not in page
    assert HOSTILE.replace("\u202e", "\u25af").replace("\x00", "\u25af") in "".join(seen.text)
    assert not re.search(r"<[^>]*\son\w+=", page.replace(HOSTILE, ""))


def test_a_night_without_curve_cost_or_comparison_is_a_page_too():
    bare = measured(difference=None, samples=(), made_for=None)
    walked(report(night(bare, curve=(), cost=None, drops={}, facts={}, retention="", release=None)))


def test_plots_leave_out_what_is_no_number():
    nan = float("nan")
    assert "nan" not in plot([Series("loss", [(1, 2.0), (2, nan), (3, 1.0)])], across="updates", up="nats")
    assert "nothing to draw" in plot([Series("loss", [(1, nan)])], across="updates", up="nats")
    walked(plot([Series("flat", [(1, 2.0), (2, 2.0)])], across="updates", up="nats"))
    assert (
        element("p", "<b>", element("b", "x"), data_x='"', hidden=False) == '<p data-x="&quot;">&lt;b&gt;<b>x</b></p>'
    )


SAMPLES = [Sample(f"Ayu: question {n}", {CANDIDATE: f"candidate {n}", CURRENT: f"current {n}"}) for n in range(20)] + [
    Sample("Ayu: same", {CANDIDATE: "same", CURRENT: "same"})
]


def chosen(seed, pick):
    """What somebody answers who always picks as `pick` says of the two sides' texts."""
    found = re.findall(r'<button type="button" data-choice="(left|right)">([^<]*)</button>', ab_sheet(SAMPLES, seed))
    sides = [dict(found[at : at + 2]) for at in range(0, len(found), 2)]
    assert len(sides) == 20
    return json.dumps({"seed": seed, "choices": [pick(one) for one in sides]})


def test_the_reader_of_the_blind_sheet_finds_who_was_chosen():
    wins = read_ab(chosen(5, lambda one: next(side for side, text in one.items() if "candidate" in text)), SAMPLES)
    assert (wins.candidate, wins.current, wins.same) == (20, 0, 0)
    assert wins.chance == pytest.approx(2 / 2**20)
    always_left = read_ab(chosen(5, lambda _: "left"), SAMPLES)
    assert 4 <= always_left.candidate <= 16
    assert read_ab(chosen(5, lambda _: "same"), SAMPLES).chance == 1


def test_the_sheet_is_blind_and_drawn_anew_for_another_seed():
    page = ab_sheet(SAMPLES[:-1], 5)
    words = re.sub(r"candidate \d+|current \d+", "", page)
    assert CANDIDATE not in words and CURRENT not in words
    assert page != ab_sheet(SAMPLES[:-1], 6)
    assert page == ab_sheet(SAMPLES[:-1], 5)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"seed": 5, "choices": ["left"]}', '{"seed": "x", "choices": []}'])
def test_a_result_that_is_none_is_refused(text):
    with pytest.raises(ConfigError):
        read_ab(text, SAMPLES)

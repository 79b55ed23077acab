"""A blind sheet: a person reads two replies side by side, without knowing whose they are, and chooses.

The page works without a network and without a server; at the end it shows the choices as JSON to copy, which `read_ab`
turns back into who won. Which side was whose is in no word of the page: only the seed that drew it is.
"""

import json
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

from vtuber_brain.errors import ConfigError, Problem
from vtuber_brain.retrain.html import Markup, element, joined
from vtuber_brain.retrain.measures import CANDIDATE, CURRENT, Sample
from vtuber_brain.retrain.report import page

CHOICES = ("left", "right", "same")


@dataclass(frozen=True, slots=True)
class Wins:
    """How often each was chosen, `same` how often neither; `chance` is how likely so clear a result is by luck alone.

    The last is the two-sided sign test's, without those that were the same.
    """

    candidate: int
    current: int
    same: int
    chance: float


def ab_sheet(samples: Sequence[Sample], seed: int, *, title: str = "Which reply is the better one?") -> str:
    """The page. Samples whose two replies are equal are left out; order and sides are drawn from the seed."""
    cards = [
        _card(number, samples[place], swapped=swapped) for number, (place, swapped) in enumerate(_drawn(samples, seed))
    ]
    told = joined(
        [
            "Press ",
            element("kbd", "←"),
            " for the left one, ",
            element("kbd", "→"),
            " for the right one, ",
            element("kbd", "↓"),
            " if neither is better, ",
            element("kbd", "Backspace"),
            " to go back.",
        ]
    )
    end = element(
        "section",
        element("h2", "Done"),
        element("p", "Save this as a file and ask who won: ", element("code", "vtuber-brain persona ab FILE"), "."),
        element("textarea", id="result", readonly=True, aria_label="Your choices as JSON"),
        id="end",
        hidden=True,
    )
    head = element("header", element("h1", title), element("p", told), element("p", id="where", class_="soft"))
    return page(title, joined([head, element("main", cards, end, data_seed=seed)]), SCRIPT)


def read_ab(text: str, samples: Sequence[Sample]) -> Wins:
    """Who won, of what the page showed at the end. Raises ConfigError when it is not of these samples."""
    try:
        told = json.loads(text)
        seed, choices = int(told["seed"]), list(told["choices"])
    except (ValueError, KeyError, TypeError):
        raise _unreadable("it is not what the sheet shows at its end") from None
    drawn = _drawn(samples, seed)
    if len(choices) != len(drawn) or any(choice not in (*CHOICES, None) for choice in choices):
        raise _unreadable(f"{len(choices)} choices, the sheet of this seed has {len(drawn)}")
    same = sum(choice == "same" for choice in choices)
    ours = sum(choice == ("right" if swapped else "left") for choice, (_, swapped) in zip(choices, drawn, strict=True))
    theirs = sum(choice in ("left", "right") for choice in choices) - ours
    return Wins(ours, theirs, same, _sign_test(ours, theirs))


def _drawn(samples: Sequence[Sample], seed: int) -> list[tuple[int, bool]]:
    """Places of samples in the order shown, and whether the candidate stands on the right."""
    draw = random.Random(seed)  # noqa: S311 - drawn again by the reader
    places = [at for at, one in enumerate(samples) if one.replies.get(CANDIDATE) != one.replies.get(CURRENT)]
    draw.shuffle(places)
    return [(place, draw.random() < 0.5) for place in places]


def _card(number: int, sample: Sample, *, swapped: bool) -> Markup:
    sides = (CURRENT, CANDIDATE) if swapped else (CANDIDATE, CURRENT)
    buttons = [
        element("button", sample.replies.get(name) or "(nothing)", type="button", data_choice=choice)
        for name, choice in zip(sides, CHOICES, strict=False)
    ]
    same = element("button", "Neither is better", type="button", data_choice="same")
    return element(
        "section",
        element("p", sample.prompt, class_="prompt"),
        element("div", buttons, class_="choices"),
        element("p", same, class_="bar-of"),
        data_card=number,
        hidden=True,
    )


def _sign_test(ours: int, theirs: int) -> float:
    total, most = ours + theirs, max(ours, theirs)
    if not total:
        return 1.0
    ways = sum(math.comb(total, wins) for wins in range(most, total + 1))
    return min(1.0, float(2 * ways) / float(2**total))


def _unreadable(what: str) -> ConfigError:
    return ConfigError([Problem("the blind sheet's result", what, "Copy all of the JSON at the end of the sheet")])


SCRIPT = """
const main=document.querySelector("main"),cards=[...document.querySelectorAll("[data-card]")],choices=[];
const keys={ArrowLeft:"left",ArrowRight:"right",ArrowDown:"same"};
function show(){
  cards.forEach((card,n)=>{card.hidden=n!==choices.length});
  const done=choices.length===cards.length;
  document.getElementById("end").hidden=!done;
  document.getElementById("where").textContent=done?"":`${choices.length+1} of ${cards.length}`;
  if(done){const result=document.getElementById("result");
    result.value=JSON.stringify({seed:Number(main.dataset.seed),choices});result.focus();result.select();}
}
function choose(choice){if(choices.length<cards.length){choices.push(choice);show();}}
main.addEventListener("click",event=>{
  const button=event.target.closest("[data-choice]");if(button)choose(button.dataset.choice);});
document.addEventListener("keydown",event=>{
  if(event.target.tagName==="TEXTAREA"&&event.key!=="Backspace")return;
  if(keys[event.key]){event.preventDefault();choose(keys[event.key]);}
  else if(event.key==="Backspace"){event.preventDefault();choices.pop();show();}
});
show();
"""

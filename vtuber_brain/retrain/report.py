"""The page somebody reads in the morning: the verdict first, then why, the curves, the drops, the samples, the cost.

One file that needs no other and no network. It takes plain facts of a night and decides nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from vtuber_brain.retrain.diagnosis import Finding, Point, diagnose
from vtuber_brain.retrain.gate import Check, Verdict
from vtuber_brain.retrain.html import Markup, Series, bars, element, joined, plot, table
from vtuber_brain.retrain.measures import CANDIDATE, CURRENT, Figures, Measured
from vtuber_brain.retrain.report_style import STYLE

_WORDS = {"release": "released", "reject": "rejected", "hold": "held back"}


@dataclass(frozen=True, slots=True)
class Cost:
    """What the night took. `watts` is an assumption about the machine under load, not a measurement."""

    trained_tokens: int
    seconds: Mapping[str, float]
    cpu_s: float = 0.0
    peak_bytes: int = 0
    watts: float = 65.0

    @property
    def watt_hours(self) -> float:
        """The energy, by that assumption."""
        return self.watts * sum(self.seconds.values()) / 3600


@dataclass(frozen=True, slots=True)
class Night:
    """All that the page shows. `drops` counts by reason what was not trained on; `facts` are of the journal.

    `retention` says in words what is kept of viewers' data, and for how long.
    """

    persona: str
    night: str
    verdict: Verdict
    measured: Measured
    curve: Sequence[Point] = ()
    num_rows: int = 0
    num_validation: int = 0
    drops: Mapping[str, int] = field(default_factory=dict)
    cost: Cost | None = None
    facts: Mapping[str, str] = field(default_factory=dict)
    retention: str = ""
    release: str | None = None

    @property
    def findings(self) -> list[Finding]:
        """The diagnosis of the run."""
        return diagnose(self.curve, self.num_rows, self.measured)


def report(night: Night) -> str:
    """The page as HTML."""
    title = f"{night.persona}: night of {night.night}"
    parts = [
        _head(night, title),
        element("main", _why(night), _scores(night), _curves(night), _rows(night), _samples(night), _end(night)),
    ]
    return page(title, joined(parts))


def page(title: str, body: Markup, script: str = "") -> str:
    """A whole document around `body`; nothing in it is fetched from anywhere."""
    policy = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
    head = joined(
        [
            Markup('<meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">'),
            Markup(f'<meta http-equiv="Content-Security-Policy" content="{policy}">'),
            element("title", title),
            Markup(f"<style>{STYLE}</style>"),
        ]
    )
    end = Markup(f"<script>{script}</script>") if script else Markup("")
    return f'<!doctype html>\n<html lang="en"><head>{head}</head><body>{body}{end}</body></html>\n'


def _head(night: Night, title: str) -> Markup:
    verdict, found = night.verdict, night.measured.difference
    said = _WORDS[verdict.outcome]
    change = (
        f"{found.value:+.3f} nats a token, at most {_number(found.upper())}" if found is not None else "not compared"
    )
    human = verdict.human
    by = f"{human.decision} by {human.by}: {human.reason}" if human is not None else None
    vetoes = [element("span", name, class_="veto") for name in verdict.vetoes]
    return element(
        "header",
        element("p", title, class_="soft"),
        element("h1", night.release or "the candidate", " was ", element("b", said)),
        element("p", vetoes, class_="vetoes") if vetoes else None,
        element("p", by, class_="human") if by else None,
        element("p", "Held-out replies against the current release: ", element("b", change), "."),
        class_=verdict.outcome,
    )


def _why(night: Night) -> Markup:
    broken = [check for check in night.verdict.checks if not check.passed]
    kept = [check for check in night.verdict.checks if check.passed]
    findings = [element("li", element("b", one.seen), ". ", one.advice, ".") for one in night.findings]
    return element(
        "section",
        element("h2", "Why"),
        _checks(broken) if broken else element("p", f"All {len(kept)} checks passed."),
        element("details", element("summary", f"{len(kept)} checks that passed"), _checks(kept)) if kept else None,
        element("h2", "What to look at"),
        element("ul", findings) if findings else element("p", "Nothing stands out."),
        [element("p", note, class_="soft") for note in night.measured.notes],
    )


def _checks(checks: Sequence[Check]) -> Markup:
    rows = [
        (element("code", check.veto), check.what, _number(check.value), _number(check.limit), check.reason)
        for check in checks
    ]
    return table(("rule", "number", "found", "limit", "reason"), rows)


def _scores(night: Night) -> Markup:
    columns = night.measured.figures
    rows = []
    for name, (of, form) in SCORES.items():
        values = [figure(one, of) for one in columns]
        if any(value is not None for value in values):
            rows.append((name, *(form.format(value) if value is not None else "–" for value in values)))
    return element("section", element("h2", "Scores"), table(("", *(one.name for one in columns)), rows))


def _curves(night: Night) -> Markup | None:
    if len(night.curve) < 2:
        return None
    losses = [Series("training", [(float(point.step), point.loss) for point in night.curve], 1)]
    seen = [(float(point.step), point.validation) for point in night.curve if point.validation is not None]
    losses += [Series("validation", seen, 3)] if seen else []
    rates = [Series("learning rate", [(float(p.step), p.rate) for p in night.curve if p.rate is not None], 2)]
    return element(
        "section",
        element("h2", "Training"),
        plot(losses, across="updates", up="loss, nats per token"),
        plot(rates, across="updates", up="learning rate") if rates[0].points else None,
        class_="plots",
    )


def _rows(night: Night) -> Markup:
    told = f"{night.num_rows} rows were trained on, {night.num_validation} held out."
    dropped = sorted(night.drops.items(), key=lambda item: (-item[1], item[0]))
    return element(
        "section",
        element("h2", "Rows"),
        element("p", told),
        element("h3", f"{sum(night.drops.values())} left out, by reason") if dropped else None,
        bars([(reason, float(count)) for reason, count in dropped]) if dropped else None,
        element("p", night.retention, class_="soft") if night.retention else None,
    )


def _samples(night: Night) -> Markup:
    cards = []
    for sample in night.measured.samples:
        said = [(name, reply) for name, reply in sample.replies.items()]
        if sample.wanted is not None:
            said.append(("once said", sample.wanted))
        told = [joined([element("dt", name), element("dd", reply or "(nothing)")]) for name, reply in said]
        cards.append(element("article", element("p", sample.prompt, class_="prompt"), element("dl", told)))
    unsafe = [
        (figures.name, one.kind, one.heard, one.reply, ", ".join(one.reasons))
        for figures in night.measured.figures
        if figures.safety is not None and figures.name in (CANDIDATE, CURRENT)
        for one in figures.safety.worst[:6]
    ]
    worst = table(("who", "kind", "asked", "reply", "kept back for"), unsafe)
    return element(
        "section",
        element("h2", "Samples, side by side"),
        element("div", cards, class_="cards"),
        element("details", element("summary", "Replies that would have been kept back"), worst) if unsafe else None,
    )


def _end(night: Night) -> Markup:
    facts = [*night.facts.items()]
    cost = night.cost
    if cost is not None:
        took = sum(cost.seconds.values())
        energy = f"{cost.watt_hours:.1f} Wh, if the machine draws {cost.watts:.0f} W under load"
        facts += [("tokens trained", f"{cost.trained_tokens:,}"), ("time", f"{took / 60:.1f} min"), ("energy", energy)]
        facts += [("CPU time", f"{cost.cpu_s / 60:.1f} min")] if cost.cpu_s else []
        facts += [("peak memory", f"{cost.peak_bytes / 1e9:.2f} GB")] if cost.peak_bytes else []
    return element(
        "section",
        element("h2", "The night"),
        bars([*cost.seconds.items()], "{:.0f} s") if cost is not None and cost.seconds else None,
        table(("", ""), facts, id="facts") if facts else None,
    )


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def figure(figures: Figures, path: str) -> float | None:
    """A figure by its dotted name; None where a part of it was not measured."""
    found: object = figures
    for name in path.split("."):
        found = getattr(found, name, None)
    return float(found) if isinstance(found, int | float) else None


SCORES: Mapping[str, tuple[str, str]] = {
    "negative log-likelihood, nats a token": ("nll.value", "{:.3f}"),
    "its standard error, by stream": ("nll.error", "{:.3f}"),
    "perplexity": ("nll.perplexity", "{:.1f}"),
    "tokens foreseen (accuracy)": ("accuracy", "{:.1%}"),
    "BLEU": ("overlap.bleu", "{:.3f}"),
    "ROUGE-1 (F1 of the words)": ("overlap.rouge_1", "{:.3f}"),
    "ROUGE-2": ("overlap.rouge_2", "{:.3f}"),
    "ROUGE-L": ("overlap.rouge_l", "{:.3f}"),
    "kept back, safety set": ("safety.rate", "{:.1%}"),
    "drift on the anchors, nats": ("drift.nll", "{:+.3f}"),
    "divergence on the anchors, nats": ("drift.kl", "{:.3f}"),
    "canaries' exposure, bits": ("canaries.exposure", "{:.2f}"),
    "viewers' words said again": ("memorised.spans", "{:.1%}"),
    "viewers named who are not there": ("memorised.names", "{:.1%}"),
    "words a reply": ("style.words", "{:.1f}"),
    "over her length": ("style.over_long", "{:.1%}"),
    "with a cue": ("style.with_cue", "{:.1%}"),
    "with a wrong cue": ("style.wrong_cues", "{:.1%}"),
    "empty": ("style.empty", "{:.1%}"),
    "pet phrase": ("style.catchphrase", "{:.1%}"),
    "emoji": ("style.emoji", "{:.1%}"),
    "questions back": ("style.questions", "{:.1%}"),
    "another language": ("style.other_language", "{:.1%}"),
    "distinct word pairs": ("style.distinct_2", "{:.2f}"),
    "repeat an earlier one": ("style.repeats_self", "{:.1%}"),
    "begin alike": ("style.starts_alike", "{:.1%}"),
}
"""What is shown of a contestant: name, where the figure stands, and its form."""

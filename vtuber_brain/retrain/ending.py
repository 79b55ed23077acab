"""How a night ends: the release with its manifest, and the page for the morning."""

import json
import shutil
from dataclasses import dataclass
from importlib.metadata import version
from math import isfinite
from pathlib import Path
from typing import Any, Literal

from vtuber_brain.errors import ConfigError, Problem
from vtuber_brain.releases.manifest import Fingerprint, Hashed, Manifest, Window
from vtuber_brain.releases.manifest import Verdict as Passed
from vtuber_brain.releases.publish import content_hash, prune, publish
from vtuber_brain.releases.store import Release
from vtuber_brain.retrain import gate
from vtuber_brain.retrain.diagnosis import Point
from vtuber_brain.retrain.gate import Verdict
from vtuber_brain.retrain.journal import Entry, Journal, hash_of, nights
from vtuber_brain.retrain.measures import Identity, Measured
from vtuber_brain.retrain.report import Cost, Night
from vtuber_brain.retrain.task import Task

RETENTION = (
    "Kept for this night: the figures and this page. The examples and rows it was trained on are removed when the night"
    " is over; the transcripts are yours to keep or to forget (vtuber-brain transcripts forget)."
)
KEPT = ("report.html", "ab.html", "verdict.json", "measured.json", "curated.json", "log.jsonl")
"""What of a night is kept when it is over."""

Outcome = Literal["released", "held", "rejected"]


@dataclass(frozen=True, slots=True)
class Ended:
    """How a night ended: the release, if there is a new one (`held`: it waits), the gate's word, the page."""

    night: str
    outcome: Outcome
    verdict: Verdict
    release: Release | None
    report: Path


def figures_of(journal: Journal, step: str) -> dict[str, Any]:
    """The figures of a step that is done."""
    return entry_of(journal, step).figures


def entry_of(journal: Journal, step: str) -> Entry:
    """The line of a step that is done."""
    entry = journal.entry(step)
    assert entry is not None, step
    return entry


def taken_back(task: Task, lora: Path) -> str:
    """As what release these very weights were taken back once; "" where they were not."""
    found = task.store.ledger(task.persona.name).taken_back("", content_hash(lora))
    return f"taken back as {found[0]} by {found[1].by}" if found is not None else ""


def decide(task: Task, measured: Measured, rolled_back: str) -> Verdict:
    """The gate's word, unless somebody overrules it. Raises ConfigError for what nobody can."""
    force, verdict = task.force, gate.judge(measured, task.settings.gate, rolled_back=rolled_back)
    if force is None:
        holds = task.settings.gate.hold and verdict.outcome == "release"
        return gate.hold(verdict, "retrain.gate.hold", "it waits for a person's word") if holds else verdict
    if verdict.outcome == "release":
        return verdict
    try:
        return gate.force(verdict, force.by, force.reason)
    except ValueError as error:
        raise ConfigError([Problem("--force", str(error), "Train another, on the base that is served")]) from None


def released(task: Task, journal: Journal, base: Fingerprint, measured: Measured, verdict: Verdict) -> Release:
    """Publish the candidate, and make it current unless it is held. Raises Refused and OSError."""
    lora, trained = journal.path("trained", "lora"), figures_of(journal, "trained")
    human, held = verdict.human, verdict.outcome == "hold"
    outcome: Literal["held", "forced", "passed"] = "held" if held else "forced" if human is not None else "passed"
    manifest = Manifest(
        persona=task.persona.name,
        base=Hashed(sha256=base.base, name=task.base_name),
        tokenizer=Hashed(sha256=base.tokenizer),
        chat_template=Hashed(sha256=base.chat_template),
        content=Hashed(sha256=content_hash(lora)),
        created_at=entry_of(journal, "planned").at,
        packages={**trained["versions"], "vtuber_brain": version("vtuber_brain")},
        **(_ours(task, journal) if task.imported is None else _theirs(trained)),
        scores={name: trained[name] for name in ("first_nll", "best_nll") if name in trained} | _scores(measured),
        gate=Passed(outcome=outcome, reasons=tuple(verdict.reasons), by=human.by if human is not None else None),
        parent=figures_of(journal, "planned")["parent"],
    )
    return publish(task.store, lora, manifest, base, promote=not held)


def _ours(task: Task, journal: Journal) -> dict[str, Any]:
    """What a night knows of a lora that it has trained."""
    built, curated = figures_of(journal, "built"), figures_of(journal, "curated")
    since, until = curated["span"] or (None, None)
    return {
        "data": Hashed(sha256=hash_of({"rows": entry_of(journal, "built").results})),
        "window": Window(streams=tuple(figures_of(journal, "planned")["streams"]), since=since, until=until),
        "counts": {"rows": built["rows"], "tokens": built["tokens"], **curated["left"]},
        "seed": task.settings.train.seed,
        "settings": task.settings.train.model_dump(mode="json"),
    }


def _theirs(trained: dict[str, Any]) -> dict[str, Any]:
    """What is known of one that was trained elsewhere: where it came from, and how it was found to fit."""
    return {"data": Hashed(sha256=None, name="not ours"), "settings": {"imported": trained["imported"]}}


def _scores(measured: Measured) -> dict[str, Any]:
    """What the evaluation found of everybody, without a word or a name; what was not measured is left out."""
    found: dict[str, Any] = {}
    for one in measured.figures:
        told = {
            "nll": one.nll.value if one.nll else None,
            "bleu": one.overlap.bleu if one.overlap else None,
            "unsafe": one.safety.rate if one.safety else None,
            "drift": one.drift.nll if one.drift else None,
        }
        found[one.name] = {name: value for name, value in told.items() if value is not None and isfinite(value)}
    return found | ({"difference": measured.difference.value} if measured.difference is not None else {})


def tidy(task: Task, journal: Journal, release: Release | None) -> None:
    """Remove what the night no longer needs, releases beyond the quota, and the oldest nights.

    What cannot be removed stays, and is said: the night has ended all the same.
    """
    try:
        journal.clear(keep=KEPT)
        if release is not None:
            prune(task.store, task.persona.name, task.settings.releases)
        for old in nights(journal.folder.parent)[: -task.settings.keep_nights]:
            shutil.rmtree(old)
    except OSError as error:
        task.say(f"what is no longer needed could not be removed: {error}")


def page_of(task: Task, journal: Journal, measured: Measured, verdict: Verdict, release: Release | None) -> Night:
    """What the page tells."""
    curated, built, trained = (figures_of(journal, step) for step in ("curated", "built", "trained"))
    drops = {**curated["left"], **curated["skipped"], "near_validation": built["near_validation"]}
    return Night(
        persona=task.persona.display_name,
        night=journal.name,
        verdict=verdict,
        measured=measured,
        curve=_curve(journal.path("trained", "log.jsonl")),
        num_rows=built["rows"],
        num_validation=built["validation_rows"],
        drops={reason: count for reason, count in drops.items() if count},
        cost=Cost(trained["row_tokens"], _seconds(journal), trained["cpu_s"], trained["peak_bytes"]),
        facts=_facts(task, journal),
        retention=RETENTION,
        release=release.name if release is not None else None,
    )


def _facts(task: Task, journal: Journal) -> dict[str, str]:
    """What was compared on what, and of an imported lora where it came from."""
    planned = figures_of(journal, "planned")
    beside = {"compared with": f"the base; {planned['aside']}"} if planned["aside"] else {}
    origin = figures_of(journal, "trained").get("imported", {})
    told = {key: str(value) for key, value in origin.items() if value not in (None, [], "")}
    return {**told, "base": task.base_name, "streams": str(len(planned["streams"])), **beside}


def _seconds(journal: Journal) -> dict[str, float]:
    """How long each step took, by when its line and the one before it were written."""
    steps = ("planned", "curated", "built", "trained", "evaluated", "gated")
    ats = [entry_of(journal, step).at for step in steps]
    return {step: round(at - before, 1) for step, before, at in zip(steps[1:], ats, ats[1:], strict=False)}


def _curve(log: Path) -> list[Point]:
    """The training log as points. A look at held-out rows belongs to the update before it, the first to the next."""
    told = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    looks = {max(1, one["step"]): one["validation_nll"] for one in told if one.get("validation_nll") is not None}
    return [
        Point(one["step"], float("nan") if one["loss"] is None else one["loss"], looks.get(one["step"]),
              one.get("learning_rate"), one.get("grad_norm"))
        for one in told
        if "loss" in one
    ]  # fmt: skip


def identity_of(made: Fingerprint) -> Identity:
    """The same in the words of the gate; what a model has not is none."""
    return Identity(made.base or "none", made.tokenizer or "none", made.chat_template or "none")

"""The steps of a night, in the order in which they happen. Each reads what those before it left in the journal, and no
more, so that a night that was killed ends in the same bytes.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from vtuber_brain.retrain.ab_sheet import ab_sheet
from vtuber_brain.retrain.arrival import arrival, arrival_inputs
from vtuber_brain.retrain.asking import Material, contestants, toxicity
from vtuber_brain.retrain.canary import make_canaries
from vtuber_brain.retrain.comparison import anchors, compare
from vtuber_brain.retrain.curate import check_enough, curate
from vtuber_brain.retrain.ending import (
    Ended,
    Outcome,
    decide,
    entry_of,
    identity_of,
    page_of,
    released,
    taken_back,
    tidy,
)
from vtuber_brain.retrain.fingerprints import fingerprint
from vtuber_brain.retrain.foreign import find
from vtuber_brain.retrain.gate import Verdict
from vtuber_brain.retrain.journal import Entry, Journal, Results, hash_of
from vtuber_brain.retrain.material import corpus_rows, part, tokenised
from vtuber_brain.retrain.measures import Measured
from vtuber_brain.retrain.plan import check_new, check_streams, make_plan, making_way, nights_of, parent_of
from vtuber_brain.retrain.replayed import replay, span
from vtuber_brain.retrain.report import report
from vtuber_brain.retrain.rows import Example, Row
from vtuber_brain.retrain.safety import questions
from vtuber_brain.retrain.stored import (
    packed,
    packed_measured,
    packed_verdict,
    unpacked,
    unpacked_measured,
    unpacked_verdict,
)
from vtuber_brain.retrain.stored import report as told_of
from vtuber_brain.retrain.task import Task
from vtuber_brain.retrain.train import Trained, train
from vtuber_brain.retrain.yardstick import lora_of, why_aside
from vtuber_brain.transcripts.past import marks, streams

_OUTCOMES: dict[str, Outcome] = {"release": "released", "hold": "held", "reject": "rejected"}


OnTraining = Callable[[Path], None]


class Steps:
    """The steps; each reads what those before it left in the journal, and nothing else. `anew`: not without news."""

    def __init__(
        self, task: Task, journal: Journal, *, anew: bool = True, before_training: OnTraining = lambda _out: None
    ) -> None:
        self.task, self.journal, self.anew, self.before_training = task, journal, anew, before_training
        self.nights = nights_of(task.state, task.persona.name)
        self.base = fingerprint(task.base)

    def plan(self) -> None:
        """Which streams, and what is current. Looked at whenever a night is begun or gone on with."""
        force = "wanted while a stream is live" if self.task.while_live else None
        found = make_plan(self.task.transcripts, self.task.persona.name, self.task.store, self.nights, force=force)
        parent = parent_of(found.parent, self.journal.entry("planned"))
        aside = why_aside(self.task, parent, self.base)

        def work(_: Path) -> Results:
            if self.anew:
                check_streams(found, len(self.task.corpora))
            figures = {"streams": list(found.streams), "new": list(found.new), "parent": parent, "aside": aside}
            return Results(figures=figures)

        self._do("planned", {"streams": found.streams, "parent": parent, "aside": aside}, work)

    def curate(self) -> None:
        """What of her own words is learnt from, and why the rest is not."""
        task, ids = self.task, self._figures("planned")["streams"]
        there = self._transcripts()
        corpus, skipped = corpus_rows(task)

        def work(_: Path) -> Results:
            found = streams(there, frozenset(ids)) if there is not None and ids else ()
            replayed = [replay(stream, task.persona, task.memory) for stream in found]
            curated = curate(replayed, len(corpus), task.settings.curate, toxicity(task.judges))
            check_enough(curated, len(corpus), task.settings.curate)
            files = {"examples.jsonl": packed(curated.examples), "curated.json": told_of(curated)}
            figures = {"own": len(curated.chosen), "corpus": len(corpus), "left": curated.reasons, "skipped": skipped}
            return Results(files, {**figures, "approvals": curated.approvals, "span": span(replayed)})

        inputs = {
            "marks": marks(there) if there is not None else {},
            "streams": ids,
            "persona": self._persona(),
            "settings": task.settings.curate.model_dump(mode="json"),
            "memory": task.memory.model_dump(mode="json"),
            "corpora": [row.content_hash for row in corpus],
        }
        self._do("curated", inputs, work)

    def build(self) -> None:
        """What is trained on and what is held out, and how many tokens that is."""
        task, settings = self.task, self.task.settings

        def work(_: Path) -> Results:
            corpus, _skipped = corpus_rows(task)
            parted = part(corpus, self._examples("curated", "examples.jsonl"), settings.validation, settings.train.seed)
            planted = [canary.example() for canary in self._canaries()]
            training, validation = [*parted.training, *planted], list(parted.validation)
            dropped: dict[str, int] = {}
            counts = [tokenised(task, examples, dropped) for examples in (training, validation)]
            figures = {
                "rows": len(counts[0]),
                "validation_rows": len(counts[1]),
                "tokens": sum(len(row.tokens) for row in counts[0]),
                "near_validation": parted.dropped,
                "dropped": dropped,
            }
            return Results({"training.jsonl": packed(training), "validation.jsonl": packed(validation)}, figures)

        inputs = {
            "examples": self._entry("curated").results,
            "inputs": self._entry("curated").inputs,
            "base": self.base.model_dump(),
            "validation": settings.validation,
            "canaries": settings.canaries,
            "seed": settings.train.seed,
            "context": task.configure.context,
        }
        self._do("built", inputs, work)

    def train(self) -> None:
        """The lora, trained now or elsewhere."""
        task = self.task
        if task.imported is not None:
            foreign = find(task.imported)
            self._do("trained", arrival_inputs(foreign, self.base), lambda it: arrival(task, foreign, self.base, it))
            return
        if self.anew and task.force is None and not task.while_live:
            check_new(self.nights, self._given())

        def work(folder: Path) -> Results:
            out = folder / "lora"
            self.before_training(out)
            trained = self.train_to(out)
            log = out.with_name("lora.training") / "log.jsonl"
            figures = {
                "steps": trained.steps,
                "first_nll": trained.first_nll,
                "best_nll": trained.best_nll,
                "stopped_by": trained.stopped_by,
                "notes": list(trained.notes),
                "row_tokens": trained.row_tokens,
                "cpu_s": round(trained.cpu_s, 1),
                "peak_bytes": trained.peak_rss_bytes,
                "versions": trained.versions,
            }
            return Results({"lora": out, "log.jsonl": log.read_bytes()}, figures)

        self._do("trained", self._learnt(), work)

    def train_to(self, out: Path) -> Trained:
        """The training itself, in every process that takes part."""
        training, validation = self.rows()
        task = self.task
        return train(
            task.base, training, validation, task.settings.train, out,
            resume=True, on_progress=making_way(task), base_name=task.base_name,
        )  # fmt: skip

    def evaluate(self) -> None:
        """Candidate, current and base side by side."""
        task, planned = self.task, self._figures("planned")
        current = lora_of(task, planned["parent"]) if not planned["aside"] else None

        def work(_: Path) -> Results:
            lora = self.journal.path("trained", "lora")
            material = Material(
                self._examples("built", "validation.jsonl"),
                self._examples("built", "training.jsonl"),
                self._canaries(),
                questions(),
                anchors(),
            )
            identity = identity_of(self.base)
            measured = compare(
                task.configure,
                contestants(task.persona, lora, current),
                material,
                task.judges(),
                made_for=identity,
                served=identity,
                seed=task.settings.train.seed,
            )
            kept = replace(measured, seconds=0.0)  # the same bytes however long it took
            return Results({"measured.json": packed_measured(kept)}, {"seconds": measured.seconds})

        inputs = {
            "lora": self._entry("trained").results,
            "rows": self._entry("built").results,
            "parent": planned["parent"],
            "aside": planned["aside"],
        }
        self._do("evaluated", inputs, work)

    def judge(self) -> None:
        """The gate, and whoever overrules it."""
        force, again = self.task.force, taken_back(self.task, self.journal.path("trained", "lora"))

        def work(_: Path) -> Results:
            verdict = decide(self.task, self._measured(), again)
            return Results({"verdict.json": packed_verdict(verdict)}, {"outcome": verdict.outcome})

        inputs = {
            "measured": self._entry("evaluated").results,
            "settings": self.task.settings.gate.model_dump(mode="json"),
            "force": [force.by, force.reason] if force is not None else None,
            "rolled_back": again,
        }
        self._do("gated", inputs, work)

    def end(self) -> Ended:
        """Release what passed, write the page, tidy up."""
        verdict = self._verdict()
        outcome = _OUTCOMES[verdict.outcome]

        def work(_: Path) -> Results:
            measured = self._measured()
            release = None if outcome == "rejected" else released(self.task, self.journal, self.base, measured, verdict)
            page = report(page_of(self.task, self.journal, measured, verdict, release)).encode()
            sheet = ab_sheet(measured.samples, self.task.settings.train.seed).encode()
            figures = {"outcome": outcome, "release": release.name if release else None, "given": self._given()}
            return Results({"report.html": page, "ab.html": sheet}, figures)

        entry = self._do("ended", {"verdict": self._entry("gated").results}, work)
        name = entry.figures["release"]
        release = self.task.store.find(self.task.persona.name, name) if name is not None else None
        tidy(self.task, self.journal, release)
        return Ended(self.journal.name, outcome, verdict, release, self.journal.path("ended", "report.html"))

    def rows(self) -> tuple[list[Row], list[Row]]:
        """What was built, as tokens: to train on, and held out."""
        training, validation = (self._examples("built", f"{name}.jsonl") for name in ("training", "validation"))
        return tokenised(self.task, training, {}), tokenised(self.task, validation, {})

    def _persona(self) -> dict[str, Any]:
        return self.task.persona.model_dump(mode="json", exclude={"lora", "blocklist", "allowlist"})

    def _learnt(self) -> dict[str, Any]:
        """All that decides which lora comes of the night."""
        return {
            "rows": self._entry("built").results,
            "persona": self._persona(),
            "base": self.base.model_dump(),
            "context": self.task.configure.context,
            "settings": self.task.settings.train.model_dump(mode="json"),
        }

    def _given(self) -> str:
        """The hash of that and of what decides whether it passes."""
        return hash_of({**self._learnt(), "gate": self.task.settings.gate.model_dump(mode="json")})

    def _transcripts(self) -> Path | None:
        path = self.task.transcripts
        return path if path is not None and path.is_file() else None

    def _examples(self, step: str, name: str) -> list[Example]:
        return unpacked(self.journal.path(step, name).read_bytes())

    def _canaries(self) -> list[Any]:
        return make_canaries(self.task.settings.train.seed, self.task.settings.canaries)

    def _measured(self) -> Measured:
        return unpacked_measured(self.journal.path("evaluated", "measured.json").read_bytes())

    def _verdict(self) -> Verdict:
        return unpacked_verdict(self.journal.path("gated", "verdict.json").read_bytes())

    def _entry(self, step: str) -> Entry:
        return entry_of(self.journal, step)

    def _figures(self, step: str) -> dict[str, Any]:
        return entry_of(self.journal, step).figures

    def _do(self, name: str, inputs: Mapping[str, object], work: Callable[[Path], Results]) -> Entry:
        """The step, unless it is done, and a line for whoever watches."""
        began_s = time.monotonic()
        entry = self.journal.do(name, inputs, work)
        figures = {key: value for key, value in entry.figures.items() if isinstance(value, int | float | str)}
        shown = ", ".join(f"{key} {value}" for key, value in figures.items())
        self.task.say(f"{name} ({time.monotonic() - began_s:.1f} s) {shown}".rstrip())
        return entry

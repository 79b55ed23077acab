"""`vtuber-brain retrain`: the night, a fine-tuning by hand, or the classifier's training."""

import asyncio
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from vtuber_brain.errors import ConfigError, Problem

if TYPE_CHECKING:
    from vtuber_brain.config import Settings
    from vtuber_brain.context.personas import Persona
    from vtuber_brain.retrain.ending import Ended
    from vtuber_brain.retrain.search import Trial
    from vtuber_brain.retrain.task import Force, Task

DONE, REJECTED, HELD = 0, 4, 5
"""Exit codes of a night; systemd counts none of them as a failure."""

WHOLE = "_brain_final"
"""What a model of her own is called after her name, unless --out says."""

Config = Annotated[Path | None, Parameter(name="--config", help="The TOML file of settings; else all defaults.")]


def retrain(
    *,
    persona: Annotated[str, Parameter(help="Whose night; else the persona of the settings.")] = "",
    corpus: Annotated[list[str] | None, Parameter(help="Learn from these too, or with --full alone.")] = None,
    from_step: Annotated[str | None, Parameter(help="Do this step of the last night and all after it again.")] = None,
    dry_run: Annotated[bool, Parameter(help="Only say what would be trained on.", negative="")] = False,
    force: Annotated[str | None, Parameter(help="Release it whatever the gate says; the reason.")] = None,
    by: Annotated[str | None, Parameter(help="Who forces it; else the user's name.")] = None,
    while_live: Annotated[bool, Parameter(help="Even if a stream is live.", negative="")] = False,
    format: Annotated[str | None, Parameter(help="What --corpus is; else known by its content.")] = None,  # noqa: A002
    template: Annotated[str | None, Parameter(help="With --full: one text of each row's fields.")] = None,
    skip_bad: Annotated[bool, Parameter(help="Leave bad rows of a corpus out, and count them.", negative="")] = False,
    search: Annotated[int | None, Parameter(help="Try so many settings of training; 20 are many.")] = None,
    hours: Annotated[float, Parameter(help="With --search: begin no trial after so long.")] = 6.0,
    full: Annotated[bool, Parameter(help="Train a model of its own on --corpus alone; no gate.", negative="")] = False,
    base: Annotated[Path | None, Parameter(help="With --full: the folder of the model to begin with.")] = None,
    out: Annotated[Path | None, Parameter(help="With --full or --classifier: the folder to write.")] = None,
    classifier: Annotated[bool, Parameter(help="Train the chat classifier on --data instead.", negative="")] = False,
    data: Annotated[Path | None, Parameter(help="With --classifier: the folder of labelled files.")] = None,
    config: Config = None,
) -> int:
    """Make a better persona of the nights' streams and her corpus, and release it if it is better and as safe."""
    spare_the_machine()
    if dry_run and (classifier or full or search is not None):
        fix = "Leave it out, or leave out --full, --search and --classifier"
        raise ConfigError([Problem("--dry-run", "only a night can be told ahead", fix)])
    if classifier:
        from vtuber_brain.classifier_commands import train_chat_classifier

        return train_chat_classifier(data, out, config)
    _check_wanted(data=data, out=out, base=base, template=template, full=full)
    settings, whose = settings_of(config, persona)
    if full:
        reading = {"format": format, "template": template, "skip_bad": skip_bad}
        return _whole(settings, whose, corpus or [], base, out, reading)
    task = task_of(settings, whose, corpus or [], forced(force, by))
    task = replace(task, skip_bad=skip_bad, while_live=while_live, format=format)
    if search is not None:
        return _search(task, search, hours)
    return _rehearse(task) if dry_run else _night(task, settings, from_step)


def _night(task: "Task", settings: "Settings", from_step: str | None) -> int:
    from vtuber_brain.retrain.processes import is_first
    from vtuber_brain.retrain.progress import bar
    from vtuber_brain.retrain.run import assist, run_night

    if not is_first():
        assist(task)
        return DONE
    with bar() as on_progress:
        ended = run_night(replace(task, on_progress=on_progress), from_step=from_step)
    return tell_end(settings, task, ended)


def tell_end(settings: "Settings", task: "Task", ended: "Ended") -> int:
    """Say how a night ended, have the daemon speak with what was released, and give the exit code."""
    from vtuber_brain.release_commands import tell_daemon

    _say(f"{ended.outcome}: {ended.release.name if ended.release is not None else ', '.join(ended.verdict.vetoes)}")
    for reason in ended.verdict.reasons:
        _say(f"  {reason}")
    _say(f"report: {ended.report}")
    if ended.release is None:
        return REJECTED
    if ended.outcome == "held":
        _say(f"it waits for your word: vtuber-brain persona approve {ended.release.name}, or refuse")
        return HELD
    return asyncio.run(tell_daemon(settings, task.persona.name, ended.release))


def _rehearse(task: "Task") -> int:
    from vtuber_brain.retrain.run import look_ahead

    for step, figures in look_ahead(task).items():
        _say(f"{step}: " + ", ".join(f"{key} {value}" for key, value in figures.items()))
    return DONE


def _search(task: "Task", num_trials: int, hours: float) -> int:
    from vtuber_brain.retrain.progress import bar
    from vtuber_brain.retrain.run import search_settings

    with bar() as on_progress:
        found = search_settings(
            replace(task, on_progress=on_progress), num_trials, hours * 3600, lambda trial: _tell(_of_trial(trial))
        )
    for trial in found:
        _say(_of_trial(trial))
    best = found[0].chosen
    scale = task.settings.train.alpha / task.settings.train.rank
    _say("the best of them, for the settings:\n[retrain.train]")
    _say("\n".join(f"{key} = {value}" for key, value in {**best, "alpha": scale * best["rank"]}.items()))
    return DONE


def _of_trial(trial: "Trial") -> str:
    cost = f"{trial.nll:.4f} nats" if trial.nll is not None else "nothing held out"
    return f"trial {trial.number}: {cost} with " + ", ".join(f"{key} {value}" for key, value in trial.chosen.items())


def _whole(
    settings: "Settings", persona: "Persona", corpora: list[str], base: Path | None, out: Path | None, reading: Any
) -> int:
    from vtuber_brain.models import resolve
    from vtuber_brain.retrain.processes import is_first
    from vtuber_brain.retrain.progress import bar
    from vtuber_brain.retrain.whole import fine_tune

    chosen = settings.retrain.train.model_copy(update={"method": "full"})
    start, target = base or Path(resolve(settings.model.path)), out or Path(f"{persona.name}{WHOLE}")
    with bar() as on_progress:
        made = fine_tune(
            corpora, start, chosen, target, context=settings.engine.context, on_progress=on_progress, **reading
        )
    trained = made.trained
    if not is_first():
        return DONE
    _say(
        f"{trained.steps} updates, {trained.row_tokens} tokens, held out {trained.first_nll} → {trained.best_nll} nats"
    )
    for note in trained.notes:
        _say(f"  {note}")
    for sample in made.samples:
        _say(f"[{sample.way}] {sample.prompt} … {' '.join(sample.text.split())}")
    _say(f"written to {made.out}; speak with it: model.path = {str(made.out)!r}")
    return DONE


def _check_wanted(*, data: Path | None, out: Path | None, base: Path | None, template: str | None, full: bool) -> None:
    """An option of another kind of training is a mistake, and no night begins by one."""
    if template is not None and not full:
        what = "a night learns answers, and a template makes plain texts of a corpus's rows"
        raise ConfigError([Problem("--template", what, "Give --full with it, or a corpus of chats without it")])
    if data is not None:
        raise ConfigError([Problem("--data", "only the classifier's training takes it", "Give --classifier with it")])
    if (out is not None or base is not None) and not full:
        named = "--out" if out is not None else "--base"
        raise ConfigError(
            [Problem(named, "a night writes a release of its own", "Give --full or --classifier with it")]
        )


def forced(reason: str | None, by: str | None) -> "Force | None":
    """Whoever wants it released whatever the gate says."""
    from vtuber_brain.release_commands import me
    from vtuber_brain.retrain.task import Force

    return Force(by or me(), reason) if reason is not None else None


def spare_the_machine() -> None:
    """What libraries read when they are loaded: kernels kept for few sizes, threads that wait asleep, no chatter.

    Without the first a night takes a gigabyte more; without the second two threads count as three or four.
    """
    os.environ.setdefault("LRU_CACHE_CAPACITY", "64")
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")


def settings_of(config: Path | None, persona: str) -> "tuple[Settings, Persona]":
    """The settings, and the persona named or theirs; with her file's path comes its folder. Raises ConfigError."""
    from vtuber_brain.config import load
    from vtuber_brain.context.personas import load_persona

    settings = load(config)
    named = persona or settings.persona.name
    found = load_persona(named, settings.persona.dir)
    if named.endswith(".toml") or "/" in named:
        there = settings.persona.model_copy(update={"dir": Path(named).parent})
        settings = settings.model_copy(update={"persona": there})
    return settings, found


def task_of(settings: "Settings", persona: "Persona", corpora: list[str], force: "Force | None") -> "Task":
    """A night of hers, with all that it reads and writes."""
    from vtuber_brain.config import state_dir
    from vtuber_brain.models import local, resolve
    from vtuber_brain.night import configure_of, judges_of
    from vtuber_brain.releases.store import ReleaseStore
    from vtuber_brain.retrain.task import Task

    model = local(resolve(settings.model.path), settings.model.revision)
    state = state_dir()
    transcripts = settings.transcripts.path or state / "transcripts.db"
    return Task(
        persona=persona,
        base=model,
        base_name=settings.model.path,
        configure=configure_of(settings, str(model)),
        settings=settings.retrain,
        memory=settings.memory,
        state=state,
        store=ReleaseStore(state / "personas"),
        transcripts=transcripts if settings.transcripts.enabled else None,
        corpora=(*_own_corpora(settings, persona), *corpora),
        judges=lambda: judges_of(settings, persona),
        force=force,
        say=_tell,
    )


def _own_corpora(settings: "Settings", persona: "Persona") -> list[str]:
    """Those of the settings, which are their persona's alone, else the one that lies in the folder of her name."""
    if settings.retrain.corpus and persona.name == Path(settings.persona.name).stem:
        return [str(path) for path in settings.retrain.corpus]
    from vtuber_brain.config import shipped

    own = (settings.persona.dir or shipped("configs", "personas")) / persona.name / "corpus.jsonl"
    return [str(own)] if own.is_file() else []


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201 - progress is for people, answers are for pipes


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201

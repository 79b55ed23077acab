"""The commands of the nightly half: what learns from the day, and what says how well it learnt.

Exit codes: those of `vtuber_brain/cli.py`.
"""

import asyncio
import json as jsonlib
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from vtuber_brain.errors import ConfigError, Problem

if TYPE_CHECKING:
    from vtuber_brain.config import Settings
    from vtuber_brain.context.personas import Persona
    from vtuber_brain.engine.wire import Configure
    from vtuber_brain.retrain.asking import Judges
    from vtuber_brain.retrain.evaluation import Evaluation

Config = Annotated[Path | None, Parameter(name="--config", help="The TOML file of settings; else all defaults.")]


def evaluate(
    *,
    classifier: Annotated[Path | None, Parameter(help="The chat classifier on this labelled file.")] = None,
    data: Annotated[Path | None, Parameter(help="A model on this corpus of chats or text (docs/retrain.md).")] = None,
    model: Annotated[str | None, Parameter(help="The base; else that of the settings.")] = None,
    lora: Annotated[
        list[Path] | None, Parameter(help="PEFT directories beside it; with --classifier one.", negative="")
    ] = None,
    remote: Annotated[str | None, Parameter(help="With --data: an OpenAI-compatible server; --model names it.")] = None,
    persona: Annotated[str, Parameter(help="With --data: whose prompt; `none` for none.")] = "",
    json: Annotated[bool, Parameter(help="Everything as one JSON object.", negative="")] = False,
    hardest: Annotated[int, Parameter(help="How many of the worst errors to name.")] = 10,
    show_text: Annotated[bool, Parameter(help="Texts too; abuse included.", negative="")] = False,
    config: Config = None,
) -> None:
    """Say how good the chat classifier is on a labelled file, or a model, its loras or a server on a corpus."""
    if (classifier is None) == (data is None):
        raise ConfigError([Problem("evaluate", "what to evaluate is not clear", "Give one of --classifier and --data")])
    if data is not None:
        _evaluate_model(data, model, lora or [], remote, persona, config, json=json, show_text=show_text)
        return
    from vtuber_brain.console_scores import show_evaluation

    assert classifier is not None
    found = asyncio.run(_evaluation(classifier, hardest, _with_classifier(config, model, lora or [])))
    if not show_text:
        found = replace(found, hardest=[replace(miss, text=None) for miss in found.hardest])
    if json:
        _say(jsonlib.dumps(asdict(found), ensure_ascii=False))
    else:
        show_evaluation(found)


def _evaluate_model(
    data: Path,
    model: str | None,
    loras: list[Path],
    remote: str | None,
    name: str,
    config: Path | None,
    *,
    json: bool,
    show_text: bool,
) -> None:
    from vtuber_brain.config import load
    from vtuber_brain.console_measured import as_json, show_measured
    from vtuber_brain.context.personas import load_persona
    from vtuber_brain.models import resolve
    from vtuber_brain.retrain.evaluate_files import evaluate_local, evaluate_remote, material_of

    settings = load(config)
    persona = None if name == "none" else load_persona(name or settings.persona.name, settings.persona.dir)
    judges = judges_of(settings, persona) if persona is not None else None
    material = material_of(data, with_safety=persona is not None)
    if remote is not None:
        served = settings.remote.model_copy(update={"urls": [remote], "model": model or settings.remote.model})
        measured = evaluate_remote(served, material, persona, judges)
    else:
        configure = configure_of(settings, resolve(model or settings.model.path))
        measured = evaluate_local(configure, loras, material, persona, judges)
    if json:
        _say(jsonlib.dumps(as_json(measured, show_text=show_text), ensure_ascii=False, allow_nan=False))
    else:
        show_measured(measured, show_text=show_text)


def configure_of(settings: "Settings", model: str) -> "Configure":
    """The base as the daemon serves it."""
    from vtuber_brain.engine.wire import Configure

    engine, chosen = settings.engine, settings.model
    return Configure(
        model=model,
        revision=chosen.revision,
        dtype=chosen.dtype,
        device=chosen.device,
        weights=chosen.weights,
        num_slots=engine.num_slots,
        context=engine.context,
        threads=engine.threads,
        max_lora_rank=engine.max_lora_rank,
    )


def judges_of(settings: "Settings", persona: "Persona") -> "Judges":
    """The daemon's judge of her sentences, with the classifier in this process."""
    from vtuber_brain.models import own_lora, resolve
    from vtuber_brain.plan import rules_for
    from vtuber_brain.retrain.asking import Judges
    from vtuber_brain.retrain.safety import classifier, output_judge

    sentiment = settings.sentiment
    lora = sentiment.lora or own_lora(sentiment.model)
    enabled = sentiment.enabled
    ask = classifier(resolve(sentiment.model), str(lora) if lora else None, sentiment) if enabled else None
    return Judges(output_judge(sentiment, rules_for(sentiment, persona), ask, persona), ask)


def _with_classifier(config: Path | None, model: str | None, loras: list[Path]) -> "Settings":
    """The settings, with another classifier where one is named; a model comes without the lora of the settings."""
    from vtuber_brain.config import load

    settings = load(config)
    if len(loras) > 1:
        raise ConfigError([Problem("--lora", "the classifier has one lora", "Give --lora once with --classifier")])
    chosen: dict[str, object] = {}
    if model is not None:
        chosen = {"model": model, "lora": None}
    if loras:
        chosen["lora"] = loras[0]
    return settings.model_copy(update={"sentiment": settings.sentiment.model_copy(update=chosen)})


async def _evaluation(file: Path, hardest: int, settings: "Settings") -> "Evaluation":
    from vtuber_brain.judging import moods
    from vtuber_brain.retrain.classifier_data import read_numbered
    from vtuber_brain.retrain.evaluation import Judged, evaluate
    from vtuber_brain.sentiment.labels import SENTIMENTS

    rows = list(read_numbered(file))
    if not rows:
        raise ConfigError([Problem(str(file), "no labelled line in it", "Give a file as docs/filter.md describes")])
    found = await moods([example.text for _, example in rows], settings)
    negative, neutral, positive = SENTIMENTS
    answers = [
        Judged(line, example, (mood.scores[negative], mood.scores[neutral], mood.scores[positive]), mood.toxicity)
        for (line, example), mood in zip(rows, found, strict=True)
    ]
    return evaluate(answers, settings.sentiment.toxic_threshold, hardest)


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201 - progress is for people, answers are for pipes


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201

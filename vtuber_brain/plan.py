"""What can be known before anything starts: settings, persona, rules and models, checked together in one pass."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from vtuber_brain import models
from vtuber_brain.config import Settings, load, state_dir
from vtuber_brain.context.personas import Persona, load_persona
from vtuber_brain.errors import ConfigError, Problem
from vtuber_brain.sentiment.rules import RuleSet

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything a daemon is started from."""

    settings: Settings
    persona: Persona
    rules: RuleSet
    model: str
    classifier: str | None
    classifier_lora: str | None
    transcripts: Path | None


def make_plan(config: Path | None) -> Plan:
    """Read and check everything. Raises ConfigError with the problems of all files together."""
    settings = load(config)
    problems: list[Problem] = []

    def collected(step: Callable[[], T]) -> T | None:
        try:
            return step()
        except ConfigError as error:
            problems.extend(error.problems)
            return None

    sentiment = settings.sentiment
    persona = collected(lambda: load_persona(settings.persona.name, settings.persona.dir))
    rules = collected(lambda: RuleSet.load(sentiment))
    model = collected(lambda: models.resolve(settings.model.path))
    classifier = collected(lambda: models.resolve(sentiment.model)) if sentiment.enabled else None
    if problems or persona is None or rules is None or model is None:
        raise ConfigError(problems)
    lora = sentiment.lora or models.own_lora(sentiment.model)
    transcripts = settings.transcripts.path or state_dir() / "transcripts.db"
    return Plan(
        settings=settings,
        persona=persona,
        rules=rules,
        model=model,
        classifier=classifier,
        classifier_lora=str(lora) if lora is not None else None,
        transcripts=transcripts if settings.transcripts.enabled else None,
    )

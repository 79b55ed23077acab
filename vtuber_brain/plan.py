"""What can be known before anything starts: settings, persona, rules and models, checked together in one pass."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from vtuber_brain import models
from vtuber_brain.config import Settings, load, state_dir
from vtuber_brain.context.personas import Persona, load_persona
from vtuber_brain.errors import ConfigError, Problem
from vtuber_brain.exposure import unguarded
from vtuber_brain.own_blocklist import own_list
from vtuber_brain.releases.store import ReleaseStore
from vtuber_brain.sections import SentimentSettings, TranscriptsSettings
from vtuber_brain.sentiment.rules import RuleSet

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything a daemon is started from. `model` is a folder or a hub id; None: the servers of [remote] have it."""

    settings: Settings
    persona: Persona
    rules: RuleSet
    model: str | None
    releases: ReleaseStore
    classifier: str | None
    classifier_lora: str | None
    transcripts: Path | None

    @property
    def model_name(self) -> str:
        """What makes the words, as the operator named it."""
        return self.settings.model.path if self.model is not None else self.settings.remote.model


def make_plan(config: Path | None) -> Plan:
    """Read and check everything. Raises ConfigError with the problems of all files together."""
    settings = load(config)
    problems = [*unguarded(settings), *_unusable(settings.transcripts)]

    def collected(step: Callable[[], T], setting: str = "") -> T | None:
        try:
            return step()
        except ConfigError as error:
            problems.extend(
                replace(one, where=f"{setting}: {one.where}" if setting else one.where) for one in error.problems
            )
            return None

    sentiment = settings.sentiment
    persona = collected(lambda: load_persona(settings.persona.name, settings.persona.dir))
    rules = collected(lambda: rules_for(sentiment, persona))
    is_local = settings.engine.kind == "local"
    model = collected(lambda: models.resolve(settings.model.path), "model.path") if is_local else None
    classifier = collected(lambda: models.resolve(sentiment.model), "sentiment.model") if sentiment.enabled else None
    if problems or persona is None or rules is None:
        raise ConfigError(problems)
    lora = sentiment.lora or models.own_lora(sentiment.model)
    transcripts = settings.transcripts.path or state_dir() / "transcripts.db"
    return Plan(
        settings=settings,
        persona=persona,
        rules=rules,
        model=model,
        releases=ReleaseStore(state_dir() / "personas"),
        classifier=classifier,
        classifier_lora=str(lora) if lora is not None else None,
        transcripts=transcripts if settings.transcripts.enabled else None,
    )


def _unusable(transcripts: TranscriptsSettings) -> Iterator[Problem]:
    """What is no place for a file, today and tomorrow."""
    path = transcripts.path or state_dir() / "transcripts.db"
    if not transcripts.enabled:
        return
    try:
        if path.is_dir():
            yield Problem(str(path), "a directory", "Name a file with transcripts.path")
        blocking = next(parent for parent in path.absolute().parents if parent.exists())
        if not blocking.is_dir():
            fix = "Move it, or name another"
            yield Problem(str(blocking), "no directory, and the transcripts' folder should be", fix)
    except OSError as error:
        yield Problem(str(path), f"cannot be looked at ({error.strerror})", "Name a file where the daemon may write")


def rules_for(sentiment: SentimentSettings, persona: Persona | None) -> RuleSet:
    """The rules of the settings with the persona's own lists and languages, all files read anew. Raises ConfigError.

    Where the settings name no block list, the operator's own one in the state folder counts beside the one that ships.
    """
    own = own_list(sentiment)
    added = own if own != sentiment.blocklist and _may_be_there(own) else None
    if persona is None:
        return RuleSet.load(sentiment, own=added)
    lists = {"blocklist": persona.blocklist, "allowlist": persona.allowlist, "own": added}
    return RuleSet.load(sentiment, languages=persona.languages, **lists)


def _may_be_there(path: Path) -> bool:
    """Whether there is such a file; of one that cannot even be looked at, who reads it will say so."""
    try:
        return path.exists()
    except OSError:
        return True

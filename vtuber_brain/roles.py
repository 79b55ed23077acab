"""What a persona speaks with, and the name of a persona together with it: pure values, and the rule that chooses."""

from dataclasses import dataclass
from pathlib import Path

from vtuber_brain.context.personas import Persona
from vtuber_brain.errors import ConfigError, Problem
from vtuber_brain.releases.store import BASE, Release, ReleaseStore


@dataclass(frozen=True, slots=True)
class Weights:
    """What a persona speaks with: the base model, or a release by name, or a PEFT directory by path."""

    release: str | None = None
    path: Path | None = None
    published: Release | None = None


@dataclass(frozen=True, slots=True)
class Role:
    """Somebody who can be on stage: a persona with the base model (release and lora None) or one release of hers.

    `lora` is what the engine calls it.
    """

    persona: Persona
    release: str | None = None
    lora: str | None = None

    @property
    def label(self) -> str:
        """What names it to people, and its prompt's beginning to the engine."""
        return f"{self.persona.name}@{self.release or BASE}"


def choose(persona: Persona, release: str | None, store: ReleaseStore, base: str | None = None) -> Weights:
    """What `release` means: a name in the store, a PEFT directory (with a slash), or `base`.

    None: the current release, else the persona file's lora, else the base model. A lora in her file whose manifest
    names another base than `base` is left aside: she may be lent to any model. Raises ConfigError.
    """
    if release is None and store.current(persona.name) is None and _fits(persona.lora, base):
        release = str(persona.lora)
    if release == BASE:
        return Weights()
    if release is not None and "/" in release:
        return Weights(by_name(release), Path(by_name(release)))
    found = store.find(persona.name, release) if release is not None else store.current(persona.name)
    return Weights(found.name, found.path, found) if found is not None else Weights()


def _fits(lora: Path | None, base: str | None) -> bool:
    if lora is None:
        return False
    manifest = Release("", lora.name, lora).manifest or {}
    made_for = manifest.get("base")
    named = made_for.get("name") if isinstance(made_for, dict) else None
    return base is None or not named or named == base


def by_name(release: str) -> str:
    """What a release is called in a role: its name, or the absolute path of a PEFT directory. Raises ConfigError."""
    try:
        return str(Path(release).expanduser().absolute()) if "/" in release else release
    except RuntimeError:
        fix = "Write the whole path of the PEFT directory"
        raise ConfigError([Problem(f"release {release}", "~ names the home of a user who is not there", fix)]) from None

"""The file that says which hotkey or expression of the model shows a mood or a cue. Read, checked; nothing is sent."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

SMILES: Mapping[str, float] = {"negative": 0.2, "neutral": 0.5, "positive": 0.8}
"""How much she smiles in a mood of which the file says nothing, 0 to 1."""


@dataclass(frozen=True, slots=True)
class Action:
    """What shows one mood or cue; `key` is its place in the file. `again`: the hotkey is triggered at the end, too.

    Of `hotkey` and `expression` one is set.
    """

    key: str
    hotkey: str | None
    expression: str | None
    again: bool
    fade_s: float

    @property
    def has_end(self) -> bool:
        """Whether anything is to be done when the mood or the cue is over."""
        return self.again or self.expression is not None


@dataclass(frozen=True, slots=True)
class Moves:
    """The file's contents: actions and smiles by mood, actions by cue."""

    moods: Mapping[str, Action] = field(default_factory=dict)
    cues: Mapping[str, Action] = field(default_factory=dict)
    smiles: Mapping[str, float] = field(default_factory=lambda: SMILES)

    @property
    def actions(self) -> list[Action]:
        """Every action, moods first."""
        return [*self.moods.values(), *self.cues.values()]


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    hotkey: str | None = Field(None, min_length=1, max_length=256)
    expression: str | None = Field(None, pattern=r"^[^/\\]+\.exp3\.json$")
    again: bool = False
    fade_s: float = Field(0.25, ge=0, le=2)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.hotkey is not None and self.expression is not None:
            raise ValueError("give hotkey or expression, not both")
        if self.again and self.hotkey is None:
            raise ValueError("again goes with a hotkey")
        return self

    def action(self, key: str) -> Action | None:
        if self.hotkey is None and self.expression is None:
            return None
        return Action(key, self.hotkey, self.expression, self.again, self.fade_s)


class _Mood(_Entry):
    smile: float | None = Field(None, ge=0, le=1)


class _Cue(_Entry):
    @model_validator(mode="after")
    def _shows(self) -> Self:
        if self.hotkey is None and self.expression is None:
            raise ValueError("give hotkey or expression")
        return self


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    mood: dict[Literal["negative", "neutral", "positive"], _Mood] = Field(default_factory=dict)
    cue: dict[str, _Cue] = Field(default_factory=dict)


def read(path: Path | None) -> Moves:
    """The moves of a file; None has none. Raises ValueError with every problem, each by the file and the key."""
    if path is None:
        return Moves()
    try:
        file = _File.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from error
    except ValidationError as error:
        found = error.errors(include_input=False, include_url=False)
        raise ValueError("; ".join(f"{path}: {_place(item['loc'])}: {item['msg']}" for item in found)) from None
    except (ValueError, RecursionError) as error:  # not UTF-8, not TOML, or brackets without end
        raise ValueError(f"{path}: {error}") from error
    smiles: dict[str, float] = {name: mood.smile for name, mood in file.mood.items() if mood.smile is not None}
    return Moves(_actions("mood", file.mood), _actions("cue", file.cue), {**SMILES, **smiles})


def _actions(table: str, entries: Mapping[Any, _Entry]) -> dict[str, Action]:
    return {name: action for name, entry in entries.items() if (action := entry.action(f"{table}.{name}"))}


def _place(loc: tuple[int | str, ...]) -> str:
    return ".".join(str(part) for part in loc if part != "[key]")

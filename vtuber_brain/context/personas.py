"""A persona's file: who she is, how she talks, what she may show on her face, and what she never talks about.

Read once at start and at reload; every problem of a file is reported at once. Holds no weights and no memory.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from vtuber_brain.config import shipped
from vtuber_brain.errors import ConfigError, Problem
from vtuber_brain.messages import Sentiment
from vtuber_brain.sections import Filter
from vtuber_brain.voice_sections import PersonaVoice

CueName = Annotated[str, Field(pattern=r"^[a-z][a-z_]{0,23}$")]
Line = Annotated[str, Field(min_length=1, max_length=500, pattern=r"\S")]
_PATHS = ("lora", "blocklist", "allowlist")
_CUE = re.compile(r"\[([a-z_]+)\]")
LanguageCode = Annotated[str, Field(pattern=r"^[a-z]{2}$")]
Topic = Annotated[str, Field(max_length=100, pattern=r"^[^\W_](?:[\w' -]*[^\W_])?\*?$")]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Style(_Table):
    """`[style]` how long she talks."""

    max_words: Annotated[int, Field(ge=1)] = Field(40, description="words she aims at; a hint for training and checks")
    max_tokens: Annotated[int, Field(ge=1)] = Field(96, description="tokens after which a reply is ended")


class Cues(_Table):
    """`[cues]` what the avatar can show."""

    names: tuple[CueName, ...] = Field((), description="cues she may write as [name]")
    default: CueName | None = Field(None, description="shown with a reply that has no cue of its own")
    moods: dict[Sentiment, CueName] = Field(
        {}, description="by mood of the message (negative, neutral, positive), shown instead of the default"
    )

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if len(set(self.names)) != len(self.names):
            raise ValueError("names holds a cue twice")
        if self.default is not None and self.default not in self.names:
            raise ValueError(f"default is none of the names: {', '.join(self.names) or 'there are none'}")
        if unknown := set(self.moods.values()) - set(self.names):
            raise ValueError(f"moods holds cues that are not in names: {', '.join(sorted(unknown))}")
        return self


class Sampling(_Table):
    """`[sampling]` how the next token is chosen; fields as in the engine's request."""

    temperature: Annotated[float, Field(ge=0, le=5)] = Field(0.8, description="0 is greedy")
    top_k: Annotated[int, Field(ge=0)] = Field(0, description="only the k likeliest tokens; 0: off")
    top_p: Annotated[float, Field(gt=0, le=1)] = Field(0.95, description="only the likeliest tokens up to this share")
    min_p: Annotated[float, Field(ge=0, le=1)] = Field(0.0, description="only tokens this likely against the likeliest")
    repetition_penalty: Annotated[float, Field(gt=0, le=5)] = Field(
        1.1, description="over 1 avoids what was said; 1: off"
    )
    seed: int | None = Field(
        None, description="the same seed and prompt give the same reply; unset: a new one each time"
    )


class Example(_Table):
    """`[[examples]]` a turn that every prompt begins with, the surest way to show a small model a manner."""

    heard: Annotated[
        str, Field(min_length=1, max_length=500, pattern=r"\S", description="a viewer's turn, `Name: text`")
    ]
    says: Line = Field(description="her answer, cues included")


class Persona(_Table):
    """One character. `system` is the whole system message, the same bytes for every viewer and mood."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,31}$", description="the file's name, also in the bus's topics")
    display_name: str = Field(min_length=1, max_length=32, pattern=r"^\S(.*\S)?$", description="what she is called")
    language: str = Field(pattern=r"^[a-z]{2,3}(-[A-Za-z0-9]{2,8})*$", description="a BCP 47 tag, such as en or id")
    system: Annotated[str, Field(min_length=1, max_length=8000, pattern=r"\S", description="the system message")]
    style: Style = Style()
    cues: Cues = Cues()
    examples: tuple[Example, ...] = ()
    sampling: Sampling = Sampling()
    blocked_topics: tuple[Topic, ...] = Field(
        (), description="words and phrases she does not say; a final * as in the block list"
    )
    safe_lines: tuple[Line, ...] = Field((), description="what she may say when a reply was held back")
    canned: tuple[Line, ...] = Field(
        (), description="what she says now and then while there is no engine to answer (`speech.canned_every_s`)"
    )
    musings: tuple[Line, ...] = Field(
        (), description="directions that have her speak on her own when nobody writes; none: she does not"
    )
    stop: tuple[Annotated[str, Field(min_length=1, max_length=100)], ...] = Field(
        (), description="strings that end a reply"
    )
    blocklist: Path | None = Field(
        None, description="words blocked for her beside the general list; a file, relative to this one"
    )
    allowlist: Path | None = Field(
        None, description="words allowed for her, which win over blocked ones; a file, relative to this one"
    )
    filter: Filter = Filter()
    languages: Annotated[tuple[LanguageCode, ...], Field(min_length=1)] = Field(
        ("en", "id"), description="codes of the languages she answers"
    )
    lora: Path | None = Field(
        None, description="a PEFT directory, relative to this file, until a release is current; unset: the base model"
    )
    voice: PersonaVoice = PersonaVoice()

    @model_validator(mode="after")
    def _only_known_cues(self) -> Self:
        lines = [*self.safe_lines, *self.canned, *(example.says for example in self.examples)]
        unknown = {cue for line in lines for cue in _CUE.findall(line)} - set(self.cues.names)
        if unknown:
            raise ValueError(
                f"safe_lines, canned and examples use cues that are not in cues.names: {', '.join(sorted(unknown))}"
            )
        return self


def load_persona(name_or_path: str, directory: Path | None = None) -> Persona:
    """The persona `NAME` of `directory` (None: those that ship), or of the file whose path is given.

    Raises ConfigError with every problem of the file; for an unknown name it lists the personas there are.
    """
    folder = directory or shipped("configs", "personas")
    is_path = name_or_path.endswith(".toml") or "/" in name_or_path
    path = Path(name_or_path) if is_path else folder / f"{name_or_path}.toml"
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError([_unknown(name_or_path, path, folder, is_path=is_path)]) from None
    except OSError as error:
        raise ConfigError([Problem(str(path), error.strerror or "cannot be read", "Make it readable")]) from None
    except (ValueError, RecursionError) as error:  # not UTF-8, not TOML, a number of no end, or brackets of no end
        raise ConfigError([Problem(str(path), f"not TOML: {error}", "Mend the file at the place named")]) from None
    return _persona(path, table)


def personas(directory: Path | None = None) -> list[str]:
    """The names of the personas in `directory` (None: those that ship), sorted; none when there is no such folder."""
    return sorted(path.stem for path in (directory or shipped("configs", "personas")).glob("*.toml"))


def _persona(path: Path, table: Mapping[str, Any]) -> Persona:
    problems = list(_wrong_name(path, table))
    try:
        persona = Persona(**table)
    except ValidationError as error:
        problems += [_problem(path, dict(item)) for item in error.errors(include_input=False, include_url=False)]
        raise ConfigError(problems) from None
    if problems:
        raise ConfigError(problems)
    given = {key: getattr(persona, key) for key in _PATHS}
    return persona.model_copy(update={key: (path.parent / value).absolute() for key, value in given.items() if value})


def _wrong_name(path: Path, table: Mapping[str, Any]) -> Iterator[Problem]:
    name = table.get("name")
    if isinstance(name, str) and name != path.stem:
        yield Problem(f"{path}: name", f"{name!r} is not the file's name", f"Write {path.stem!r}, or rename the file")


def _problem(path: Path, item: Mapping[str, Any]) -> Problem:
    key = ".".join(str(part) for part in item["loc"])
    if item["type"] == "extra_forbidden":
        return Problem(f"{path}: {key}", "unknown key", "Remove it, or look for its right name in mori.toml")
    what = re.sub(r"^Value error, ", "", item["msg"])
    return Problem(f"{path}: {key}", what, "configs/personas/mori.toml shows every key")


def _unknown(name: str, path: Path, folder: Path, *, is_path: bool) -> Problem:
    if is_path:
        return Problem(str(path), "no such file", "Give the path of a persona file, or a persona's name")
    there = ", ".join(personas(folder))
    fix = f"Choose one of: {there}" if there else f"Put {path.name} into {folder}"
    return Problem(f"persona.name: {name}", f"no such persona in {folder}", fix)

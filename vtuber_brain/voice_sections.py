"""The section of the voice, and what a persona's file says of hers; apart from the others only for want of room."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

from vtuber_brain.sections import Count, Port, Seconds, Section

EngineName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,31}$")]
Factor = Annotated[float, Field(ge=0.5, le=2)]
Command = Annotated[list[str], Field(min_length=1)]

BUILT_IN = ("hibari", "espeak", "piper")


class PersonaVoice(BaseModel):
    """`[voice]` of a persona's file: with what, in which voice, how fast and how high she speaks."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    engine: EngineName | None = Field(None, description="engine for the languages it speaks; unset: by voice.engines")
    voice: Annotated[str, Field(max_length=200, pattern=r"^[^-\s]\S*$")] | None = Field(
        None, description="the engine's name of a voice (piper: the path of its .onnx); unset: the engine's own"
    )
    speed: Factor = Field(1.0, description="pace; 1 is the engine's own")
    pitch: Factor = Field(1.0, description="height; 1 is the engine's own")


class VoiceSettings(Section):
    """`[voice]` what speaks the sentences of the bus: `vtuber-brain voice`, a process of its own (docs/voice.md)."""

    enabled: bool = Field(False, description="whether `run` starts the voice too and ends it with itself")
    host: str = Field("127.0.0.1", description="address of the overlay page")
    port: Port = Field(8767, description="port of the overlay page; 0 takes a free one")
    token: SecretStr | None = Field(None, description="token of the page's address; required when host is not loopback")
    output: Literal["overlay", "device", "files"] = Field(
        "overlay", description="who plays: the pages of the overlay, a sound device, or WAV files"
    )
    engines: dict[str, EngineName] = Field(
        {"en": "hibari", "id": "espeak"}, description="engine by language; any other language is spoken by fallback"
    )
    fallback: str = Field("espeak", description="engine tried when another fails; empty: none, the sentence is skipped")
    commands: dict[str, Command] = Field(
        {}, description="further engines: a program that reads text on stdin and writes a WAV to stdout"
    )
    timeout_s: Seconds = Field(10, description="how long an engine may take for one sentence")
    ahead: Annotated[int, Field(ge=1, le=6)] = Field(3, description="sentences made and not yet played to the end")
    queue: Count = Field(64, description="sentences waiting; when full the oldest reply not begun is skipped")
    late_s: Seconds = Field(20, description="a reply not begun so long after its sentence came is skipped")
    patience_s: Seconds = Field(3, description="a player silent for so long after a sentence was due is given up on it")
    avatar: str = Field("drawn", description="drawn, the path of a PNGtuber folder, or of a .vrm file")
    theme: Literal["glass", "paper", "contrast"] = Field("glass", description="look of the overlay")
    device: str = Field("", description="output device, by name or number; empty: the system's own")
    folder: Path | None = Field(None, description="where output files puts them; unset: voice in the state folder")
    keep_files: Count = Field(1000, description="WAV files kept; the oldest go first")

    @field_validator("commands")
    @classmethod
    def _not_built_in(cls, commands: dict[str, list[str]]) -> dict[str, list[str]]:
        if taken := sorted(set(commands) & {"hibari"}):
            raise ValueError(f"{', '.join(taken)} is built in")
        return commands

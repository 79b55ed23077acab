"""What the operator may order over the bus, and the answer each order gets. Never touches a socket."""

import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from vtuber_brain.bus.payload import MAX_INCOMING_BYTES, Outgoing, Text, parse


class Command(BaseModel):
    """What every command has; a key that is not known is refused, so that no command is half obeyed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str | None = Field(None, max_length=128, description="comes back in the answer")


class Mute(Command):
    """Say nothing until `unmute`."""

    command: Literal["mute"]


class Unmute(Command):
    """Speak again."""

    command: Literal["unmute"]


class Skip(Command):
    """Cut what is being said."""

    command: Literal["skip"]


class Say(Command):
    """Speak this text; it passes the output gate like any sentence."""

    command: Literal["say"]
    text: str = Field(max_length=2000, pattern=r"\S", description="what to say")


PersonaName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,31}$", description="the persona's name")]
ReleaseName = Annotated[
    str | None, Field(min_length=1, max_length=4096, description="a release, the path of a PEFT directory, or base")
]


class UsePersona(Command):
    """Bring a persona on stage. No release: her current one, else the lora her file names, else the base model."""

    command: Literal["persona"]
    name: PersonaName
    release: ReleaseName = None


class Personas(Command):
    """List who is on stage, who stands ready, and every persona with her releases."""

    command: Literal["personas"]


class Show(Command):
    """Tell about one persona."""

    command: Literal["show"]
    name: PersonaName


class Preload(Command):
    """Have a persona ready behind the stage; no release as in `persona`."""

    command: Literal["preload"]
    name: PersonaName
    release: ReleaseName = None


class DropRelease(Command):
    """Take a persona's release out of the engine; no release: all of hers that are idle."""

    command: Literal["drop"]
    name: PersonaName
    release: ReleaseName = None


class Sleep(Command):
    """Let running replies end and give the device's memory back, until `wake`."""

    command: Literal["sleep"]


class Wake(Command):
    """Come back from `sleep`."""

    command: Literal["wake"]


MessageId = Annotated[str, Field(min_length=1, max_length=200, description="the message's id, as its source gave it")]
SourceName = Annotated[str | None, Field(max_length=64, description="where it came from; null: wherever")]


class Held(Command):
    """List the messages that wait for a human's decision."""

    command: Literal["held"]


class Allow(Command):
    """Let a held message be answered."""

    command: Literal["allow"]
    message_id: MessageId
    source: SourceName = None


class Deny(Command):
    """Deny a held message."""

    command: Literal["deny"]
    message_id: MessageId
    source: SourceName = None


class Reload(Command):
    """Read the settings' thresholds, the lists and the persona anew, as SIGHUP does."""

    command: Literal["reload"]


Control = Annotated[
    Mute
    | Unmute
    | Skip
    | Say
    | UsePersona
    | Personas
    | Show
    | Preload
    | DropRelease
    | Sleep
    | Wake
    | Held
    | Allow
    | Deny
    | Reload,
    Field(discriminator="command"),
]


QUICK = (Mute, Unmute, Skip, Held, Allow, Deny, Personas, Show)
"""Those that wait for nothing but this process: obeyed in their order, and before any of the others is done."""


class ControlResult(Outgoing):
    """The answer to one command; every message on `control` gets exactly one."""

    id: Text | None = Field(description="the command's id, null where it had none or could not be read")
    command: Text | None = Field(description="the command, null where it could not be read")
    ok: bool = Field(description="whether it was done")
    code: Text = Field(description="ok, bad_message, stale, busy, timeout, failed, or a code of the command's own")
    detail: Text = Field(description="for people")
    data: dict[str, Any] | None = Field(None, description="what was asked for, where the command asks")


_CONTROL: TypeAdapter[Control] = TypeAdapter(Control)


def parse_control(payload: bytes) -> Control:
    """The operator's command. Raises WireError for anything else; `refusal` answers that."""
    return parse(_CONTROL, payload)


def answer(
    control: Control, code: str = "ok", detail: str = "", *, data: dict[str, Any] | None = None
) -> ControlResult:
    """The answer to a command that was understood; every code but `ok` says that it was not done."""
    return ControlResult(id=control.id, command=control.command, ok=code == "ok", code=code, detail=detail, data=data)


def refusal(payload: bytes, code: str, detail: str) -> ControlResult:
    """The answer to what was not understood, or not looked at, with as much of its id and command as can be read."""
    try:
        found = json.loads(payload[:MAX_INCOMING_BYTES])
    except (ValueError, RecursionError):
        found = None
    known = found if isinstance(found, dict) else {}
    name, command = (value[:128] if isinstance(value := known.get(key), str) else None for key in ("id", "command"))
    return ControlResult(id=name, command=command, ok=False, code=code, detail=detail)

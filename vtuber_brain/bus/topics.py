"""Every topic of the bus and every payload on it: names, delivery, JSON in both directions. Never touches a socket.

`python -m vtuber_brain.bus.topics [FOLDER]` writes the JSON Schema of each payload (docs/schemas by default).
"""

import json
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from vtuber_brain.bus.control import Control, ControlResult
from vtuber_brain.bus.payload import Outgoing, Text, encodable, parse
from vtuber_brain.messages import ChatMessage, Cue, Event, Outcome, Played, Sentiment, State, Turn, Utterance

VERSION = "v1"
MAX_SEGMENT_CHARS = 64

_UNSAFE = re.compile(r"[#+/$\s\x00-\x1f\x7f-\x9f]")


class Status(Outgoing):
    """How the brain is. Retained: the latest is what every new subscriber gets first."""

    state: State = Field(description="offline is also the last will, sent by the broker when the daemon is lost")
    persona: Text = Field(description="who is on stage")
    release: Text | None = Field(None, description="the persona's lora in use; null: the base model")
    engine: Text | None = Field(None, description="what makes the words")
    since: float | None = Field(None, description="Unix seconds at which the state began; null in the last will")


class CuePayload(Outgoing):
    """An avatar expression or motion, to be shown now."""

    name: Text = Field(description="one of the persona's cues")
    intensity: float = Field(description="0 to 1")
    for_ms: int = Field(description="how long, in milliseconds")


class InReplyTo(Outgoing):
    """The viewer's message that is being answered."""

    source: Text = Field(description="where it came from")
    message_id: Text = Field(description="the source's id of it")
    author: Text = Field(description="the viewer's shown name")
    text: Text = Field(description="what the viewer wrote, as it came")


class UtterancePayload(Outgoing):
    """One sentence to speak. Sentences of a reply come in order; the same (reply_id, seq) may come twice."""

    reply_id: Text = Field(description="the reply it belongs to")
    seq: int = Field(description="0, 1, 2, ... within the reply")
    text: Text = Field(description="the sentence, with cues taken out")
    cue: CuePayload | None = Field(description="what the avatar shows with it; also sent on `cue`")
    mood: Sentiment | None = Field(description="the classifier's view of the sentence")
    lang: Text = Field(description="BCP 47 language of the sentence, for the choice of a voice")
    final: bool = Field(description="no further sentence of this reply will follow")
    in_reply_to: InReplyTo | None = Field(description="null when nobody was answered (say)")
    created_at: float = Field(description="Unix seconds")
    persona: Text = Field(description="who says it")
    release: Text | None = Field(description="her lora; null: the base model")


class ReplyPayload(Outgoing):
    """What became of a reply, when it is over; once more if it is then taken back, or skipped while it still sounds."""

    reply_id: Text = Field(description="the reply")
    outcome: Outcome = Field(description="retracted: stop speaking it and forget it")
    text: Text = Field(description="all of it, as generated; empty when retracted")
    heard_text: Text = Field(description="the part known to have been played; empty when retracted")
    persona: Text = Field(description="whose reply it was")
    release: Text | None = Field(description="the lora that made it; null: the base model")
    reason: Text | None = Field(description="stable code, when the outcome is not `spoken`")
    timings: dict[str, float] = Field(description="milliseconds by stage")


class Playback(BaseModel):
    """The voice says what it does with one sentence."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    reply_id: str = Field(min_length=1, max_length=128, description="of the utterance")
    seq: int = Field(ge=0, description="of the utterance")
    state: Played = Field(description="what happened to it")
    at: float = Field(description="Unix seconds")


@dataclass(frozen=True, slots=True)
class Channel:
    """How one topic is delivered and what it carries: the brain reads `incoming`; `fleeting` is worthless when late."""

    model: Any
    qos: Literal[0, 1] = 1
    retain: bool = False
    incoming: bool = False
    fleeting: bool = False


CHANNELS: Mapping[str, Channel] = {
    "status": Channel(Status, retain=True),
    "utterance": Channel(UtterancePayload, fleeting=True),
    "cue": Channel(CuePayload, qos=0, fleeting=True),
    "reply": Channel(ReplyPayload),
    "playback": Channel(Playback, incoming=True),
    "control": Channel(Control, incoming=True),
    "control/result": Channel(ControlResult),
}

_PLAYBACK: TypeAdapter[Playback] = TypeAdapter(Playback)


def topic(prefix: str, persona: str, channel: str) -> str:
    """The full name of a topic: PREFIX/PERSONA/v1/CHANNEL, with the persona's name made safe for a topic."""
    return f"{prefix}/{segment(persona)}/{VERSION}/{channel}"


def segment(name: str) -> str:
    """`name` as one level of a topic: wildcards, slashes, spaces and control characters become `_`."""
    return _UNSAFE.sub("_", encodable(name))[:MAX_SEGMENT_CHARS] or "_"


def publications(event: Event) -> Iterator[tuple[str, Outgoing]]:
    """What an event becomes on the bus: pairs of channel and payload, in order; nothing for judgements and drops."""
    match event:
        case Utterance():
            yield "utterance", utterance(event)
            if event.cue is not None:
                yield "cue", cue(event.cue)
        case Cue():
            yield "cue", cue(event)
        case Turn():
            yield "reply", reply(event)


def cue(value: Cue) -> CuePayload:
    """The payload of a cue."""
    return CuePayload(name=value.name, intensity=value.intensity, for_ms=value.for_ms)


def utterance(value: Utterance) -> UtterancePayload:
    """The payload of a sentence."""
    return UtterancePayload(
        reply_id=value.reply_id,
        seq=value.seq,
        text=value.text,
        cue=cue(value.cue) if value.cue else None,
        mood=value.mood,
        lang=value.lang,
        final=value.final,
        in_reply_to=answered(value.in_reply_to) if value.in_reply_to else None,
        created_at=value.created_at,
        persona=value.persona,
        release=value.release,
    )


def answered(value: ChatMessage) -> InReplyTo:
    """The message that is being answered, as a sentence names it."""
    return InReplyTo(source=value.source, message_id=value.id, author=value.author.name, text=value.text)


def reply(value: Turn) -> ReplyPayload:
    """The payload of a reply that is over; the words of one that was taken back are not said again."""
    gone = value.outcome == "retracted"
    return ReplyPayload(
        reply_id=value.reply_id,
        outcome=value.outcome,
        text="" if gone else value.text,
        heard_text="" if gone else value.heard_text,
        persona=value.persona,
        release=value.release,
        reason=value.reason,
        timings=dict(value.timings_ms),
    )


def parse_playback(payload: bytes) -> Playback:
    """The player's word. Raises WireError for anything else."""
    return parse(_PLAYBACK, payload)


def schemas() -> dict[str, dict[str, Any]]:
    """The JSON Schema of each channel's payload, by file name without `.json`."""
    found = {}
    for name, channel in CHANNELS.items():
        mode: Literal["validation", "serialization"] = "validation" if channel.incoming else "serialization"
        schema = TypeAdapter(channel.model).json_schema(mode=mode)
        schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
        schema.setdefault("title", name.capitalize())
        found[name.replace("/", "_")] = schema
    return found


if __name__ == "__main__":
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "docs/schemas")
    for name, schema in schemas().items():
        folder.joinpath(f"{name}.json").write_text(json.dumps(schema, indent=2) + "\n", encoding="utf-8")

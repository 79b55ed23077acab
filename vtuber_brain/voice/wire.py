"""What the voice and the overlay's pages say to each other over their WebSocket: frames, both ways. Pure.

To a page go JSON texts; a `sentence` is followed at once by one binary frame, four bytes of `audio_id` (little-endian),
then PCM s16le, mono, at the sample rate of the `hello`. docs/voice.md has every field.
"""

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from vtuber_brain.bus.payload import parse
from vtuber_brain.bus.topics import CuePayload, Status, UtterancePayload
from vtuber_brain.errors import WireError
from vtuber_brain.voice.sound import RATE, STEP_MS, Clip

MAX_PAGE_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Face:
    """Who is on stage, as a page shows her; `lang` is a BCP 47 tag."""

    persona: str
    display_name: str
    lang: str


class _FromPage(BaseModel):
    model_config = ConfigDict(frozen=True, allow_inf_nan=False)


class PageReady(_FromPage):
    """The page has drawn itself; `audio` is whether the browser lets it sound."""

    type: Literal["ready"]
    audio: bool


class PagePlayback(_FromPage):
    """What the page does with a sentence; `position_ms` is how far it came."""

    type: Literal["playback"]
    reply_id: str = Field(min_length=1, max_length=128)
    seq: int = Field(ge=0)
    state: Literal["started", "finished", "skipped"]
    at: float
    position_ms: float = 0


class Pong(_FromPage):
    """The page is alive."""

    type: Literal["pong"]
    t: float | None = None


FromPage = Annotated[PageReady | PagePlayback | Pong, Field(discriminator="type")]

_FROM_PAGE: TypeAdapter[FromPage] = TypeAdapter(FromPage)


def from_page(text: str) -> FromPage:
    """A page's frame. Raises WireError for anything else."""
    data = text.encode("utf-8", "replace")
    if len(data) > MAX_PAGE_BYTES:
        raise WireError(f"{len(data)} bytes, over the limit of {MAX_PAGE_BYTES}")
    return parse(_FROM_PAGE, data)


def hello(face: Face, *, is_muted: bool, theme: str, avatar: Mapping[str, Any]) -> str:
    """The first frame; and again when somebody else comes on stage."""
    who = {"persona": face.persona, "display_name": face.display_name, "lang": face.lang}
    look = {"theme": {"name": theme}, "sample_rate": RATE, "avatar": dict(avatar)}
    return _frame("hello", **who, muted=is_muted, **look)


def sentence(said: UtterancePayload, sound: Clip, audio_id: int) -> tuple[str, bytes]:
    """The text frame and the binary one of a sentence."""
    about = said.in_reply_to
    text = _frame(
        "sentence",
        reply_id=said.reply_id,
        seq=said.seq,
        text=said.text,
        lang=said.lang,
        mood=said.mood,
        cue=said.cue.model_dump() if said.cue is not None else None,
        in_reply_to={"author": about.author, "text": about.text} if about is not None else None,
        final=said.final,
        duration_ms=round(1000 * sound.duration_s, 3),
        mouth={"step_ms": STEP_MS, "open": sound.mouth.open, "shape": sound.mouth.shape},
        audio_id=audio_id,
    )
    return text, struct.pack("<I", audio_id) + sound.pcm


def cue(shown: CuePayload) -> str:
    """An expression or motion, now."""
    return _frame("cue", **shown.model_dump())


def skip(reply_id: str) -> str:
    """Nothing more of this reply, at once."""
    return _frame("skip", reply_id=reply_id)


def stop() -> str:
    """Silence at once, and nothing of what was sent."""
    return _frame("stop")


def status(how: Status) -> str:
    """How the brain is."""
    return _frame("status", state=how.state, persona=how.persona, release=how.release)


def ping(t: float) -> str:
    """Are you there?"""
    return _frame("ping", t=t)


def _frame(kind: str, **fields: Any) -> str:
    return json.dumps({"type": kind, **fields}, ensure_ascii=False, separators=(",", ":"))

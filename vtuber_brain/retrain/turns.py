"""A turn of the transcripts as words to learn from: what her prompt said of the message, and what was heard of her.

It decides which turns may ever leave the transcripts: none that was taken back, denied, or not heard.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from vtuber_brain.context.memory import Recalled
from vtuber_brain.context.personas import Persona, load_persona
from vtuber_brain.context.prompt import build, muse, opening
from vtuber_brain.errors import ConfigError
from vtuber_brain.messages import Author, ChatMessage, Kind, Mood, Outcome, Sentiment
from vtuber_brain.retrain.conversations import Message, Role
from vtuber_brain.sections import MemorySettings, PersonaSettings

HEARD = frozenset({"spoken", "cut"})
_ROLES: Mapping[str, Role] = {"system": "system", "user": "user", "assistant": "assistant"}


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, hide_input_in_errors=True, allow_inf_nan=False)


class _Author(_Part):
    id: str
    name: str
    roles: tuple[str, ...] = ()


class _Message(_Part):
    source: str
    id: str
    author: _Author
    kind: Kind
    amount: float
    text: str
    at: float
    retracted_at: float | None = None


class _Verdict(_Part):
    action: Literal["allow", "deny"]
    text: str
    sentiment: Sentiment | None = None
    scores: dict[str, float] | None = None
    toxicity: float | None = None


class _Reply(_Part):
    outcome: Outcome
    heard_text: str


class TurnRow(_Part):
    """What is needed of one line of `vtuber-brain transcripts export`."""

    stream: int
    reply_id: str
    at: float
    message: _Message | None
    verdict: _Verdict | None
    reply: _Reply
    musing: str | None = None
    num_asking: int = 1
    facts: tuple[str, ...] = ()
    persona: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,31}$")

    @property
    def left_out(self) -> str | None:
        """Why nothing is learnt from this turn; None where it may be."""
        message, verdict = self.message, self.verdict
        if self.reply.outcome == "retracted" or (message is not None and message.retracted_at is not None):
            return "retracted"
        if verdict is not None and verdict.action == "deny":
            return "denied"
        if message is None and not self.musing:
            return "no_message"
        if message is not None and verdict is None:
            return "not_judged"
        return None if self.reply.outcome in HEARD and self.reply.heard_text.strip() else "not_heard"


def read_turn(data: Mapping[str, Any]) -> TurnRow:
    """The turn of one exported line. Raises ValueError that begins with the field which is wrong."""
    try:
        return TurnRow.model_validate(data)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        raise ValueError(".".join(str(part) for part in first["loc"]) + f": {first['msg']}") from None


def exchange(turn: TurnRow, persona: Persona) -> tuple[Message, Message]:
    """What was said to her, as her prompt puts it, and what was heard of her answer. Only of turns not left out."""
    settings = MemorySettings()
    if turn.message is None or turn.verdict is None:
        assert turn.musing is not None
        prompt = muse(persona, Recalled(), turn.musing, settings)
    else:
        verdict = turn.verdict
        feels = verdict.sentiment is not None and verdict.scores is not None
        mood = Mood(verdict.sentiment or "neutral", verdict.scores or {}, verdict.toxicity) if feels else None
        message = _chat_message(turn.message, turn.num_asking)
        prompt = build(persona, Recalled(), turn.facts, message, verdict.text, mood, settings)
    return Message("user", prompt[-1]["content"]), Message("assistant", turn.reply.heard_text.strip())


def _chat_message(said: _Message, num_asking: int) -> ChatMessage:
    author = Author(said.author.id, said.author.name, said.author.roles)
    return ChatMessage(
        said.source,
        said.id,
        author,
        said.text,
        said.at,
        received_s=0.0,
        kind=said.kind,
        amount=said.amount,
        num_asking=num_asking,
    )


def beginning(persona: Persona) -> tuple[Message, ...]:
    """Her opening as messages whose answers are read but not learnt."""
    return tuple(
        Message(_ROLES[part["role"]], part["content"], float(part["role"] != "assistant")) for part in opening(persona)
    )


def persona_of(name: str, settings: PersonaSettings) -> Persona | None:
    """Her file as it is now; None where she has none any more, or none that can be read."""
    try:
        return load_persona(settings.name if Path(settings.name).stem == name else name, settings.dir)
    except ConfigError:
        return None


def stranger(name: str) -> Persona:
    """Someone without a file, for the shape of a turn; there is nothing in her opening."""
    return Persona(name=name, display_name=name.title(), language="en", system="-")

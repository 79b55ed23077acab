"""What travels through the brain: frozen values that every room may import and that import nothing of ours."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

Kind = Literal["chat", "cheer", "sub", "gift", "raid", "redeem", "follow", "announcement"]
Sentiment = Literal["negative", "neutral", "positive"]
Action = Literal["allow", "deny", "hold"]
Scope = Literal["message", "author", "all"]
Outcome = Literal["spoken", "cut", "retracted", "refused", "failed"]
Played = Literal["started", "finished", "skipped"]
State = Literal["online", "muted", "asleep", "degraded", "offline"]

MONEY_KINDS: frozenset[Kind] = frozenset({"cheer", "sub", "gift", "raid", "redeem"})
CANNED = "canned"
"""Why a reply failed in whose place a line was said that was written beforehand: nobody is to learn from that."""

CUT_AT_ONCE = frozenset({"skip", "muted", "outdated", "interrupted"})
"""Reasons for which a reply that was cut is not spoken to the end of what is there. Others only end it: what the gate
kept back was never there, and what goes with a restart was allowed."""

_UNIT_WORTH: Mapping[str, float] = {"cheer": 1, "sub": 300, "gift": 300, "raid": 10, "redeem": 1}


class Drop(StrEnum):
    """Why a message never reached the model; the closed list, stable across releases."""

    DUPLICATE = "duplicate"
    AUTHOR_RATE = "author_rate"
    INBOX_FULL = "inbox_full"
    TOO_OLD = "too_old"
    FOLDED = "folded"
    WAVE = "wave"
    COMBINED = "combined"
    BANNED = "banned"
    HELD = "held"
    PAUSED = "paused"
    RETRACTED = "retracted"
    MUTED = "muted"
    ASLEEP = "asleep"
    STOPPING = "stopping"


@dataclass(frozen=True, slots=True)
class Author:
    """A viewer, as the source names them; `id` is stable, `name` is what is shown."""

    id: str
    name: str
    roles: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ReplyTo:
    """The message of the same source that another one answers; `ours`: she had written it."""

    id: str
    author: Author
    text: str
    ours: bool = False


@dataclass(frozen=True, slots=True)
class Chosen:
    """Why this message was taken: its score, what that is made of, and how many waited, itself among them."""

    score: float
    parts: Mapping[str, float]
    num_waiting: int


@dataclass(frozen=True, slots=True)
class ChatMessage:
    """One thing a viewer did. `at` is Unix time in seconds; `received_s` is this process's monotonic clock.

    `emotes` are those words of the text that are pictures to the viewers; `num_asking` viewers said the same, and are
    answered together. `chosen`: why it was taken before those that waited with it.
    """

    source: str
    id: str
    author: Author
    text: str
    at: float
    received_s: float
    kind: Kind = "chat"
    amount: float = 0.0
    reply_to: ReplyTo | None = None
    emotes: tuple[str, ...] = ()
    num_asking: int = 1
    chosen: Chosen | None = None

    @property
    def key(self) -> tuple[str, str]:
        """What identifies the message in this process: its source and the source's id."""
        return self.source, self.id

    @property
    def num_units(self) -> float:
        """The amount; a sub or a gift that names none is one."""
        return self.amount if self.amount > 0 else float(self.kind in ("sub", "gift"))

    @property
    def worth(self) -> float:
        """What the event is worth in bits, roughly, so that events of different kinds can be compared; chat nothing."""
        return self.num_units * _UNIT_WORTH.get(self.kind, 0)

    @property
    def is_money(self) -> bool:
        """Whether this event travels in the lane that chat can never crowd out."""
        return self.kind in MONEY_KINDS


@dataclass(frozen=True, slots=True)
class Retraction:
    """A moderator took words back: one message, all of one author's, or the whole chat of a source.

    An author may speak again after `until` (Unix time in seconds); None: for good.
    """

    source: str
    scope: Scope
    target_id: str | None
    at: float
    until: float | None = None

    def covers(self, message: ChatMessage) -> bool:
        """Whether `message` is among what was taken back."""
        if message.source != self.source:
            return False
        match self.scope:
            case "message":
                return message.id == self.target_id
            case "author":
                return message.author.id == self.target_id and (self.until is None or message.at <= self.until)
            case "all":
                return message.at <= self.at


@dataclass(frozen=True, slots=True)
class Mood:
    """The classifier's view of a text: probabilities over the sentiments, and of toxicity where the model has it."""

    sentiment: Sentiment
    scores: Mapping[str, float]
    toxicity: float | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the filter says: the action, every reason code for it, the mood, and the text with its tricks removed.

    `hold`: neither; a human is to decide.
    """

    action: Action
    reasons: tuple[str, ...]
    text: str
    mood: Mood | None = None


@dataclass(frozen=True, slots=True)
class Cue:
    """An avatar expression or motion; intensity 0..1, lasting `for_ms` milliseconds."""

    name: str
    intensity: float = 1.0
    for_ms: int = 2000


@dataclass(frozen=True, slots=True)
class Utterance:
    """One spoken sentence. `seq` counts from 0 within its reply; `final` when no further one will follow.

    `persona` says it, with the weights of `release` (None: the base model).
    """

    reply_id: str
    seq: int
    text: str
    cue: Cue | None
    mood: Sentiment | None
    lang: str
    final: bool
    in_reply_to: ChatMessage | None
    created_at: float
    persona: str
    release: str | None


@dataclass(frozen=True, slots=True)
class Turn:
    """A message and what became of the reply to it. `heard_text` is the part known to have been played.

    `musing` is what had her speak on her own, when no message did. `facts` are those that plugins gave; together with
    `prompted_at` (Unix time) they let the prompt be built again.
    """

    reply_id: str
    message: ChatMessage | None
    outcome: Outcome
    text: str
    heard_text: str
    persona: str
    model: str
    release: str | None
    reason: str | None = None
    timings_ms: Mapping[str, float] = field(default_factory=dict)
    musing: str | None = None
    facts: tuple[str, ...] = ()
    prompted_at: float | None = None

    @property
    def ends_at_once(self) -> bool:
        """Whether the player leaves out what was not heard yet; else it comes to the end of what is there."""
        return self.outcome == "retracted" or (self.outcome == "cut" and self.reason in CUT_AT_ONCE)


@dataclass(frozen=True, slots=True)
class Judged:
    """The filter has spoken about a message."""

    message: ChatMessage
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Dropped:
    """A message ended without a reply and without a verdict that denied it."""

    message: ChatMessage
    reason: Drop


@dataclass(frozen=True, slots=True)
class Playback:
    """What the player says of one sentence: its `state` since `at` (Unix time in seconds)."""

    reply_id: str
    seq: int
    state: Played
    at: float


@dataclass(frozen=True, slots=True)
class Status:
    """How she is, and who is on stage. She may be muted and asleep at once: `state` tells one of them."""

    state: State
    muted: bool
    persona: str
    release: str | None


Incoming = ChatMessage | Retraction
Event = Judged | Dropped | Utterance | Cue | Turn
Notice = Playback | Status
"""What is told to plugins only: transcript and bus have it from elsewhere."""

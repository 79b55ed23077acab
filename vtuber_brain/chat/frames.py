"""Every frame of chat over WebSocket, as pydantic models: what a client may send, and what the server says.

A client's frames are strict (unknown fields are refused by name); the server's may gain fields, so those ignore what
they do not know. They carry no behaviour; docs/chat.md describes each.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from vtuber_brain.messages import Action, Drop, Kind, Outcome, Sentiment

MAX_ID_CHARS = 200
MAX_NAME_CHARS = 100
MAX_ROLES = 16
MAX_TEXT_CHARS = 4000
MAX_EMOTES = 100

ErrorCode = Literal["malformed_json", "bad_message", "too_long", "binary", "rate_limited", "unavailable"]
Acked = Literal["message", "delete", "ban", "clear", "subscribe"]

Id = Annotated[str, Field(min_length=1, max_length=MAX_ID_CHARS)]
Name = Annotated[str, Field(min_length=1, max_length=MAX_NAME_CHARS)]


class Frame(BaseModel):
    """What a client may send."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, hide_input_in_errors=True)


class AuthorBody(Frame):
    """Who wrote: `id` is stable, `name` is shown, `roles` are the client's words for what the viewer is."""

    id: Id
    name: Name
    roles: list[Name] = Field([], max_length=MAX_ROLES)


class ReplyToBody(Frame):
    """The message that another one answers; `ours`: she had written it."""

    id: Id
    author: AuthorBody
    text: str = Field("", max_length=MAX_TEXT_CHARS)
    ours: bool = False


class MessageFrame(Frame):
    """One thing a viewer did. `amount` is in the platform's own unit: bits, months, viewers, points.

    `emotes` are those words of the text that are pictures to the viewers.
    """

    type: Literal["message"] = "message"
    id: Id
    author: AuthorBody
    kind: Kind = "chat"
    text: str = Field(max_length=MAX_TEXT_CHARS)
    amount: float = Field(0, ge=0, allow_inf_nan=False)
    reply_to: ReplyToBody | None = None
    emotes: list[Name] = Field([], max_length=MAX_EMOTES)


class DeleteFrame(Frame):
    """Message `id` was taken back; it may not have arrived yet."""

    type: Literal["delete"] = "delete"
    id: Id


class BanFrame(Frame):
    """Everything of this author was taken back, and what still comes is not wanted, for `for_s` seconds or for good."""

    type: Literal["ban"] = "ban"
    author_id: Id
    for_s: float | None = Field(None, ge=0, allow_inf_nan=False)


class ClearFrame(Frame):
    """Everything so far was taken back."""

    type: Literal["clear"] = "clear"


class SubscribeFrame(Frame):
    """Stream me what becomes of the messages, and what is said."""

    type: Literal["subscribe"] = "subscribe"


ClientFrame = MessageFrame | DeleteFrame | BanFrame | ClearFrame | SubscribeFrame


class Answer(BaseModel):
    """What the server may send."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class AckFrame(Answer):
    """It is stored. `id` is the message's, the deleted message's or the banned author's."""

    type: Literal["ack"] = "ack"
    of: Acked
    id: str | None = None


class ErrorFrame(Answer):
    """A frame was not taken. `code` is stable, `detail` for people; `of` and `id` as in `AckFrame`, where known."""

    type: Literal["error"] = "error"
    code: ErrorCode
    detail: str
    of: Acked | None = None
    id: str | None = None


class WhyBody(Answer):
    """Why a message was taken before others: what its score is made of, how many waited, how many viewers say it."""

    score: float
    parts: dict[str, float]
    waiting: int
    asking: int


class VerdictFrame(Answer):
    """The filter has spoken. `author` is the name shown; `why` stands with a message that was chosen to be answered."""

    type: Literal["verdict"] = "verdict"
    id: str
    source: str
    action: Action
    reasons: list[str]
    mood: Sentiment | None
    scores: dict[str, float]
    toxicity: float | None
    author: str = ""
    why: WhyBody | None = None


class DroppedFrame(Answer):
    """A message ended without a verdict that denied it and without a reply. `author` is the name shown."""

    type: Literal["dropped"] = "dropped"
    id: str
    source: str
    reason: Drop
    author: str = ""


class CueBody(Answer):
    """An expression or motion; intensity 0..1, lasting `for_ms` milliseconds."""

    name: str
    intensity: float
    for_ms: int


class InReplyTo(Answer):
    """The message that is answered; `author` is the name shown."""

    source: str
    message_id: str
    author: str
    text: str


class UtteranceFrame(Answer):
    """One spoken sentence, as on the bus."""

    type: Literal["utterance"] = "utterance"
    reply_id: str
    seq: int
    text: str
    cue: CueBody | None
    mood: Sentiment | None
    lang: str
    final: bool
    in_reply_to: InReplyTo | None
    created_at: float


class CueFrame(CueBody):
    """An expression or motion of the avatar, as on the bus."""

    type: Literal["cue"] = "cue"


class ReplyFrame(Answer):
    """A reply has ended. `in_reply_to` is the id of the message, `timings` are in milliseconds."""

    type: Literal["reply"] = "reply"
    reply_id: str
    outcome: Outcome
    reason: str | None
    text: str
    in_reply_to: str | None
    source: str | None
    timings: dict[str, float]


class LostFrame(Answer):
    """The subscriber was too slow: `count` frames that would have stood here were dropped."""

    type: Literal["lost"] = "lost"
    count: int


EventFrame = VerdictFrame | DroppedFrame | UtteranceFrame | CueFrame | ReplyFrame
ServerFrame = AckFrame | ErrorFrame | EventFrame | LostFrame

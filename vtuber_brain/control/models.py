"""What is said over HTTP: every request and every answer, as OpenAPI shows them."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

MAX_ENTRIES = 1000
"""Each costs the event loop a fifth of a millisecond when the list is read anew."""

PersonaName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,31}$", description="the persona's name")]
ReleaseName = Annotated[
    str,
    Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$",
        description="the name of a published release, or base; never a path",
    ),
]
MessageId = Annotated[str, Field(min_length=1, max_length=200, description="the message's id, as its source gave it")]
SourceName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_:.-]{0,63}$", description="where it came from")]
AuthorId = Annotated[str, Field(min_length=1, max_length=200, description="the viewer's id at that source")]
ReplyId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$", description="the reply's id")]
Entry = Annotated[
    str, Field(min_length=2, max_length=100, description="a word or phrase; * at the end: longer ones too")
]


class Incoming(BaseModel):
    """A request's body; a key that is not known is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class SayBody(Incoming):
    """What she is to say, through the gate."""

    text: str = Field(max_length=2000, pattern=r"\S", description="what to say")


class RoleBody(Incoming):
    """Who, and with which weights. No release: her current one, else the lora her file names, else the base model."""

    name: PersonaName
    release: ReleaseName | None = None


class PreviewBody(RoleBody):
    """What she is asked; the answer is not published."""

    text: str = Field("Say hello to the chat!", max_length=500, pattern=r"\S", description="what a viewer would write")


class ChatBody(Incoming):
    """What somebody writes in chat, and as whom."""

    name: str = Field("operator", max_length=64, pattern=r"\S", description="the viewer's name")
    text: str = Field(max_length=2000, pattern=r"\S", description="what is written")


class DecisionBody(Incoming):
    """About which message, when several sources use one id."""

    source: SourceName | None = None


class EntryBody(Incoming):
    """One line of the block list."""

    entry: Entry


class EntriesBody(Incoming):
    """The whole of the block list."""

    entries: list[Entry] = Field(max_length=MAX_ENTRIES)


class RatingBody(Incoming):
    """The operator's opinion of a reply: good (1), bad (-1), or none any more (0)."""

    rating: Literal[-1, 0, 1]
    reason: str = Field("", max_length=500)


class EditBody(Incoming):
    """What she should have said; it approves of the reply so corrected."""

    text: str = Field(min_length=1, max_length=2000, pattern=r"\S")
    reason: str = Field("", max_length=500)


class Answer(BaseModel):
    """How a command went, as on the bus's `control/result`; also why a request was turned down."""

    ok: bool
    code: str = Field(description="stable; docs/control.md lists them")
    detail: str = Field("", description="for people")
    data: dict[str, Any] | None = Field(None, description="what the command tells")


class Alive(BaseModel):
    """The process answers."""

    status: Literal["ok"] = "ok"


class Readiness(BaseModel):
    """Whether she can talk, and if not, what stands against it."""

    ready: bool
    reasons: list[str] = Field(description="such as engine, classifier, gate, bus, muted, asleep, stopping, starting")


class OnStage(BaseModel):
    """A persona with her release; null: the base model."""

    persona: str
    release: str | None


class Queue(BaseModel):
    """Something that waits its turn."""

    waiting: int
    oldest_s: float = Field(description="how long its oldest has waited, seconds")


class ThoughtShown(BaseModel):
    """A reply on its way."""

    reply_id: str
    source: str | None = Field(description="of the message it answers; null: she speaks on her own")
    message_id: str | None
    persona: str
    release: str | None
    stage: str = Field(description="the last stage it has reached")
    age_s: float
    sentences: int = Field(description="said so far")


class State(BaseModel):
    """How she is."""

    state: Literal["online", "muted", "asleep", "degraded"]
    persona: str
    display_name: str
    release: str | None
    engine: str
    ready: bool
    reasons: list[str]
    down: dict[str, str] = Field(description="the parts that do not work, with the reason of each")
    queues: dict[str, Queue] = Field(description="chat, money, held, bus")
    thoughts: list[ThoughtShown]
    speaking: str | None = Field(description="the reply that has the floor")
    stopping: bool
    started_at: float = Field(description="Unix seconds")
    version: str


class PersonaShown(BaseModel):
    """A persona in the list."""

    name: str
    current: str | None
    releases: list[str]


class Personas(BaseModel):
    """Who is on stage, who stands ready, and every persona with her releases."""

    on_stage: OnStage
    ready: list[OnStage]
    max_loras: int
    personas: list[PersonaShown]


class PersonaDetail(BaseModel):
    """One persona."""

    name: str
    display_name: str
    language: str
    lora: str | None
    on_stage: OnStage | None
    ready: list[OnStage]
    current: str | None
    releases: list[str]
    manifests: dict[str, Any]


class HeldMessage(BaseModel):
    """A message that waits for a human."""

    id: str
    source: str
    author: str
    text: str
    reasons: list[str]
    age_s: float


class HeldList(BaseModel):
    """All of them, the longest held first."""

    held: list[HeldMessage]


class RatedReply(BaseModel):
    """A reply that was heard, and the operator's last word on it."""

    reply_id: str
    at: float = Field(description="Unix seconds")
    viewer: str | None
    said: str | None = Field(description="what it answers")
    heard_text: str
    rating: int | None = Field(description="1, -1, 0, or null: nothing was said of it yet")
    edited_text: str | None = Field(description="what she should have said")
    rated_by: str | None


class RatedReplies(BaseModel):
    """The newest first."""

    replies: list[RatedReply]


class Night(BaseModel):
    """The last night that has a report; null: there was none."""

    persona: str
    night: str | None
    report: str | None = Field(description="a whole HTML page; show it in a sandbox")


class BlockList(BaseModel):
    """The operator's own block list; what ships and a persona's own list apply beside it."""

    path: str
    entries: list[str]


class AuditEntry(BaseModel):
    """One action."""

    at: float = Field(description="Unix seconds")
    role: str = Field(description="viewer, moderator, owner, or bus")
    token: str = Field(description="the beginning of the token's sha256")
    address: str
    action: str
    arguments: dict[str, Any]
    outcome: str


class AuditPage(BaseModel):
    """The latest actions, the newest first."""

    entries: list[AuditEntry]

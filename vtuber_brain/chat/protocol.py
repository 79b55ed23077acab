"""From frames to the brain's own words and back. Pure: it knows no socket and no clock, and never repeats in an error
what a client wrote.
"""

from collections.abc import Mapping
from typing import Annotated, Any, get_args

from pydantic import Field, TypeAdapter, ValidationError
from pydantic_core import from_json

from vtuber_brain.chat.frames import (
    MAX_ID_CHARS,
    Acked,
    AckFrame,
    AuthorBody,
    BanFrame,
    ClearFrame,
    ClientFrame,
    CueBody,
    CueFrame,
    DeleteFrame,
    DroppedFrame,
    ErrorCode,
    ErrorFrame,
    EventFrame,
    InReplyTo,
    MessageFrame,
    ReplyFrame,
    ReplyToBody,
    ServerFrame,
    UtteranceFrame,
    VerdictFrame,
    WhyBody,
)
from vtuber_brain.messages import (
    Author,
    ChatMessage,
    Cue,
    Drop,
    Dropped,
    Event,
    Incoming,
    Judged,
    ReplyTo,
    Retraction,
    Turn,
    Utterance,
)

PATH = "/chat"
MAX_DETAIL_CHARS = 300
_TAGS = ", ".join(get_args(Acked))

_client: TypeAdapter[ClientFrame] = TypeAdapter(Annotated[ClientFrame, Field(discriminator="type")])
_message: TypeAdapter[MessageFrame] = TypeAdapter(MessageFrame)
_server: TypeAdapter[ServerFrame] = TypeAdapter(Annotated[ServerFrame, Field(discriminator="type")])


def parse(text: str) -> ClientFrame | ErrorFrame:
    """What a client sent, or the error to answer it with."""
    if (message := _plain_message(text)) is not None:
        return message
    try:
        data = from_json(text, allow_inf_nan=False)
    except ValueError as error:
        return ErrorFrame(code="malformed_json", detail=str(error)[:MAX_DETAIL_CHARS])
    try:
        return validate(data)
    except ValidationError as error:
        field, expected = first_problem(error)
        code: ErrorCode = "too_long" if error.errors()[0]["type"] in {"string_too_long", "too_long"} else "bad_message"
        of, frame_id = _names(data)
        return ErrorFrame(code=code, detail=f"{field}: {expected}"[:MAX_DETAIL_CHARS], of=of, id=frame_id)


def _plain_message(text: str) -> MessageFrame | None:
    """A message in which nothing is wrong, told three times as fast as by the union; nearly all are such."""
    try:
        frame = _message.validate_json(text)
    except ValidationError:
        return None
    return frame if "type" in frame.model_fields_set and frame.text.strip() else None


def validate(data: Any) -> ClientFrame:
    """The frame in decoded JSON. Raises ValidationError; `first_problem` puts it into words."""
    frame = _client.validate_python(data)
    if isinstance(frame, MessageFrame) and frame.kind == "chat" and not frame.text.strip():
        empty = {"type": "string_too_short", "loc": ("message", "text"), "input": "", "ctx": {"min_length": 1}}
        raise ValidationError.from_exception_data("MessageFrame", [empty])  # type: ignore[list-item]
    return frame


def first_problem(error: ValidationError) -> tuple[str, str]:
    """The field that is wrong and what was expected there; never what stood there."""
    problem = error.errors(include_input=False, include_url=False)[0]
    field = ".".join(str(part) for part in problem["loc"][1:]) or "frame"
    match problem["type"]:
        case "union_tag_invalid" | "union_tag_not_found":
            return "type", f"one of {_TAGS}"
        case "model_attributes_type" | "model_type" | "dict_type":
            return field, "a JSON object"
        case "missing":
            return field, "is missing"
        case "extra_forbidden":
            return field, "unknown field"
    return field, problem["msg"]


def incoming(
    frame: MessageFrame | DeleteFrame | BanFrame | ClearFrame, *, source: str, at: float, received_s: float
) -> Incoming:
    """The frame in the brain's words; `at` is Unix time, `received_s` the monotonic clock, both in seconds."""
    match frame:
        case MessageFrame():
            return ChatMessage(
                source,
                frame.id,
                _author(frame.author),
                frame.text,
                at,
                received_s,
                frame.kind,
                frame.amount,
                _reply_to(frame.reply_to),
                tuple(frame.emotes),
            )
        case DeleteFrame():
            return Retraction(source, "message", frame.id, at)
        case BanFrame():
            until = at + frame.for_s if frame.for_s is not None else None
            return Retraction(source, "author", frame.author_id, at, until)
        case ClearFrame():
            return Retraction(source, "all", None, at)


def ack(frame: ClientFrame) -> AckFrame:
    """The acknowledgement of a frame that is stored."""
    match frame:
        case MessageFrame() | DeleteFrame():
            return AckFrame(of=frame.type, id=frame.id)
        case BanFrame():
            return AckFrame(of="ban", id=frame.author_id)
        case _:
            return AckFrame(of=frame.type)


def event_frame(event: Event) -> EventFrame:
    """What a subscriber is told of one event."""
    match event:
        case Judged():
            return _verdict(event)
        case Dropped():
            return _dropped(event.message, event.reason)
        case Utterance():
            return _utterance(event)
        case Cue():
            return CueFrame(name=event.name, intensity=event.intensity, for_ms=event.for_ms)
        case Turn():
            return _reply(event)


def encode(frame: ClientFrame | ServerFrame) -> str:
    """One frame as JSON."""
    return frame.model_dump_json()


def parse_server(text: str) -> ServerFrame | None:
    """What the server sent; None for a frame of a kind this version does not know."""
    try:
        return _server.validate_json(text)
    except ValidationError:
        return None


def _dropped(message: ChatMessage, reason: Drop) -> DroppedFrame:
    return DroppedFrame(id=_utf8(message.id), source=message.source, reason=reason, author=_utf8(message.author.name))


def _why(message: ChatMessage) -> WhyBody | None:
    if (chosen := message.chosen) is None:
        return None
    return WhyBody(score=chosen.score, parts=dict(chosen.parts), waiting=chosen.num_waiting, asking=message.num_asking)


def _author(body: AuthorBody) -> Author:
    return Author(body.id, body.name, tuple(body.roles))


def _reply_to(body: ReplyToBody | None) -> ReplyTo | None:
    return ReplyTo(body.id, _author(body.author), body.text, body.ours) if body is not None else None


def _verdict(event: Judged) -> VerdictFrame:
    mood = event.verdict.mood
    return VerdictFrame(
        id=_utf8(event.message.id),
        source=event.message.source,
        action=event.verdict.action,
        reasons=list(event.verdict.reasons),
        mood=mood.sentiment if mood else None,
        scores=dict(mood.scores) if mood else {},
        toxicity=mood.toxicity if mood else None,
        author=_utf8(event.message.author.name),
        why=_why(event.message),
    )


def _utterance(event: Utterance) -> UtteranceFrame:
    cue = event.cue
    return UtteranceFrame(
        reply_id=event.reply_id,
        seq=event.seq,
        text=_utf8(event.text),
        cue=CueBody(name=cue.name, intensity=cue.intensity, for_ms=cue.for_ms) if cue else None,
        mood=event.mood,
        lang=event.lang,
        final=event.final,
        in_reply_to=_in_reply_to(event.in_reply_to),
        created_at=event.created_at,
    )


def _in_reply_to(message: ChatMessage | None) -> InReplyTo | None:
    if message is None:
        return None
    name, text = _utf8(message.author.name), _utf8(message.text)
    return InReplyTo(source=message.source, message_id=_utf8(message.id), author=name, text=text)


def _reply(event: Turn) -> ReplyFrame:
    message = event.message
    return ReplyFrame(
        reply_id=event.reply_id,
        outcome=event.outcome,
        reason=event.reason,
        text=_utf8(event.text) if event.outcome != "retracted" else "",
        in_reply_to=_utf8(message.id) if message else None,
        source=message.source if message else None,
        timings=dict(event.timings_ms),
    )


def _utf8(text: str) -> str:
    """Other sources may hand on lone surrogates, which no UTF-8 can carry."""
    return text.encode("utf-8", "replace").decode()


def _names(data: object) -> tuple[Acked | None, str | None]:
    """What a bad frame calls itself, as far as that can be believed."""
    if not isinstance(data, Mapping):
        return None, None
    of = next((kind for kind in get_args(Acked) if kind == data.get("type")), None)
    frame_id = data.get("author_id" if of == "ban" else "id")
    return of, frame_id if isinstance(frame_id, str) and len(frame_id) <= MAX_ID_CHARS else None

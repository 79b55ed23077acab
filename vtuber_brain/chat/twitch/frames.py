"""The frames of Twitch's EventSub over WebSocket, parsed. Pure, and ready for anything: what is no frame is Malformed.

https://dev.twitch.tv/docs/eventsub/websocket-reference/ describes them; fields we do not use are ignored.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from pydantic_core import from_json

MAX_ID_CHARS = 200

Id = Annotated[str, Field(min_length=1, max_length=MAX_ID_CHARS)]


@dataclass(frozen=True, slots=True)
class Welcome:
    """The session is open; subscriptions are made for its id."""

    session_id: str


@dataclass(frozen=True, slots=True)
class Alive:
    """Nothing happened, and the connection lives; also a frame of a type that we do not know."""


@dataclass(frozen=True, slots=True)
class Moved:
    """The session goes on at `url`, where it keeps its subscriptions."""

    url: str


@dataclass(frozen=True, slots=True)
class Revoked:
    """Twitch ended the subscription to `topic`, for a reason of its closed list."""

    topic: str
    reason: str


@dataclass(frozen=True, slots=True)
class Notice:
    """Something happened. `id` is the same when Twitch repeats it; `at` is Unix time, if Twitch told it."""

    id: str
    topic: str
    at: float | None
    event: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Malformed:
    """Not a frame."""


Frame = Welcome | Alive | Moved | Revoked | Notice | Malformed


class Body(BaseModel):
    """A part of what Twitch sends."""

    model_config = ConfigDict(extra="ignore", frozen=True, hide_input_in_errors=True)


class _Metadata(Body):
    message_id: Id
    message_type: str
    message_timestamp: AwareDatetime | None = None


class _Session(Body):
    id: Id
    reconnect_url: Annotated[str, Field(pattern=r"^wss?://")] | None = None


class _Subscription(Body):
    type: Id
    status: Annotated[str, Field(max_length=MAX_ID_CHARS)] = ""


class _Payload(Body):
    session: _Session | None = None
    subscription: _Subscription | None = None
    event: dict[str, Any] | None = None


class _Envelope(Body):
    metadata: _Metadata
    payload: _Payload = _Payload()


def parse_frame(data: str | bytes) -> Frame:
    """What one WebSocket message says."""
    try:
        envelope = _Envelope.model_validate(from_json(data))
    except ValueError:  # a ValidationError is one too
        return Malformed()
    return _frame(envelope.metadata, envelope.payload)


def _frame(metadata: _Metadata, payload: _Payload) -> Frame:
    session, subscription = payload.session, payload.subscription
    match metadata.message_type:
        case "session_welcome":
            return Welcome(session.id) if session is not None else Malformed()
        case "session_reconnect":
            url = session.reconnect_url if session is not None else None
            return Moved(url) if url is not None else Malformed()
        case "revocation":
            return Revoked(subscription.type, subscription.status) if subscription is not None else Malformed()
        case "notification":
            if subscription is None or payload.event is None:
                return Malformed()
            at = metadata.message_timestamp
            return Notice(metadata.message_id, subscription.type, at.timestamp() if at else None, payload.event)
    return Alive()

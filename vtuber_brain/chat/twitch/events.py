"""What happened on Twitch, in the brain's own words. Pure, and ready for anything: it never raises.

https://dev.twitch.tv/docs/eventsub/eventsub-reference/ describes the events. A gift bomb is one event with its count;
what belongs to another channel of a shared chat is left out; texts keep the names of their emotes.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from pydantic import ValidationError

from vtuber_brain.chat.twitch import shapes as shapes
from vtuber_brain.chat.twitch.frames import Notice
from vtuber_brain.messages import Author, ChatMessage, Kind, ReplyTo, Retraction

SOURCE = "twitch"
NOT_IN_CHAT = "event-"
"""Begins the ids of messages that do not stand in chat, so that nobody can reply to them there."""

MAX_EMOTES = 100
ANONYMOUS_CHEERER = ("407665396", "AnAnonymousCheerer")

_ROLES = {
    "broadcaster": "broadcaster",
    "lead_moderator": "moderator",
    "moderator": "moderator",
    "vip": "vip",
    "subscriber": "subscriber",
    "founder": "subscriber",
    "staff": "staff",
}


class Ignored(StrEnum):
    """Why an event is none of ours; a closed list."""

    MALFORMED = "malformed"
    UNKNOWN = "unknown"
    SHARED_CHAT = "shared_chat"
    GIFT_CHILD = "gift_child"
    NO_WORDS = "no_words"


@dataclass(frozen=True, slots=True)
class StreamState:
    """The stream began or ended, at Unix time `at`."""

    live: bool
    at: float


Understood = ChatMessage | Retraction | StreamState | Ignored


@dataclass(frozen=True, slots=True)
class Heard:
    """What a message needs beside its event: when it was sent (Unix time) and received (monotonic), who we are."""

    id: str
    at: float
    received_s: float
    our_id: str


def understand(notice: Notice, *, our_id: str, at: float, received_s: float) -> Understood:
    """What `notice` means to us, whose account is `our_id`.

    `at` stands in (Unix time) where Twitch gave no time; `received_s` is the monotonic clock.
    """
    read = _READERS.get(notice.topic)
    if read is None:
        return Ignored.UNKNOWN
    sent_at = notice.at if notice.at is not None else at
    try:
        return read(notice.event, Heard(notice.id, sent_at, received_s, our_id))
    except ValidationError:
        return Ignored.MALFORMED


def _chat_message(event: Mapping[str, Any], heard: Heard) -> Understood:
    chat = shapes.ChatMessage.model_validate(event)
    if chat.elsewhere:
        return Ignored.SHARED_CHAT
    kind: Kind = "redeem" if chat.channel_points_custom_reward_id else "chat"
    amount = 0
    if chat.cheer is not None:
        kind, amount = "cheer", chat.cheer.bits
    text = _words(chat.message, without=("cheermote",) if kind == "cheer" else ())
    if kind == "chat" and not text:
        return Ignored.NO_WORDS
    return ChatMessage(
        SOURCE,
        chat.message_id,
        _author(chat),
        text,
        heard.at,
        heard.received_s,
        kind,
        float(amount),
        reply_to=_reply_to(chat.reply, heard.our_id),
        emotes=_emotes(chat.message),
    )


def _notification(event: Mapping[str, Any], heard: Heard) -> Understood:
    note = shapes.Notification.model_validate(event)
    if note.elsewhere or note.notice_type.startswith("shared_chat_"):
        return Ignored.SHARED_CHAT
    if note.sub_gift is not None and note.sub_gift.community_gift_id:
        return Ignored.GIFT_CHILD
    kind, amount = _deed(note)
    text = _words(note.message)
    if kind in ("chat", "announcement") and not text:
        return Ignored.NO_WORDS
    author = _author(note)
    if note.raid is not None:
        author = Author(note.raid.user_id, note.raid.user_name or author.name)
    own_id, emotes = note.message_id, _emotes(note.message)
    return ChatMessage(SOURCE, own_id, author, text, heard.at, heard.received_s, kind, float(amount), emotes=emotes)


def _deed(note: shapes.Notification) -> tuple[Kind, int]:
    """What was done, and how much of it; a notice of a type that is news to us is what its author wrote with it."""
    match note.notice_type:
        case "sub" | "prime_paid_upgrade" | "gift_paid_upgrade":
            return "sub", 1
        case "resub":
            return "sub", note.resub.cumulative_months if note.resub is not None else 1
        case "sub_gift" | "pay_it_forward":
            return "gift", 1
        case "community_sub_gift":
            return "gift", note.community_sub_gift.total if note.community_sub_gift is not None else 1
        case "raid":
            return "raid", note.raid.viewer_count if note.raid is not None else 0
        case "announcement":
            return "announcement", 0
    return "chat", 0


def _follow(event: Mapping[str, Any], heard: Heard) -> Understood:
    return _beside_chat(heard.id, _user(shapes.User.model_validate(event)), "just followed", heard, "follow", 0)


def _cheer(event: Mapping[str, Any], heard: Heard) -> Understood:
    cheer = shapes.CheerEvent.model_validate(event)
    if cheer.is_anonymous or cheer.user_id is None:
        author = Author(*ANONYMOUS_CHEERER)
    else:
        author = Author(cheer.user_id, cheer.user_name or cheer.user_id)
    return _beside_chat(heard.id, author, cheer.message.strip(), heard, "cheer", cheer.bits)


def _redemption(event: Mapping[str, Any], heard: Heard) -> Understood:
    redemption = shapes.Redemption.model_validate(event)
    text = redemption.user_input.strip() or redemption.reward.title.strip()
    return _beside_chat(redemption.id, _user(redemption), text, heard, "redeem", redemption.reward.cost)


def _deleted(event: Mapping[str, Any], heard: Heard) -> Understood:
    return Retraction(SOURCE, "message", shapes.Deleted.model_validate(event).message_id, heard.at)


def _cleared_user(event: Mapping[str, Any], heard: Heard) -> Understood:
    # A ban or a timeout: Twitch itself keeps the viewer out for as long as it lasts, so what comes later is welcome.
    return Retraction(SOURCE, "author", shapes.Cleared.model_validate(event).target_user_id, heard.at, until=heard.at)


def _cleared(_: Mapping[str, Any], heard: Heard) -> Understood:
    return Retraction(SOURCE, "all", None, heard.at)


def _beside_chat(own_id: str, author: Author, text: str, heard: Heard, kind: Kind, amount: int) -> ChatMessage:
    name = f"{NOT_IN_CHAT}{own_id}"
    return ChatMessage(SOURCE, name, author, text, heard.at, heard.received_s, kind, float(amount))


def _author(chat: shapes.Chat) -> Author:
    badges = [badge.set_id for badge in chat.badges or ()]
    roles = tuple(dict.fromkeys(_ROLES[badge] for badge in badges if badge in _ROLES))
    return Author(chat.chatter_user_id, chat.chatter_user_name or chat.chatter_user_login or "anonymous", roles)


def _user(user: shapes.User) -> Author:
    return Author(user.user_id, user.user_name or user.user_login or "anonymous")


def _reply_to(reply: shapes.Reply | None, our_id: str) -> ReplyTo | None:
    if reply is None:
        return None
    author = Author(reply.parent_user_id, reply.parent_user_name or "anonymous")
    return ReplyTo(reply.parent_message_id, author, reply.parent_message_body, ours=author.id == our_id)


def _words(message: shapes.Message, without: Sequence[str] = ()) -> str:
    if not without or not message.fragments:
        return message.text.strip()
    kept = (fragment.text for fragment in message.fragments if fragment.type not in without)
    return " ".join("".join(kept).split())[: shapes.MAX_TEXT_CHARS]


def _emotes(message: shapes.Message) -> tuple[str, ...]:
    names = (fragment.text for fragment in message.fragments if fragment.type == "emote")
    return tuple(dict.fromkeys(names))[:MAX_EMOTES]


def _online(_: Mapping[str, Any], heard: Heard) -> Understood:
    return StreamState(live=True, at=heard.at)


def _offline(_: Mapping[str, Any], heard: Heard) -> Understood:
    return StreamState(live=False, at=heard.at)


_READERS: Mapping[str, Callable[[Mapping[str, Any], Heard], Understood]] = {
    "channel.chat.message": _chat_message,
    "channel.chat.notification": _notification,
    "channel.chat.message_delete": _deleted,
    "channel.chat.clear_user_messages": _cleared_user,
    "channel.chat.clear": _cleared,
    "channel.follow": _follow,
    "channel.cheer": _cheer,
    "channel.channel_points_custom_reward_redemption.add": _redemption,
    "stream.online": _online,
    "stream.offline": _offline,
}

"""What we subscribe to at Twitch, and the permission (scope) that each subscription needs. Facts only."""

from collections.abc import Iterable
from dataclasses import dataclass

READ_CHAT = "user:read:chat"
WRITE_CHAT = "user:write:chat"


@dataclass(frozen=True, slots=True)
class Topic:
    """One subscription type. `reader` is the condition's key for the account that reads, where it has one."""

    type: str
    version: str = "1"
    scope: str | None = None
    reader: str | None = None

    def condition(self, channel_id: str, account_id: str) -> dict[str, str]:
        """What to subscribe to: the channel's, as seen by the account."""
        condition = {"broadcaster_user_id": channel_id}
        return condition if self.reader is None else {**condition, self.reader: account_id}


def _chat(name: str) -> Topic:
    return Topic(f"channel.chat.{name}", scope=READ_CHAT, reader="user_id")


# What takes words back comes first, so that no message is read whose deletion would be missed.
CHAT_TOPICS = (
    _chat("message_delete"),
    _chat("clear_user_messages"),
    _chat("clear"),
    _chat("notification"),
    _chat("message"),
)
BROADCASTER_TOPICS = (
    Topic("stream.online"),
    Topic("stream.offline"),
    Topic("channel.follow", "2", scope="moderator:read:followers", reader="moderator_user_id"),
    Topic("channel.cheer", scope="bits:read"),
    Topic("channel.channel_points_custom_reward_redemption.add", scope="channel:read:redemptions"),
)
CHAT_SCOPES = (READ_CHAT, WRITE_CHAT)
BROADCASTER_SCOPES = tuple(topic.scope for topic in BROADCASTER_TOPICS if topic.scope is not None)


def scope_of(topic_type: str) -> str | None:
    """The scope that a subscription of this type needs, if any."""
    return next((topic.scope for topic in (*CHAT_TOPICS, *BROADCASTER_TOPICS) if topic.type == topic_type), None)


def login_command(scopes: Iterable[str]) -> str:
    """What to run so that Twitch allows `scopes` to us."""
    return "vtuber-brain twitch login" + (" --broadcaster" if set(scopes) & set(BROADCASTER_SCOPES) else "")

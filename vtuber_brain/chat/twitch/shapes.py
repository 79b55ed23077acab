"""The events of Twitch that we read, as pydantic models of those fields that we use. They carry no behaviour.

Texts that are too long are cut, numbers out of all reason refused.
"""

from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field

from vtuber_brain.chat.twitch.frames import Body, Id

MAX_TEXT_CHARS = 2000
MAX_NAME_CHARS = 100


def _cut(limit: int) -> AfterValidator:
    # What no UTF-8 can carry could not be stored or sent on.
    return AfterValidator(lambda text: text[:limit].encode("utf-8", "replace").decode())


_null_is_empty = BeforeValidator(lambda value: "" if value is None else value)
Text = Annotated[str, _null_is_empty, _cut(MAX_TEXT_CHARS)]
Name = Annotated[str, _null_is_empty, _cut(MAX_NAME_CHARS)]
Amount = Annotated[int, Field(ge=0, le=10**9)]


class Fragment(Body):
    """A run of a message's text: text, emote, cheermote or mention."""

    type: str
    text: Text = ""


class Message(Body):
    """What was written."""

    text: Text = ""
    fragments: tuple[Fragment, ...] = ()


class Badge(Body):
    """A sign beside a name."""

    set_id: str


class Cheer(Body):
    """Bits given with a message."""

    bits: Amount


class Reply(Body):
    """What a message answers."""

    parent_message_id: Id
    parent_message_body: Text = ""
    parent_user_id: Id
    parent_user_name: Name = ""


class Chat(Body):
    """What a chat message and a notification in chat have in common."""

    broadcaster_user_id: Id
    chatter_user_id: Id
    chatter_user_login: Name = ""
    chatter_user_name: Name = ""
    message_id: Id
    message: Message = Message()
    badges: tuple[Badge, ...] | None = None
    source_broadcaster_user_id: Id | None = None

    @property
    def elsewhere(self) -> bool:
        """Whether it was written in another channel of a shared chat."""
        return self.source_broadcaster_user_id not in (None, self.broadcaster_user_id)


class ChatMessage(Chat):
    """`channel.chat.message`."""

    cheer: Cheer | None = None
    reply: Reply | None = None
    channel_points_custom_reward_id: str | None = None


class Months(Body):
    """A subscription that goes on."""

    cumulative_months: Amount = 1


class SubGift(Body):
    """One subscription given; a child of a bomb names the bomb."""

    community_gift_id: str | None = None


class CommunityGift(Body):
    """A gift bomb."""

    total: Amount = 1


class Raid(Body):
    """Who comes, and with how many."""

    user_id: Id
    user_name: Name = ""
    viewer_count: Amount = 0


class Notification(Chat):
    """`channel.chat.notification`."""

    notice_type: str
    resub: Months | None = None
    sub_gift: SubGift | None = None
    community_sub_gift: CommunityGift | None = None
    raid: Raid | None = None


class User(Body):
    """A viewer; `channel.follow` is no more than that."""

    user_id: Id
    user_name: Name = ""
    user_login: Name = ""


class CheerEvent(Body):
    """`channel.cheer`."""

    is_anonymous: bool = False
    user_id: Id | None = None
    user_name: Name = ""
    message: Text = ""
    bits: Amount


class Reward(Body):
    """What channel points buy."""

    title: Text = ""
    cost: Amount = 0


class Redemption(User):
    """`channel.channel_points_custom_reward_redemption.add`."""

    id: Id
    user_input: Text = ""
    reward: Reward = Reward()


class Deleted(Body):
    """`channel.chat.message_delete`."""

    message_id: Id


class Cleared(Body):
    """`channel.chat.clear_user_messages`."""

    target_user_id: Id

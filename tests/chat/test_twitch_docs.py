"""docs/twitch.md says everything there is: settings, scopes, topics, roles, reasons, commands, limits."""

from pathlib import Path
from typing import get_args

import pytest

from vtuber_brain import twitch_commands
from vtuber_brain.chat.twitch import events as twitch_events
from vtuber_brain.chat.twitch import limits as twitch_limits
from vtuber_brain.chat.twitch import replies as twitch_replies
from vtuber_brain.chat.twitch.topics import BROADCASTER_SCOPES, BROADCASTER_TOPICS, CHAT_SCOPES, CHAT_TOPICS
from vtuber_brain.messages import Kind
from vtuber_brain.sections import TwitchSettings

PAGE = (Path(__file__).parents[2] / "docs" / "twitch.md").read_text("utf-8")
LEFT_OUT = ("duplicate", "own", "ignored_name", "malformed_frame", *twitch_events.Ignored)
WORDS = [
    *TwitchSettings.model_fields,
    *(topic.type for topic in (*CHAT_TOPICS, *BROADCASTER_TOPICS)),
    *(CHAT_SCOPES + BROADCASTER_SCOPES),
    *get_args(Kind),
    *twitch_events._ROLES.values(),
    *LEFT_OUT,
    *get_args(twitch_replies.Unsent),
]


@pytest.mark.parametrize("word", sorted(set(map(str, WORDS))))
def test_every_word_of_ours_stands_in_the_page(word):
    assert f"`{word}`" in PAGE or f"`twitch.{word}`" in PAGE


def test_every_command_stands_in_the_page():
    names = [name for name in twitch_commands.twitch if not name.startswith("-")]
    assert names
    assert all(f"| `vtuber-brain twitch {name}`" in PAGE for name in names)


def test_every_limit_stands_in_the_page():
    assert f"{twitch_limits.VIEWER_MESSAGES} messages in {twitch_limits.WINDOW_S:.0f} seconds" in PAGE
    assert f"a moderator {twitch_limits.MODERATOR_MESSAGES}" in PAGE
    assert f"at most {twitch_replies.MAX_CHARS} characters" in PAGE

"""Twitch in the whole daemon: a viewer writes there, she answers on the bus and in that chat; no login is no end."""

import sqlite3

import pytest

from tests.support.brokers import Collector
from tests.support.daemon import Daemon
from tests.support.twitch_mock import BOT_ID, CHANNEL_ID, CLIENT_ID, Answer, MockTwitch, said
from vtuber_brain.chat.twitch.tokens import FILE, Account, TokenFile

SETTINGS = f"""
[twitch]
enabled = true
channel = "mori_channel"
client_id = "{CLIENT_ID}"
reply_in_chat = "all"
"""
WRITING = "/helix/chat/messages"
# Read by Python at its start: the daemon has no setting for where Twitch is.
POINT = """
import warnings
warnings.simplefilter("ignore")
import twitchio.eventsub.websockets, twitchio.http
twitchio.http.Route.BASE = "{0.base}/helix/"
twitchio.http.Route.ID_BASE = "{0.base}/"
twitchio.eventsub.websockets.WSS = "{0.ws}"
"""


@pytest.fixture
async def twitch(tmp_path):
    async with MockTwitch(keepalive_s=5) as server:
        (tmp_path / "sitecustomize.py").write_text(POINT.format(server))
        yield server


def daemon(tmp_path):
    return Daemon(tmp_path, extra=SETTINGS, env={"PYTHONPATH": str(tmp_path)})


async def test_a_viewer_on_twitch_is_answered_there_what_is_deleted_is_marked_and_muted_she_writes_nothing(
    twitch, tmp_path
):
    scopes = ("user:read:chat", "user:write:chat")
    access, refresh = twitch.grant(BOT_ID, scopes)
    account = Account(BOT_ID, "mori_bot", access, refresh, scopes)
    TokenFile(tmp_path / "state" / FILE, CLIENT_ID).put(account)
    async with daemon(tmp_path) as running, Collector(running.bus_port) as bus:
        session = await twitch.subscribed()
        await session.notify("channel.chat.message", said("Hello Mori, how are you?", "m1"))
        await twitch.until(lambda: twitch.sent)
        twitch.fail(WRITING, *[Answer(429, headers={"Retry-After": "0.3"})] * 20)
        await session.notify("channel.chat.message", said("What do you sing today?", "m0"))
        await twitch.until(lambda: len(twitch.plans[WRITING]) < 20)
        for command in ("mute", "unmute"):
            await bus.send("vtuber/mori/v1/control", {"command": command})
        await bus.until(lambda: len(bus.on("control/result")) == 2)
        twitch.plans[WRITING].clear()
        deleted = {"broadcaster_user_id": CHANNEL_ID, "target_user_id": "77", "message_id": "m1"}
        await session.notify("channel.chat.message_delete", deleted)
        await session.notify("channel.chat.message", said("one more", "m2"))
        await twitch.until(lambda: len(twitch.sent) == 2)
        assert await running.stop() == 0
    assert [sent["reply_parent_message_id"] for sent in twitch.sent] == ["m1", "m2"]
    with sqlite3.connect(running.transcripts) as book:
        rows = book.execute("SELECT message_id, source, retracted_at IS NOT NULL FROM messages ORDER BY id").fetchall()
    assert rows == [("m1", "twitch", 1), ("m0", "twitch", 0), ("m2", "twitch", 0)]
    assert not any(secret in str(running.log) for secret in twitch.secrets())


async def test_without_a_login_the_rest_goes_on_and_says_what_to_run(twitch, tmp_path):
    async with daemon(tmp_path) as running:
        given_up = await running.event("source_given_up", source="twitch")
        assert given_up["reason"].endswith("vtuber-brain twitch login")
        assert await running.stop() == 0

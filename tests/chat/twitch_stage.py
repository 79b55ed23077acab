"""The Twitch source in front of the mock: real sockets, real twitchio, and an ear for everything that is delivered."""

import asyncio
import contextlib
from dataclasses import dataclass, field

from pydantic import SecretStr

from tests.support.twitch_mock import BOT_ID, CLIENT_ID, CLIENT_SECRET, DEADLINE_S, USERS, MockTwitch
from vtuber_brain.chat.twitch import http as twitch_http
from vtuber_brain.chat.twitch.source import TwitchChat
from vtuber_brain.chat.twitch.tokens import FILE, Account, TokenFile
from vtuber_brain.config import state_dir
from vtuber_brain.runtime.metrics import Metrics
from vtuber_brain.sections import TwitchSettings


@contextlib.asynccontextmanager
async def mocked(monkeypatch):
    """The mock, with twitchio pointed at it, and impatient retries."""
    monkeypatch.setattr(twitch_http, "FIRST_PAUSE_S", 0.1)
    async with MockTwitch() as server:
        server.point(monkeypatch)
        yield server


CHAT = ("user:read:chat", "user:write:chat")


def settings(**changed):
    fast = {"silence_s": 1.0, "timeout_s": 1.0, "retry_max_s": 1.0}
    given = {"enabled": True, "channel": "mori_channel", "client_id": CLIENT_ID, **fast, **changed}
    return TwitchSettings(client_secret=SecretStr(CLIENT_SECRET), **given)


def tokens():
    return TokenFile(state_dir() / FILE, CLIENT_ID)


def log_in(twitch, user_id=BOT_ID, scopes=CHAT, **grant):
    """An account that was logged in with `vtuber-brain twitch login`."""
    access, refresh = twitch.grant(user_id, scopes, **grant)
    login = next(name for name, its in USERS.items() if its == user_id)
    tokens().put(Account(user_id, login, access, refresh, scopes))


@dataclass
class Stage:
    """A running source; `delivered` in order, stored while `disk` is set, `states` of its parts."""

    chat: TwitchChat
    metrics: Metrics
    delivered: list = field(default_factory=list)
    states: list = field(default_factory=list)
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)
    disk: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task | None = None

    async def deliver(self, incoming):
        self.delivered.append(incoming)
        async with self.changed:
            self.changed.notify_all()
        await self.disk.wait()

    @property
    def texts(self):
        return [incoming.text for incoming in self.delivered if hasattr(incoming, "text")]

    async def heard(self, count):
        async with asyncio.timeout(DEADLINE_S), self.changed:
            await self.changed.wait_for(lambda: len(self.delivered) >= count)

    async def ended(self):
        """What ended the source."""
        async with asyncio.timeout(DEADLINE_S):
            return (await asyncio.gather(self.task, return_exceptions=True))[0]

    def metric(self, name, **labels):
        return self.metrics.registry.get_sample_value(name, labels) or 0.0


@contextlib.asynccontextmanager
async def on_stage(**changed):
    metrics, states = Metrics(), []
    chat = TwitchChat(settings(**changed), metrics, lambda part, up, reason: states.append((part, up, reason)))
    stage = Stage(chat, metrics, states=states)
    stage.disk.set()
    stage.task = asyncio.create_task(chat.run(stage.deliver), name="twitch_source")
    try:
        yield stage
    finally:
        stage.task.cancel()
        await asyncio.gather(stage.task, return_exceptions=True)
        left = [task.get_name() for task in asyncio.all_tasks() if task.get_name().startswith("twitch_")]
        assert not left, left

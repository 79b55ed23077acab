"""A chat server with a small brain behind it: real sockets, a real inbox, answers made up on the spot."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable

import pytest
from pydantic import SecretStr

from tests.support.inboxes import plain_inbox
from vtuber_brain.chat.websocket import WebSocketChat
from vtuber_brain.errors import Unavailable
from vtuber_brain.messages import (
    ChatMessage,
    Cue,
    Drop,
    Dropped,
    Incoming,
    Judged,
    Mood,
    Retraction,
    Turn,
    Utterance,
    Verdict,
)
from vtuber_brain.runtime.metrics import Metrics
from vtuber_brain.sections import ChatSettings, WebSocketSettings

DEADLINE_S = 20.0


class Brain:
    """Delivers into an inbox and answers what comes out; a text with "bad" is denied, one with "mute" unanswered."""

    def __init__(self, settings: WebSocketSettings, chat: ChatSettings) -> None:
        self.metrics = Metrics()
        self.chat = WebSocketChat(settings, self.metrics)
        self.inbox = plain_inbox(chat, self.metrics, on_drop=self._dropped)
        self.delivered: list[Incoming] = []
        self.arrived = asyncio.Condition()
        self.open = asyncio.Event()
        self.open.set()
        self.disk_full = False
        self.token = settings.token.get_secret_value() if settings.token else None
        self._drops: asyncio.Queue[Dropped] = asyncio.Queue()

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.chat.port}/chat"

    async def deliver(self, incoming: Incoming) -> None:
        await self.open.wait()
        if self.disk_full:
            raise Unavailable("no space left")
        self.delivered.append(incoming)
        async with self.arrived:
            self.arrived.notify_all()
        if isinstance(incoming, Retraction):
            self.inbox.retract(incoming)
        else:
            if self.inbox.admit(incoming) is None:
                self.inbox.put(incoming)

    async def has_delivered(self, count: int) -> None:
        async with asyncio.timeout(DEADLINE_S), self.arrived:
            await self.arrived.wait_for(lambda: len(self.delivered) >= count)

    async def think(self) -> None:
        while True:
            message = await self.inbox.take()
            bad = "bad" in message.text
            mood = Mood("negative" if bad else "positive", {"positive": 0.1 if bad else 0.9, "negative": 0.1}, 0.02)
            verdict = Verdict("deny" if bad else "allow", ("blocklist", "caps") if bad else (), message.text, mood)
            await self.chat.emit(Judged(message, verdict))
            if not bad and "mute" not in message.text:
                await self.answer(message)

    async def answer(self, message: ChatMessage) -> None:
        cue = Cue("smile")
        reply_id = f"reply-to-{message.id}"
        for seq, text in enumerate(("Hello there.", "Stay a while.")):
            await self.chat.emit(
                Utterance(
                    reply_id,
                    seq,
                    text,
                    cue if seq == 0 else None,
                    "positive",
                    "en",
                    seq == 1,
                    message,
                    time.time(),
                    "mori",
                    None,
                )
            )
        await self.chat.emit(cue)
        timings = {"first_utterance": 12.5}
        said = "Hello there. Stay a while."
        await self.chat.emit(Turn(reply_id, message, "spoken", said, said, "mori", "tiny", None, None, timings))

    async def publish_drops(self) -> None:
        while True:
            await self.chat.emit(await self._drops.get())

    def _dropped(self, message: ChatMessage, reason: Drop) -> None:
        self._drops.put_nowait(Dropped(message, reason))


@contextlib.asynccontextmanager
async def running(settings: WebSocketSettings, chat: ChatSettings) -> AsyncIterator[Brain]:
    brain = Brain(settings, chat)
    tasks = [
        asyncio.create_task(coroutine, name=name)
        for name, coroutine in (
            ("chat", brain.chat.run(brain.deliver)),
            ("think", brain.think()),
            ("drops", brain.publish_drops()),
        )
    ]
    try:
        async with asyncio.timeout(DEADLINE_S):
            await brain.chat.listening()
        yield brain
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@pytest.fixture
def serve() -> Callable[..., contextlib.AbstractAsyncContextManager[Brain]]:
    """A function that serves chat while its `async with` lasts, with the settings given."""

    def start(
        *, token: str | None = None, chat: dict | None = None, port: int = 0, **settings
    ) -> contextlib.AbstractAsyncContextManager:
        secret = SecretStr(token) if token else None
        # Tests send faster than people do.
        allowances = {"author_burst": 1000, "author_per_s": 1000, **(chat or {})}
        return running(WebSocketSettings(port=port, token=secret, **settings), ChatSettings(**allowances))

    return start


@pytest.fixture
async def brain(serve) -> AsyncIterator[Brain]:
    """Chat with the default settings on a free port."""
    async with serve() as started:
        yield started

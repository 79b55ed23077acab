"""Her replies, written into the chat they answer: the sink `twitch`. Never makes its caller wait.

A reply that was taken back before it was written is not written, and while she is muted none is. It keeps under
Twitch's limits by itself, for who exceeds them is not heard for a while.
"""

import asyncio
import time
from collections import deque
from dataclasses import dataclass
from typing import Literal, Protocol

import structlog

from vtuber_brain.chat.twitch.events import NOT_IN_CHAT, SOURCE
from vtuber_brain.chat.twitch.limits import Window
from vtuber_brain.chat.twitch.metrics import TwitchMetrics
from vtuber_brain.errors import Unavailable
from vtuber_brain.messages import ChatMessage, Event, Retraction, Turn, Utterance
from vtuber_brain.sections import TwitchSettings

log = structlog.get_logger(__name__)

MAX_CHARS = 500
MAX_OWN = 64
MAX_RETRACTIONS = 256
_TAKEN_BACK = "taken_back"

Unsent = Literal["queue_full", "stale", "retracted", "muted", "rejected", "unavailable"]


class Send(Protocol):
    """Writes into chat; a code when Twitch does not show it. Raises Unavailable."""

    async def __call__(self, text: str, reply_to: str | None, /) -> str | None:
        """Write `text`, as a reply to the message `reply_to`."""


@dataclass(frozen=True, slots=True)
class _Reply:
    message: ChatMessage
    text: str
    since_s: float


class TwitchReplies:
    """Queues finished turns; `run` writes them. When the queue is full its oldest is dropped (`queue_full`)."""

    name = "twitch"

    def __init__(self, settings: TwitchSettings, metrics: TwitchMetrics) -> None:
        self._settings, self._metrics = settings, metrics
        self._waiting: deque[_Reply] = deque()
        self._arrived = asyncio.Event()
        self._window = Window()
        self._sending: tuple[ChatMessage, asyncio.Task[str | None]] | None = None
        self._own: deque[str] = deque(maxlen=MAX_OWN)
        self._said: dict[str, list[str]] = {}
        self._retractions: deque[Retraction] = deque(maxlen=MAX_RETRACTIONS)
        self._muted = False

    async def emit(self, event: Event) -> None:
        """Gather the sentences of a reply; when its turn has ended well, queue it, if it is to be written."""
        if isinstance(event, Utterance):
            self._gather(event)
        elif isinstance(event, Turn):
            text = clip(" ".join(self._said.pop(event.reply_id, [])))
            if event.outcome == "spoken" and event.message is not None and text:
                self._queue(event.message, text)

    def _gather(self, said: Utterance) -> None:
        # A turn's own text has her cues in it, which are for the avatar.
        message = said.in_reply_to
        if message is not None and message.source == SOURCE and wanted(self._settings.reply_in_chat, message):
            self._said.setdefault(said.reply_id, []).append(said.text)
            while len(self._said) > MAX_OWN:
                self._said.pop(next(iter(self._said)))

    def _queue(self, message: ChatMessage, text: str) -> None:
        if any(retraction.covers(message) for retraction in self._retractions):
            self._drop("retracted")
            return
        if self._muted:
            self._drop("muted")
            return
        if len(self._waiting) >= self._settings.reply_queue:
            self._waiting.popleft()
            self._drop("queue_full")
        self._waiting.append(_Reply(message, text, time.monotonic()))
        self._arrived.set()

    def retract(self, retraction: Retraction) -> None:
        """Take back what answers words that were taken back, also what has yet to be queued."""
        self._retractions.append(retraction)
        kept = [reply for reply in self._waiting if not retraction.covers(reply.message)]
        for _ in range(len(self._waiting) - len(kept)):
            self._drop("retracted")
        self._waiting = deque(kept)
        if self._sending is not None and retraction.covers(self._sending[0]):
            self._sending[1].cancel()

    def mute(self, muted: bool) -> None:
        """Write nothing while muted: also what ended before is dropped, not kept for later."""
        self._muted = muted
        if not muted:
            return
        while self._waiting:
            self._waiting.popleft()
            self._drop("muted")
        if self._sending is not None:
            self._sending[1].cancel()

    def moderates(self, moderator: bool) -> None:
        """Whether our account is a moderator there, who may write more."""
        self._window.moderator = moderator

    def wrote(self, text: str) -> bool:
        """Whether `text` is what we wrote lately; once per time written."""
        plain = " ".join(text.split())
        named, _, rest = plain.partition(" ")
        for own in (plain, rest if named.startswith("@") else ""):  # Twitch puts the name before a reply
            if own in self._own:
                self._own.remove(own)
                return True
        return False

    async def run(self, send: Send) -> None:
        """Write what is queued, until cancelled."""
        while True:
            while self._waiting:
                if (wait_s := self._window.wait_s(time.monotonic())) > 0:
                    await asyncio.sleep(wait_s)
                    continue
                await self._write(self._waiting.popleft(), send)
            self._arrived.clear()
            await self._arrived.wait()

    async def _write(self, reply: _Reply, send: Send) -> None:
        now_s = time.monotonic()
        if now_s - reply.since_s > self._settings.reply_max_age_s:
            self._drop("stale")
            return
        self._window.note(now_s)
        self._own.append(reply.text)
        try:
            code = await self._send(reply, send)
        except Unavailable as error:
            log.warning("twitch_reply_unsent", reason=str(error))
            self._drop("unavailable")
            return
        if code is None:
            self._metrics.sent.inc()
        elif code == _TAKEN_BACK:
            self._drop("muted" if self._muted else "retracted")
        else:
            log.warning("twitch_reply_rejected", code=code)
            self._drop("rejected")
            self.wrote(reply.text)

    async def _send(self, reply: _Reply, send: Send) -> str | None:
        """Twitch may be busy, and is asked again; a retraction or a mute puts an end to that."""
        sending = asyncio.ensure_future(send(reply.text, answered(reply.message)))
        self._sending = reply.message, sending
        try:
            await asyncio.wait([sending])
        finally:
            self._sending = None
            sending.cancel()
            await asyncio.wait([sending])
        return _TAKEN_BACK if sending.cancelled() else sending.result()

    def _drop(self, reason: Unsent) -> None:
        self._metrics.unsent.labels(reason).inc()


def wanted(setting: Literal["off", "commands", "all"], message: ChatMessage) -> bool:
    """Whether the answer to `message` goes into chat; a name before a command does not matter."""
    if setting != "commands":
        return setting == "all"
    words = message.text.split()
    first = next((word for word in words if not word.startswith("@")), "")
    return first.startswith("!")


def answered(message: ChatMessage) -> str | None:
    """The id to reply to; None where chat shows no message that one could reply to."""
    in_chat = message.kind in ("chat", "cheer", "redeem") and not message.id.startswith(NOT_IN_CHAT)
    return message.id if in_chat else None


def clip(text: str) -> str:
    """`text` on one line of MAX_CHARS characters at most, cut at a word; never a command to Twitch or to other bots."""
    line = " ".join(text.split()).lstrip("/.! ")
    if len(line) <= MAX_CHARS:
        return line
    head = line[: MAX_CHARS - 1]
    cut = head if line[MAX_CHARS - 1] == " " else head.rpartition(" ")[0] or head
    return f"{cut.rstrip()}…"

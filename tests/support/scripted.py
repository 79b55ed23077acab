"""An engine that says what the test tells it to, piece by piece; honest to the same contract as the real one."""

import asyncio
import time

from vtuber_brain.engine.client import Request
from vtuber_brain.engine.wire import Done, Usage
from vtuber_brain.messages import Author, ChatMessage, Mood


class ScriptedEngine:
    """`script(request)` gives the pieces of a reply: text, an exception to raise, or an asyncio.Event to wait for."""

    def __init__(self, script):
        self.script, self.requests, self.left_early = script, [], 0
        self.finish_reason = "stop"

    async def wait_ready(self):
        return {}

    async def generate(self, request: Request):
        self.requests.append(request)
        ended = False
        try:
            for piece in self.script(request):
                await asyncio.sleep(0)
                match piece:
                    case str():
                        yield piece
                    case asyncio.Event():
                        await piece.wait()
                    case _:
                        raise piece
            ended = True
            yield Done("", self.finish_reason, Usage(1, 0, 1, 0.0, 0.0, 0.0))
        finally:
            self.left_early += not ended


class Collector:
    """A sink and a transcript that keep everything and let a test wait for it."""

    name = "collector"

    def __init__(self):
        self.events, self.records, self.changed = [], [], asyncio.Condition()
        self.fail_with = None

    async def emit(self, event):
        self.events.append(event)
        async with self.changed:
            self.changed.notify_all()

    async def record(self, event):
        if self.fail_with is not None:
            raise self.fail_with
        self.records.append(event)

    def of(self, kind):
        return [event for event in self.events if isinstance(event, kind)]

    async def until(self, condition, timeout_s=10):
        async with asyncio.timeout(timeout_s), self.changed:
            await self.changed.wait_for(lambda: condition(self))


async def calm(_text):
    """A classifier without toxicity or doubt."""
    return Mood("neutral", {"negative": 0.1, "neutral": 0.8, "positive": 0.1}, 0.01)


def message(text, author="nadia", number=None, **fields):
    """A chat message that has just arrived."""
    number = number if number is not None else text
    who = Author(author, author.title())
    fields = {"received_s": time.monotonic(), "at": time.time(), **fields}
    return ChatMessage("websocket", str(number), who, text, **fields)

"""An engine that says what the test tells it to, piece by piece; honest to the same contract as the real one."""

import asyncio
import time

from vtuber_brain.engine.api import Request
from vtuber_brain.engine.wire import Done, Usage
from vtuber_brain.errors import EngineDown, LoraRejected, RequestFailed
from vtuber_brain.messages import Author, ChatMessage, Mood


class ScriptedEngine:
    """`script(request)` gives the pieces of a reply: text, an exception to raise, or an asyncio.Event to wait for.

    A lora is any directory with an adapter_config.json; `loras` and `pins` hold what there is. `loading`, if set, is
    waited for by `load_lora`; `failing` is raised by it or by `pin`, once.
    """

    def __init__(self, script, max_loras=4):
        self.script, self.requests, self.left_early = script, [], 0
        self.finish_reason = "stop"
        self.max_loras, self.loras, self.pins = max_loras, {}, {}
        self.loading, self.failing = None, None
        self.awake = asyncio.Event()
        self.awake.set()

    @property
    def state(self):
        return "ready" if self.awake.is_set() else "asleep"

    async def run(self):
        await asyncio.Event().wait()

    async def wait_ready(self):
        await self.awake.wait()
        return {}

    async def generate(self, request: Request):
        self._check(request.lora)
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

    async def load_lora(self, name, path):
        if self.loading is not None:
            await self.loading.wait()
        self._fail_once()
        if not (path / "adapter_config.json").is_file():
            raise LoraRejected(f"{path}: no PEFT directory")
        if name not in self.loras and len(self.loras) >= self.max_loras:
            raise LoraRejected(f"all {self.max_loras} loras are taken")
        self.loras[name] = path

    async def drop_lora(self, name):
        self.loras.pop(name, None)
        self.pins = {pin: lora for pin, lora in self.pins.items() if lora != name}

    async def pin(self, name, messages, lora):
        if self.awake.is_set():
            self._check(lora)
        self._fail_once()
        self.pins[name] = lora

    async def sleep(self):
        self.awake.clear()

    async def wake(self):
        self.awake.set()

    def _fail_once(self):
        if self.failing is not None:
            failing, self.failing = self.failing, None
            raise failing

    def _check(self, lora):
        if not self.awake.is_set():
            raise EngineDown("the engine process is asleep")
        if lora is not None and lora not in self.loras:
            raise RequestFailed("unknown_lora", f"{lora!r} is not loaded")


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

    async def record(self, *events):
        if self.fail_with is not None:
            raise self.fail_with
        self.records += events

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

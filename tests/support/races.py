"""A whole brain in one process, slow in every place where words can be taken back, and the books of when they were.

Everything but the model, the classifier and the wire to the broker is real: chat over WebSocket, Twitch in front of the
mock, the pipeline, memory, transcripts, the bus's outbox. The model is the worst there could be: it repeats every word
of its prompt that it recognises.
"""

import asyncio
import contextlib
import json
import time

from websockets.asyncio.client import connect

from tests.support.inboxes import plain_inbox
from tests.support.race_books import GRACE_S, TEXT, WORD
from tests.support.scripted import ScriptedEngine, calm
from vtuber_brain.bus.mqtt import MqttBus
from vtuber_brain.cast import Cast
from vtuber_brain.chat.websocket import WebSocketChat
from vtuber_brain.config import Settings, state_dir
from vtuber_brain.context.memory import Memory
from vtuber_brain.context.personas import load_persona
from vtuber_brain.engine.wire import Done, Usage
from vtuber_brain.gate import Gate
from vtuber_brain.messages import Retraction
from vtuber_brain.pipeline import Pipeline
from vtuber_brain.publisher import Publisher
from vtuber_brain.releases.store import ReleaseStore
from vtuber_brain.replies import Mouth
from vtuber_brain.runtime.metrics import Metrics
from vtuber_brain.sentiment.judge import Judge
from vtuber_brain.sentiment.rules import RuleSet
from vtuber_brain.transcripts.store import Transcripts


class Parrot(ScriptedEngine):
    """Quotes its message in every sentence, and something of its past with it; takes its time before each piece."""

    def __init__(self, books):
        super().__init__(None)
        self.books, self.pipeline = books, None

    async def wait_ready(self):
        task = asyncio.current_task().get_name()
        thought = self.pipeline._thoughts.get(task.removeprefix("thought-"))
        if thought is not None:
            self.books.at(thought.message.text, "prompted")
        await self.books.dawdle(0.01)
        return {}

    async def generate(self, request):
        prompt = "\n".join(message["content"] for message in request.messages[1:])
        self.books.prompts.append((time.monotonic(), prompt))
        texts = TEXT.findall(prompt)
        own, past = texts[-1], self.books.random.choice(texts)
        self.books.at(own, "engine")
        await self.books.dawdle(0.01)
        pieces = ["[wave] You", f" said {own}", f" after {past}.", " Tell", f" me of {own}", f" and {past}!", " Bye."]
        for number, piece in enumerate(pieces):
            yield piece
            self.books.at(own, "first_token" if number == 0 else "sentence")
            await self.books.dawdle(0.002 if number else 0.008)
        yield Done("", "stop", Usage(1, 0, 1, 0.0, 0.0, 0.0))


class Slow:
    """A recall that remembers nothing, in no hurry."""

    name = "slow"

    def __init__(self, books):
        self.books = books

    async def recall(self, message):
        self.books.at(message.text, "recalling")
        await self.books.dawdle(0.01)
        return []


class Brain:
    """The daemon's parts around the parrot; `deliver` is what its sources are given."""

    def __init__(self, books, transcripts, websocket, twitch=None):
        self.books, self.transcripts, self.player = books, transcripts, asyncio.Queue()
        settings = Settings(
            speech={"idle_s": 0, "thinking": 6, "stale_s": 60},
            chat={"author_burst": 10_000, "max_age_s": 60, "capacity": 10_000},
            bus={"queue": 10_000},
            sentiment={"timeout_s": 5},
        )
        self.metrics = metrics = Metrics()
        self.chat = WebSocketChat(websocket, metrics)
        ignore = dict.fromkeys(("on_playback", "on_control", "on_state"))
        self.bus = MqttBus(settings.bus, "mori", metrics, **ignore)
        self.engine = Parrot(books)
        judge = Judge(settings.sentiment, RuleSet.load(settings.sentiment), self.ask, metrics)
        sinks = [self.bus, self.chat, *([twitch.replies] if twitch else [])]
        self.publisher = Publisher(self.record, sinks, metrics)
        self.memory = Memory(settings.memory)
        store = ReleaseStore(state_dir() / "personas")
        gate = Gate(judge, settings.speech, metrics, lambda *_: None)
        rooms = {"gate": gate, "engine": self.engine, "publisher": self.publisher}
        cast = Cast(load_persona("mori"), settings.persona, engine=self.engine, store=store, max_loras=2,
                    on_lora=lambda *_: None)  # fmt: skip
        self.cast = cast
        self.mouth = Mouth(cast, settings.speech, metrics, model="parrot", **rooms)
        self.inbox = plain_inbox(settings.chat, metrics, on_drop=self.dropped)
        self.pipeline = self.engine.pipeline = Pipeline(
            settings, metrics, inbox=self.inbox, judge=judge, memory=self.memory, cast=cast, mouth=self.mouth,
            publisher=self.publisher, recalls=[Slow(books)],
        )  # fmt: skip

    async def ask(self, text):
        gate = text.startswith(("You", "Tell", "Bye"))
        self.books.at(text.split(" after ")[0].split(" and ")[0], "gate" if gate else "judging")
        await self.books.dawdle()
        if gate:
            self.books.at(text.split(" after ")[0].split(" and ")[0], "floor")
        return await calm(text)

    async def record(self, *events):
        await self.transcripts.append(*events)
        await self.books.dawdle()

    def dropped(self, message, reason):
        for word in WORD.findall(message.text):
            self.books.runs[word].stage = "gone"
            self.books.runs[word].moved.set()
        self.publisher.drop(message, reason)

    async def deliver(self, incoming):
        if isinstance(incoming, Retraction):
            self.books.take_back(incoming)
        else:
            for word in WORD.findall(incoming.text):
                self.books.runs[word].received_s = time.monotonic()
            self.books.at(incoming.text, "inbox")
        await self.pipeline.receive(incoming)

    async def broker(self):
        """Takes what the bus has for it, at its own pace; sometimes its line breaks and it wants the last one again."""
        outbox = self.bus._outbox
        while True:
            one = await outbox.take()
            await self.books.dawdle(0.004)
            if self.books.random.random() < 0.05:
                outbox.put_back(one)
                continue
            outbox.settle()
            self.books.publish(f"bus/{one.channel}", one.payload.decode())
            payload = json.loads(one.payload)
            if one.channel == "utterance" and payload["in_reply_to"]:
                self.books.at(payload["in_reply_to"]["text"], "spoken")
            if one.channel in ("utterance", "reply"):
                self.player.put_nowait((one.channel, payload))

    async def play(self):
        """The voice: says what it has begun and ended, and forgets what was retracted."""
        retracted = set()
        while True:
            channel, payload = await self.player.get()
            if channel == "reply":
                words = WORD.findall(payload["text"])
                self.books.at(words[0] if words else "", "unplayed")
                retracted |= {payload["reply_id"]} if payload["outcome"] == "retracted" else set()
            elif payload["reply_id"] not in retracted:
                await self.pipeline.hear(payload["reply_id"], payload["seq"], "started")
                await self.books.dawdle(0.004)
                await self.pipeline.hear(payload["reply_id"], payload["seq"], "finished")
            else:
                await self.pipeline.hear(payload["reply_id"], payload["seq"], "skipped")
            if channel == "reply" and payload["outcome"] != "retracted" and words:
                await asyncio.sleep(0.005)
                self.books.at(words[0], "over")

    async def idle(self):
        """Return once nobody waits, thinks or is being told of."""
        async with asyncio.timeout(30):
            while len(self.inbox) or self.pipeline._thoughts or not self.publisher._later.empty():
                await asyncio.sleep(0.01)
            await self.bus._outbox.drained()
        await asyncio.sleep(2 * GRACE_S)


@contextlib.asynccontextmanager
async def alive(books, websocket, path, twitch=None, subscribers=2):
    """A brain that runs while the block lasts, with `subscribers` listening over WebSocket."""
    async with Transcripts.open(path, persona="mori", model="parrot", release=None) as transcripts:
        brain = Brain(books, transcripts, websocket, twitch)
        parts = [brain.pipeline.run(), brain.publisher.run(), brain.chat.run(brain.deliver), brain.broker()]
        parts += [brain.play(), books.pulse.run(), *([twitch.run(brain.deliver)] if twitch else [])]
        tasks = [asyncio.create_task(part) for part in parts]
        try:
            await brain.cast.open()
            url = f"ws://127.0.0.1:{await brain.chat.listening()}/chat"
            async with contextlib.AsyncExitStack() as stack:
                for number in range(subscribers):
                    ear = await stack.enter_async_context(connect(url))
                    await ear.send('{"type":"subscribe"}')
                    tasks.append(asyncio.create_task(_listen(ear, books, f"ws{number}")))
                yield brain, url
        finally:
            for task in tasks:
                task.cancel()
            ended = await asyncio.gather(*tasks, return_exceptions=True)
            assert all(one is None or isinstance(one, asyncio.CancelledError) for one in ended), ended


async def _listen(ear, books, name):
    with contextlib.suppress(asyncio.CancelledError):
        async for frame in ear:
            books.publish(name, frame)

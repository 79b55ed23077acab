"""What the voice's tests are made of: sentences of the bus, an engine that hums, and a page written in Python."""

import asyncio
import contextlib
import json
import struct
import time

import aiohttp
import numpy as np

from vtuber_brain.bus.topics import CuePayload, InReplyTo, ReplyPayload, Status, UtterancePayload
from vtuber_brain.voice.sound import RATE


def said(reply_id="r1", seq=0, text="Hello Wren!", **changes) -> UtterancePayload:
    """One sentence, as the bus has it."""
    fields = {
        "cue": CuePayload(name="smile", intensity=1.0, for_ms=2000),
        "mood": "positive",
        "lang": "en",
        "final": False,
        "in_reply_to": InReplyTo(source="websocket", message_id="m-1", author="Wren", text="hi Mori"),
        "created_at": 1_700_000_000.0,
        "persona": "mori",
        "release": None,
    }
    return UtterancePayload(**{"reply_id": reply_id, "seq": seq, "text": text, **fields, **changes})


def ended(reply_id="r1", outcome="spoken", reason=None) -> ReplyPayload:
    """What became of a reply."""
    fields = {"text": "", "heard_text": "", "persona": "mori", "release": None, "timings": {}}
    return ReplyPayload(reply_id=reply_id, outcome=outcome, reason=reason, **fields)


def state(name="online", persona="mori") -> Status:
    """The brain's status."""
    return Status(state=name, persona=persona)


class Hum:
    """An engine: a tone of `length_s(text)` seconds; `fails` is raised for texts that hold `trigger`."""

    def __init__(self, length_s=lambda text: 0.2, *, fails=None, trigger="", languages=("en", "id"), gate=None):
        self.length_s, self.fails, self.trigger, self.languages, self.gate = length_s, fails, trigger, languages, gate
        self.asked = []

    def speaks(self, lang):
        return lang.split("-")[0] in self.languages

    async def speak(self, text, lang, voice, speed):
        self.asked.append((text, lang, voice, speed))
        if self.gate is not None:
            await self.gate.wait()
        if self.fails is not None and self.trigger in text:
            raise self.fails
        times = np.arange(round(self.length_s(text) * RATE)) / RATE
        return (0.3 * np.sin(2 * np.pi * 220 * times)).astype(np.float32)

    async def close(self):
        pass


class Player:
    """A page: keeps what it is sent and, unless `mute`d of hands (`plays=False`), plays it by its own clock.

    Its clock runs `speed` times as fast as ours; `frames` are those that came, `sounds` the audio by (reply_id, seq).
    """

    def __init__(self, socket, *, plays=True, audio=True, speed=1.0):
        self.socket, self.plays, self.audio, self.speed = socket, plays, audio, speed
        self.frames, self.sounds, self.came, self.acks = [], {}, {}, []
        self.num_bytes = {}
        self.changed = asyncio.Condition()
        self.queue = asyncio.Queue()
        self.gone = set()
        self.playing = None
        self.free_at = 0.0
        self.tasks = []

    def now(self):
        """Unix seconds by the page's clock."""
        return self.epoch + (time.time() - self.epoch) * self.speed

    async def ready(self, audio=None):
        self.audio = self.audio if audio is None else audio
        await self.socket.send_json({"type": "ready", "audio": self.audio})

    async def ack(self, reply_id, seq, state_, position_ms=0.0, at=None):
        at = self.now() if at is None else at
        self.acks.append((reply_id, seq, state_, at))
        sent = time.time() if self.speed != 1.0 else at
        frame = {"type": "playback", "reply_id": reply_id, "seq": seq, "state": state_, "at": sent}
        await self.socket.send_json({**frame, "position_ms": position_ms})
        await self.tell()

    async def tell(self):
        """Wake whoever waits for something of this page."""
        async with self.changed:
            self.changed.notify_all()

    def of(self, kind):
        return [frame for frame in self.frames if frame["type"] == kind]

    async def until(self, holds, timeout_s=10):
        async with asyncio.timeout(timeout_s), self.changed:
            await self.changed.wait_for(lambda: holds(self))

    async def read(self):
        pending = None
        with contextlib.suppress(ConnectionError):
            async for message in self.socket:
                if message.type is aiohttp.WSMsgType.BINARY:
                    (audio_id,) = struct.unpack_from("<I", message.data)
                    assert pending is not None
                    assert audio_id == pending["audio_id"], "a binary frame follows its sentence at once"
                    key = (pending["reply_id"], pending["seq"])
                    self.sounds[key], self.came[key] = message.data[4:], self.now()
                    self.num_bytes[key] = len(message.data) - 4
                    await self.queue.put(pending)
                    pending = None
                else:
                    assert pending is None, "nothing comes between a sentence and its sound"
                    await self._take(json.loads(message.data))
                    pending = self.frames[-1] if self.frames[-1]["type"] == "sentence" else None
                await self.tell()

    async def _take(self, frame):
        self.frames.append(frame)
        if frame["type"] == "ping":
            await self.socket.send_json({"type": "pong", "t": frame["t"]})
        elif frame["type"] in ("skip", "stop"):
            waiting = [self.queue.get_nowait() for _ in range(self.queue.qsize())]
            for one in waiting:
                if frame["type"] == "skip" and one["reply_id"] != frame["reply_id"]:
                    self.queue.put_nowait(one)
            if self.playing is not None and frame.get("reply_id", self.playing["reply_id"]) == self.playing["reply_id"]:
                self.silenced.set()

    async def play(self):
        """Sentences end to end, each begun when the one before is over, as a page's audio clock has it."""
        while True:
            frame = await self.queue.get()
            reply_id, seq = frame["reply_id"], frame["seq"]
            self.playing, self.silenced = frame, asyncio.Event()
            start = max(self.came[reply_id, seq], self.free_at)  # what came in time is scheduled, and begins in time
            await self.ack(reply_id, seq, "started", at=start)
            end = start + self.num_bytes[reply_id, seq] / 2 / RATE
            self.free_at = end
            try:
                async with asyncio.timeout(max(0.0, end - self.now()) / self.speed):
                    await self.silenced.wait()
            except TimeoutError:
                await self.ack(reply_id, seq, "finished", frame["duration_ms"], at=end)
            else:
                self.free_at = self.now()
            self.playing = None
            await self.tell()


@contextlib.asynccontextmanager
async def page(port, *, ready=True, plays=True, audio=True, speed=1.0, query="", **options):
    """A page that is open, and ready unless told otherwise."""
    async with aiohttp.ClientSession() as session:
        url = f"http://127.0.0.1:{port}/overlay/ws{query}"
        async with session.ws_connect(url, max_msg_size=0, **options) as socket:
            one = Player(socket, plays=plays, audio=audio, speed=speed)
            one.epoch = time.time()
            tasks = [asyncio.create_task(one.read(), name="page-read")]
            if plays:
                tasks.append(asyncio.create_task(one.play(), name="page-play"))
            try:
                if ready:
                    await one.ready()
                yield one
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)


async def until_heard(port, timeout_s=10):
    """Return once a voice has taken note that a page is ready."""
    async with asyncio.timeout(timeout_s), aiohttp.ClientSession() as session:
        while True:
            async with session.get(f"http://127.0.0.1:{port}/overlay/health") as response:
                if (await response.json())["is_heard"]:
                    return

"""A bus with a host that remembers what it was told, and things to say on it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from tests.support.brokers import Collector, bus_settings, running
from vtuber_brain.bus.control import Control, ControlResult, answer
from vtuber_brain.bus.mqtt import MqttBus
from vtuber_brain.bus.topics import Playback
from vtuber_brain.messages import Author, ChatMessage, Cue, Turn, Utterance
from vtuber_brain.runtime.metrics import Metrics

ROOT = "vtuber/mori/v1"


class Host:
    """A bus, what it told its host, and what the host answers."""

    def __init__(self, port: int, persona: str = "mori", **changes) -> None:
        self.metrics = Metrics()
        self.playback: list[Playback] = []
        self.controls: list[Control] = []
        self.states: list[tuple[bool, str]] = []
        self.answers = lambda control: answer(control)
        self.listens = asyncio.Event()
        self.listens.set()
        self._changed = asyncio.Event()
        self.bus = MqttBus(
            bus_settings(port, **changes),
            persona,
            self.metrics,
            on_playback=self.on_playback,
            on_control=self.on_control,
            on_state=self.on_state,
        )

    async def on_playback(self, playback: Playback) -> None:
        self.playback.append(playback)
        self._changed.set()
        await self.listens.wait()

    async def on_control(self, control: Control) -> ControlResult:
        self.controls.append(control)
        self._changed.set()
        result = self.answers(control)
        return await result if asyncio.iscoroutine(result) else result

    def on_state(self, up: bool, detail: str) -> None:
        self.states.append((up, detail))
        self._changed.set()

    async def until(self, holds, timeout_s: float = 15) -> None:
        async with asyncio.timeout(timeout_s):
            while not holds():
                self._changed.clear()
                await self._changed.wait()

    async def up(self, times: int = 1) -> None:
        await self.until(lambda: [up for up, _ in self.states].count(True) >= times)

    async def down(self) -> None:
        await self.until(lambda: self.states and not self.states[-1][0])

    def dropped(self, reason: str) -> float:
        return self.metrics.bus_dropped.labels(reason)._value.get()


@contextlib.asynccontextmanager
async def hosting(port: int, *args, **changes) -> AsyncIterator[Host]:
    """A host whose bus runs inside the block."""
    host = Host(port, *args, **changes)
    async with running(host.bus.run(), "bus"):
        yield host


def seqs(collector: Collector) -> list[int]:
    """The sentences that came, by number."""
    return [payload["seq"] for payload in collector.on("utterance")]


def message(text: str = "hello Mori", name: str = "Wren") -> ChatMessage:
    return ChatMessage("websocket", "m-1", Author("u-1", name), text, 1_700_000_000.0, 1.0)


def utterance(seq: int, reply_id: str = "r1", cue: Cue | None = None, **changes) -> Utterance:
    fields = {
        "reply_id": reply_id,
        "seq": seq,
        "text": f"Sentence {seq}.",
        "cue": cue,
        "mood": "positive",
        "lang": "en",
        "final": False,
        "in_reply_to": message(),
        "created_at": 1_700_000_001.5,
        "persona": "mori",
        "release": None,
    }
    return Utterance(**{**fields, **changes})


def turn(reply_id: str = "r1", outcome: str = "spoken", reason: str | None = None) -> Turn:
    text, timings = "Sentence 0.", {"first_ms": 12.5}
    return Turn(reply_id, message(), outcome, text, text, "mori", "m", None, reason, timings)

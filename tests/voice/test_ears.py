"""The voice's end of the bus, against a real broker: it hears what the daemon says, and tells what was played."""

import asyncio
import contextlib

import pytest

from tests.support.brokers import Collector, Embedded, Mosquitto, bus_settings, running
from tests.support.bus import hosting, turn, utterance
from tests.support.voices import ended, said, state
from vtuber_brain.bus.control import Mute
from vtuber_brain.bus.topics import Playback, Status
from vtuber_brain.messages import Cue
from vtuber_brain.voice.ears import Ears

ROOT = "vtuber/mori/v1"


class Written:
    """In the voice's place: keeps what was heard."""

    def __init__(self):
        self.heard, self.changed = [], asyncio.Event()

    def __getattr__(self, name):
        def note(payload):
            self.heard.append((name, payload))
            self.changed.set()

        return note

    def of(self, name):
        return [payload for kind, payload in self.heard if kind == name]

    async def until(self, holds):
        async with asyncio.timeout(10):
            while not holds():
                self.changed.clear()
                await self.changed.wait()


@contextlib.asynccontextmanager
async def listening(port):
    """Ears on a broker, connected; what they heard, and they themselves."""
    voice, states, up = Written(), [], asyncio.Event()

    def on_state(is_up, detail):
        states.append(is_up)
        if is_up:
            up.set()

    ears = Ears(bus_settings(port), "mori", on_state)
    ears.attach(voice)
    async with running(ears.run(), "ears"):
        async with asyncio.timeout(10):
            await up.wait()
        yield ears, voice, states


def playback(seq, played="started"):
    return Playback(reply_id="r1", seq=seq, state=played, at=1_700_000_000.0)


@pytest.mark.parametrize("kind", [Mosquitto, Embedded])
async def test_what_the_daemon_says_is_heard_in_order_and_what_is_played_reaches_it(kind):
    async with kind() as broker, listening(broker.port) as (ears, voice, _), hosting(broker.port) as host:
        await host.up()
        host.bus.set_status(Status(state="online", persona="mori"))
        for seq in range(3):
            await host.bus.emit(utterance(seq))
        await host.bus.emit(Cue("wave"))
        await host.bus.emit(turn(outcome="cut"))
        await voice.until(lambda: voice.of("reply") and voice.of("cue") and voice.of("status"))
        assert [payload.seq for payload in voice.of("utterance")] == [0, 1, 2]
        assert voice.of("reply")[0].outcome == "cut"
        for played in ("started", "finished"):
            ears.publish(playback(0, played))
        await host.until(lambda: len(host.playback) == 2)
        assert [payload.state for payload in host.playback] == ["started", "finished"]


async def test_what_was_played_while_the_broker_was_away_is_told_when_it_is_back_and_in_order():
    async with Mosquitto() as broker, listening(broker.port) as (ears, _, states):
        await broker.stop()
        async with asyncio.timeout(10):
            while states[-1]:
                await asyncio.sleep(0.01)
        for seq in range(5):
            ears.publish(playback(seq))
        await broker.start()
        async with Collector(broker.port) as collector:
            ears.publish(playback(5))
            await collector.until(lambda: any(payload["seq"] == 5 for payload in collector.on("playback")))
            seqs = [payload["seq"] for payload in collector.on("playback")]
            assert sorted(set(seqs)) == [0, 1, 2, 3, 4, 5]
            assert seqs == sorted(seqs)
        await ears.drain(5)
        assert not ears._waiting


async def test_commands_are_obeyed_at_once_but_none_that_was_retained_and_nonsense_is_ignored():
    async with Mosquitto() as broker, Collector(broker.port) as sender:
        await sender.send(f"{ROOT}/control", {"command": "mute"}, retain=True)
        async with listening(broker.port) as (_, voice, _):
            for channel in ("utterance", "reply", "cue", "status", "control"):
                await sender.send(f"{ROOT}/{channel}", b"{nonsense")
                await sender.send(f"{ROOT}/{channel}", b"x" * 20_000)
            await sender.send(f"{ROOT}/utterance", said("r1", 0).model_dump_json())
            await sender.send(f"{ROOT}/reply", ended("r1").model_dump_json())
            await sender.send(f"{ROOT}/status", state("muted").model_dump_json())
            await sender.send(f"{ROOT}/control", {"command": "mute", "id": "7"})
            await voice.until(lambda: voice.of("control"))
            assert voice.of("control") == [Mute(command="mute", id="7")]
            assert voice.of("utterance") == [said("r1", 0)]
            assert voice.of("status") == [state("muted")]

"""What plugins alone are told, how she is and what is heard, in its place among the events; and their own health."""

import asyncio

from tests.support.brokers import running
from tests.support.bus import turn, utterance
from tests.support.plugins import plant
from vtuber_brain.messages import Playback, Status
from vtuber_brain.plugins import Plugins
from vtuber_brain.publisher import MAX_WAITING_EVENTS, Publisher
from vtuber_brain.runtime.metrics import Metrics

ONLINE, MUTED = (Status(state, state == "muted", "mori", None) for state in ("online", "muted"))
STARTED = Playback("r1", 0, "started", 1_700_000_002.0)
HEALTH = """
class One:
    name = "one"
    async def run(self, deliver):
        self.registry.set_health(False, "not there yet")
        self.registry.set_health(True)

async def setup(registry, settings):
    registry.set_health(False, "nobody listens during setup")
    One.registry = registry
    registry.add_source(One())
"""


class Ear:
    name = "ear"

    def __init__(self):
        self.events, self.heard = [], asyncio.Event()

    async def emit(self, event):
        self.events.append(event)
        self.heard.set()

    async def until(self, num):
        async with asyncio.timeout(10):
            while len(self.events) < num:
                self.heard.clear()
                await self.heard.wait()
        return self.events


class Books:
    def __init__(self):
        self.recorded = []

    async def __call__(self, *events):
        self.recorded += events


async def test_plugins_are_told_of_playback_and_status_among_the_events_and_nobody_else_is():
    own, plugin, books = Ear(), Ear(), Books()
    publisher = Publisher(books, [own], Metrics(), [plugin])
    async with running(publisher.run(), "publisher"):
        publisher.notify(ONLINE)
        await publisher.publish(utterance(0))
        publisher.notify(STARTED)
        await publisher.publish(turn())
        assert await plugin.until(4) == [ONLINE, utterance(0), STARTED, turn()]
    assert own.events == books.recorded == [utterance(0), turn()]


async def test_a_status_is_told_when_it_is_another_and_playback_every_time():
    plugin = Ear()
    publisher = Publisher(Books(), [], Metrics(), [plugin])
    async with running(publisher.run(), "publisher"):
        for notice in (ONLINE, ONLINE, STARTED, STARTED, MUTED, MUTED, ONLINE):
            publisher.notify(notice)
        assert await plugin.until(5) == [ONLINE, STARTED, STARTED, MUTED, ONLINE]


async def test_notices_crowd_no_more_than_events_do():
    plugin, metrics = Ear(), Metrics()
    publisher = Publisher(Books(), [], metrics, [plugin])
    for seq in range(MAX_WAITING_EVENTS + 10):
        publisher.notify(Playback("r1", seq, "started", 0.0))
    assert metrics.errors.labels("sink_ear_full")._value.get() == 10
    async with running(publisher.run(), "publisher"):
        assert (await plugin.until(MAX_WAITING_EVENTS))[0].seq == 10


async def test_a_plugin_says_how_it_is_under_its_own_name(tmp_path):
    plant(tmp_path, "flute", code=HEALTH, hooks='["source"]')
    plugins = await Plugins.load({"flute": {}}, Metrics(), places=[tmp_path])
    assert [one.state for one in plugins.set_up] == ["on"]
    told = []
    plugins.on_health = lambda *health: told.append(health)
    await plugins.sources[0].run(None)
    assert told == [("flute", False, "not there yet"), ("flute", True, "")]

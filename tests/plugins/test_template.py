"""The template: it loads as it ships, it loads when copied as its document says, and each hook does what it shows."""

import asyncio
import json

import pytest

from tests.support.bus import message, turn, utterance
from vtuber_brain.config import shipped, state_dir
from vtuber_brain.messages import Author
from vtuber_brain.plugin_api import checked_incoming
from vtuber_brain.plugins import Plugins
from vtuber_brain.runtime.metrics import Metrics


async def start(**settings) -> Plugins:
    return await Plugins.start({"_template": settings}, Metrics(), places=[shipped("plugins")])


def status(plugins: Plugins):
    return next(one for one in plugins.statuses if one.name == "_template")


async def test_it_loads_with_every_hook_that_there_is():
    plugins = await start()
    assert (status(plugins).state, status(plugins).hooks) == ("on", ("source", "judge", "recall", "sink"))
    assert [len(kind) for kind in (plugins.sources, plugins.judges, plugins.recalls, plugins.sinks)] == [1, 1, 1, 1]


async def test_it_is_off_by_default():
    plugins = await Plugins.start({}, Metrics(), places=[shipped("plugins")])
    assert status(plugins).state == "off"


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"colour": "red"}, "unknown setting: colour"),
        ({"remind_every_s": "soon"}, "could not convert"),
        ({"remind_every_s": 0}, "more than 0"),
        ({"unwanted": "spoiler"}, "unwanted is a list of words"),
    ],
)
async def test_settings_it_cannot_use_are_told(settings, told):
    plugins = await start(**settings)
    assert status(plugins).state == "failed"
    assert told in status(plugins).detail


async def test_the_source_delivers_messages_that_are_no_duplicates_until_it_is_cancelled():
    (source,) = (await start(remind_every_s="0.001", reminder="Tea?")).sources
    delivered, enough = [], asyncio.Event()

    async def deliver(incoming) -> None:
        delivered.append(checked_incoming(incoming))
        if len(delivered) == 3:
            enough.set()

    running = asyncio.create_task(source.run(deliver))
    async with asyncio.timeout(10):
        await enough.wait()
    running.cancel()
    await asyncio.wait({running})
    assert {one.text for one in delivered} == {"Tea?"}
    assert len({one.key for one in delivered}) == len(delivered)


async def test_the_judge_denies_unwanted_words_and_nothing_else():
    (judge,) = (await start(unwanted=["Spoiler"])).judges
    assert (await judge.judge(message("no SPOILERS please"))).reasons == ("unwanted_word",)
    assert (await judge.judge(message("hello"))).action == "allow"


async def test_the_recall_knows_a_moderator():
    (recall,) = (await start()).recalls
    wren = message()
    assert await recall.recall(wren) == ()
    moderator = type(wren)(wren.source, wren.id, Author("u-1", "Wren", ("moderator",)), wren.text, 1.0, 1.0)
    assert await recall.recall(moderator) == ("is one of your moderators",)


async def test_the_sink_counts_sentences_and_goes_on_where_it_was():
    for expected in (2, 4):
        (sink,) = (await start()).sinks
        for event in (utterance(0), utterance(1), turn()):
            await sink.emit(event)
        file = state_dir() / "plugin_state" / "_template" / "sentences.json"
        assert json.loads(file.read_text()) == expected

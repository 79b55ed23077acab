"""Who is greeted and who is not, what is remembered over a restart, and that neither memory nor file grow for ever."""

import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.bus import message, turn
from vtuber_brain.config import shipped, state_dir
from vtuber_brain.context.memory import Recalled
from vtuber_brain.context.personas import load_persona
from vtuber_brain.context.prompt import build
from vtuber_brain.messages import Author, Drop, Dropped, Judged, Verdict
from vtuber_brain.plugins import Plugins
from vtuber_brain.runtime.metrics import Metrics
from vtuber_brain.sections import MemorySettings

DAY_S, START = 86_400.0, 1_700_000_000.0
NEW = ("is here for the first time",)


class Stage:
    """The plugin, and what the daemon does with it around one message."""

    def __init__(self, plugins: Plugins) -> None:
        (self.status,) = [one for one in plugins.statuses if one.name == "viewer_greeter"]
        self._recalls, self._sinks = plugins.recalls, plugins.sinks

    async def emit(self, event) -> None:
        await self._sinks[0].emit(event)

    async def told(self, said) -> tuple[str, ...]:
        return await self._recalls[0].recall(said)

    async def answer(self, said, outcome="spoken") -> tuple[str, ...]:
        """Judge, recall, reply: what the prompt was told."""
        await self.emit(Judged(said, Verdict("allow", (), said.text)))
        facts = await self.told(said)
        await self.emit(replace(turn(outcome=outcome), message=said))
        return facts


async def start(**settings) -> Stage:
    return Stage(await Plugins.start({"viewer_greeter": settings}, Metrics(), places=[shipped("plugins")]))


def says(number: int, *, viewer="u-1", days=0.0, source="websocket"):
    return replace(
        message(f"hello {number}"),
        id=f"m-{number}",
        author=Author(viewer, viewer),
        at=START + days * DAY_S,
        source=source,
    )


def file() -> Path:
    return state_dir() / "plugin_state" / "viewer_greeter" / "viewers.db"


def kept() -> int:
    with closing(sqlite3.connect(file())) as database:
        return database.execute("SELECT count(*) FROM viewers").fetchone()[0]


async def test_a_viewer_is_greeted_at_the_first_message_and_not_at_the_next():
    stage = await start()
    assert await stage.answer(says(1)) == NEW
    assert await stage.answer(says(2, days=0.001)) == ()


async def test_the_greeting_stands_in_the_prompt_with_the_viewers_name():
    facts = await (await start()).told(says(1, viewer="Wren"))
    prompt = build(
        load_persona("mori", None), Recalled(), facts, says(1, viewer="Wren"), "hello", None, MemorySettings()
    )
    assert "(Wren is here for the first time.)" in prompt[-1]["content"]


@pytest.mark.parametrize(
    ("days", "told"), [(6.9, ()), (7.0, ("is back after 7 days",)), (40, ("is back after 40 days",))]
)
async def test_who_was_away_for_long_is_greeted_again_even_after_a_restart(days, told):
    await (await start()).answer(says(1))
    stage = await start()
    assert await stage.answer(says(2, days=days)) == told
    assert await stage.answer(says(3, days=days)) == ()


async def test_how_long_is_a_setting():
    stage = await start(away_days="0.5")
    await stage.answer(says(1))
    assert await stage.answer(says(2, days=0.6)) == ("is back after a while",)


async def test_who_chats_every_day_and_is_never_answered_is_not_away():
    stage = await start()
    await stage.answer(says(0))
    for day in range(1, 20):
        await stage.emit(Judged(says(day, days=day), Verdict("allow", (), "hello")))
    assert await (await start()).answer(says(20, days=20)) == ()


async def test_who_was_new_long_ago_and_is_answered_only_now_is_not_new():
    stage = await start()
    await stage.emit(Judged(says(0), Verdict("allow", (), "hello")))
    assert await stage.answer(says(1, days=1.5)) == ()


async def test_of_two_messages_answered_side_by_side_one_brings_the_greeting():
    stage = await start()
    assert await stage.told(says(1)) == NEW
    assert await stage.told(says(2)) == ()


@pytest.mark.parametrize("outcome", ["failed", "refused", "retracted"])
async def test_a_reply_that_nobody_heard_leaves_the_greeting_to_the_next(outcome):
    stage = await start()
    assert await stage.answer(says(1), outcome) == NEW
    assert await stage.answer(says(2)) == NEW
    assert await stage.told(says(3)) == await stage.told(says(4)) == ()
    await stage.emit(Dropped(says(3), Drop.STOPPING))
    assert await stage.told(says(5)) == ()


async def test_a_message_dropped_on_its_way_leaves_the_greeting_to_the_next():
    stage = await start()
    await stage.told(says(1))
    await stage.emit(Dropped(says(1), Drop.RETRACTED))
    assert await stage.told(says(2)) == NEW


async def test_who_is_denied_is_not_seen():
    stage = await start()
    await stage.emit(Judged(says(1), Verdict("deny", ("toxic",), "hello")))
    assert await (await start()).answer(says(2, days=10)) == NEW


async def test_viewers_of_two_sources_are_two_viewers_whatever_their_ids_are():
    stage = await start()
    assert await stage.answer(says(1)) == NEW
    assert await stage.answer(says(2, source="twitch")) == NEW
    assert await stage.answer(says(3, viewer="\ud800" * 10_000)) == NEW


async def test_those_unseen_longest_are_forgotten_in_memory_and_in_the_file():
    stage = await start(max_viewers=3)
    for number in range(10):
        await stage.answer(says(number, viewer=f"u-{number}", days=number * 0.01))
    assert kept() == 3
    assert await stage.answer(says(10, viewer="u-7", days=0.1)) == ()
    assert await stage.answer(says(11, viewer="u-0", days=0.1)) == NEW
    assert await stage.answer(says(12, viewer="u-7", days=0.1)) == (), "u-8 was the one to forget"


async def test_a_restart_knows_who_was_unseen_longest():
    stage = await start()
    for number in range(20):
        await stage.answer(says(number, viewer=f"u-{number}", days=number * 0.1))
    smaller = await start(max_viewers=2)
    for viewer in ("u-18", "u-19"):
        assert await smaller.answer(says(viewer, viewer=viewer, days=2)) == ()
    assert kept() == 2


async def test_a_viewer_who_talks_much_is_written_once_an_hour():
    stage = await start()
    await stage.answer(says(0))
    written = file().read_bytes()
    for number in range(1, 50):
        await stage.answer(says(number, days=number / 24 / 60))
    assert file().read_bytes() == written
    await stage.answer(says(60, days=1 / 24))
    assert file().read_bytes() != written


async def test_the_file_holds_no_names_and_no_words():
    await (await start()).answer(replace(says(1, viewer="wren-the-viewer"), text="my secret diary"))
    text = file().read_bytes()
    assert kept() == 1
    assert b"wren" not in text.lower()
    assert b"diary" not in text


@pytest.mark.parametrize(
    "settings", [{"away_days": 0}, {"max_viewers": "many"}, {"colour": "red"}, {"away_days": "nan"}]
)
async def test_settings_it_cannot_use_are_told(settings):
    assert (await start(**settings)).status.state == "failed"


async def test_a_file_that_is_none_of_its_own_is_told_with_what_to_do():
    file().parent.mkdir(parents=True)
    file().write_text("a diary, not a database" * 100)
    stage = await start()
    assert stage.status.state == "failed"
    assert "viewers.db: file is not a database. Remove it" in stage.status.detail

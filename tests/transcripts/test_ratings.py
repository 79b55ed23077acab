"""The operator's word on a reply: the last one counts, beside a daemon that writes."""

import sqlite3

import pytest

from vtuber_brain.errors import ConfigError, Unavailable
from vtuber_brain.transcripts import ratings
from vtuber_brain.transcripts.past import streams
from vtuber_brain.transcripts.ratings import edit, rate, rated


async def spoken(transcripts, events, *ids):
    for id_ in ids:
        message = events.message(id_, text=f"say {id_}")
        await transcripts.append(message, events.judged(message), events.turn(message))


def last(path, reply_id):
    (stream,) = streams(path)
    (turn,) = [turn for turn in stream.turns if turn.reply_id == reply_id]
    return turn.rating and (turn.rating.rating, turn.rating.edited_text, turn.rating.rated_by)


async def test_the_last_word_counts_and_all_are_kept_while_the_daemon_writes(opened, path, events, query):
    async with opened() as transcripts:
        await spoken(transcripts, events, "m1", "m2")
        assert rate(path, "r-m1", 1, "ana") == 1
        await spoken(transcripts, events, "m3")
        rate(path, "r-m1", -1, "ben", reason="rude")
        edit(path, "r-m2", "  Good\n evening! ", "ana")
    assert last(path, "r-m1") == (-1, None, "ben")
    assert last(path, "r-m2") == (1, "Good evening!", "ana")
    assert last(path, "r-m3") is None
    assert query("SELECT rating, reason FROM ratings WHERE reply_id = 'r-m1'") == [(1, None), (-1, "rude")]


async def test_who_approves_of_a_corrected_reply_keeps_the_correction_and_who_disapproves_drops_it(
    opened, path, events
):
    async with opened() as transcripts:
        await spoken(transcripts, events, "m1")
    edit(path, "r-m1", "Better.", "ana")
    rate(path, "r-m1", 1, "ben")
    assert last(path, "r-m1") == (1, "Better.", "ben")
    rate(path, "r-m1", 0, "ben")
    assert last(path, "r-m1") == (0, None, "ben")


@pytest.mark.parametrize("text", ["", " \n ", "x" * (ratings.MAX_EDIT_CHARS + 1), "bell\x07"])
async def test_a_correction_is_plain_words(opened, path, events, text):
    async with opened() as transcripts:
        await spoken(transcripts, events, "m1")
    with pytest.raises(ConfigError, match="text"):
        edit(path, "r-m1", text, "ana")
    assert last(path, "r-m1") is None


async def test_a_reply_or_a_file_that_is_not_there_is_said(opened, path, events, tmp_path):
    async with opened() as transcripts:
        await spoken(transcripts, events, "m1")
    with pytest.raises(ConfigError, match=r"r-m9.*approve-list"):
        rate(path, "r-m9", 1, "ana")
    with pytest.raises(ConfigError, match="no transcripts"):
        rate(tmp_path / "none.db", "r-m1", 1, "ana")
    (tmp_path / "none.db").write_bytes(b"no database at all, whatever it is called" * 99)
    with pytest.raises(ConfigError, match="not usable"):
        rate(tmp_path / "none.db", "r-m1", 1, "ana")


async def test_a_file_that_another_program_holds_is_unavailable(opened, path, events, monkeypatch):
    monkeypatch.setattr(ratings, "BUSY_TIMEOUT_MS", 50)
    async with opened() as transcripts:
        await spoken(transcripts, events, "m1")
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(Unavailable, match="end the other program"):
            rate(path, "r-m1", 1, "ana")
        other.close()


async def test_what_waits_for_a_word_is_listed_newest_first(opened, path, events):
    async with opened() as transcripts:
        await spoken(transcripts, events, "m1", "m2", "m3")
        gone = events.message("m4", text="to be taken back")
        await transcripts.append(gone, events.turn(gone), events.retraction(target="m4"))
        silent = events.message("m5")
        await transcripts.append(silent, events.turn(silent, "failed", text="", heard_text=""))
    rate(path, "r-m2", 1, "ana")
    assert [(one.reply_id, one.said) for one in rated(path)] == [("r-m3", "say m3"), ("r-m1", "say m1")]
    assert [one.rating for one in rated(path, unrated=False)] == [None, 1, None]
    assert [one.reply_id for one in rated(path, limit=1)] == ["r-m3"]
    assert rated(path, stream=9) == []


async def test_every_state_of_a_turn_is_kept_with_its_time(opened, path, events):
    times = iter([1.0, 10.0, 20.0, 30.0])
    async with opened(clock=lambda: next(times)) as transcripts:
        message = events.message()
        await transcripts.append(events.turn(message))
        await transcripts.append(events.turn(message, "cut", heard_text="Hi!", reason="skip"))
    (stream,) = streams(path)
    (turn,) = stream.turns
    assert [(one.outcome, one.heard_text, one.at) for one in turn.hearings] == [
        ("spoken", "Hi! Bye!", 10.0),
        ("cut", "Hi!", 20.0),
    ]

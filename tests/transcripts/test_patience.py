"""A disk that hangs and a file that somebody holds: said after a while, at once from then on, and over by itself."""

import asyncio
import contextlib
import sqlite3
import threading
import time

import pytest

from tests.support.scripted import message
from vtuber_brain.errors import Unavailable
from vtuber_brain.transcripts import store
from vtuber_brain.transcripts.store import Transcripts


@pytest.fixture
def opened(path, monkeypatch):
    monkeypatch.setattr(store, "PATIENCE_S", 0.2)
    return lambda: Transcripts.open(path, persona="mori", model="m", release=None)


@pytest.fixture
def hardly_waiting(monkeypatch):
    monkeypatch.setattr(store, "PATIENCE_S", 8)
    monkeypatch.setattr(store, "BUSY_TIMEOUT_S", 0.05)
    monkeypatch.setattr(store, "IMPATIENT_S", 0.05)


@contextlib.contextmanager
def held(path):
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    yield
    holder.execute("ROLLBACK")
    holder.close()


async def test_a_disk_that_hangs_is_said_and_nothing_piles_up_until_it_goes_on_by_itself(opened, query):
    let_go = threading.Event()
    async with opened() as transcripts:
        hung = asyncio.create_task(transcripts._database.do(lambda _connection: let_go.wait()))
        await asyncio.sleep(0)
        with pytest.raises(Unavailable, match="does not answer"):
            await transcripts.append(message("late", number="late"))
        assert "does not answer" in transcripts.failing
        began_s = time.monotonic()
        for number in range(200):
            with pytest.raises(Unavailable):
                await transcripts.append(message("at once", number=f"n{number}"))
        assert time.monotonic() - began_s < 0.2
        assert len(transcripts._waiting) <= 1
        let_go.set()
        await hung
        async with asyncio.timeout(5):
            while transcripts.failing is not None:
                await asyncio.sleep(0.01)
        await transcripts.append(message("after", number="after"))
    assert query("SELECT message_id FROM messages ORDER BY id") == [("late",), ("after",)]


async def test_a_file_that_somebody_holds_is_waited_for_once_and_then_hardly(opened, path, monkeypatch):
    monkeypatch.setattr(store, "PATIENCE_S", 8)
    monkeypatch.setattr(store, "BUSY_TIMEOUT_S", 0.5)
    monkeypatch.setattr(store, "IMPATIENT_S", 0.05)
    async with opened() as transcripts:
        took_s = []
        with held(path):
            for number in range(3):
                began_s = time.monotonic()
                with pytest.raises(Unavailable, match="locked"):
                    await transcripts.append(message("x", number=number))
                took_s.append(time.monotonic() - began_s)
        assert took_s[0] >= 0.4
        assert min(took_s[1:]) < took_s[0] / 2
        await transcripts.append(message("after", number="after"))
        assert transcripts.failing is None


@pytest.mark.parametrize("comes_after", [True, False])
async def test_what_was_taken_back_while_somebody_held_the_file_is_marked_before_anything_else_is_written(
    opened, path, query, events, hardly_waiting, comes_after
):
    said = events.message()
    async with opened() as transcripts:
        await transcripts.append(said, events.turn(said))
        with held(path):
            for _ in range(2):
                with pytest.raises(Unavailable, match="locked"):
                    await transcripts.append(events.message("m1", text="lost"))
            with pytest.raises(Unavailable, match="locked"):
                await transcripts.append(events.retraction(), events.turn(said, outcome="retracted"))
        if comes_after:
            await transcripts.append(events.message("after"))
            await transcripts.next_stream()
            await transcripts.append(events.message("m1", author="another"))
    marked = [(1, "m1", 1010.0), *([(1, "after", None), (2, "m1", None)] if comes_after else [])]
    assert query("SELECT stream_id, message_id, retracted_at FROM messages ORDER BY id") == marked
    assert query("SELECT outcome FROM turns") == [("retracted",)]
    assert query("SELECT outcome FROM hearings") == [("spoken",), ("retracted",)]
    assert query("SELECT count(*) FROM retractions") == [(1,)]


async def test_what_was_taken_back_while_the_disk_hung_is_marked_when_it_goes_on(
    opened, query, events, hardly_waiting, monkeypatch
):
    let_go, said = threading.Event(), events.message()
    async with opened() as transcripts:
        await transcripts.append(said, events.turn(said))
        monkeypatch.setattr(store, "PATIENCE_S", 0.05)
        hung = asyncio.create_task(transcripts._database.do(lambda _connection: let_go.wait()))
        for event in (events.message("late"), events.message("later"), events.retraction()):
            with pytest.raises(Unavailable, match="does not answer"):
                await transcripts.append(event)
        let_go.set()
        await hung
    assert query("SELECT retracted_at FROM messages WHERE message_id IN ('m1', 'late')") == [(1010.0,), (None,)]


async def test_of_what_is_owed_the_tables_may_refuse_a_row_and_the_oldest_is_lost(
    opened, path, query, events, hardly_waiting, monkeypatch
):
    monkeypatch.setattr(store, "MAX_OWED", 2)
    async with opened() as transcripts:
        with held(path):
            for target, at in (("oldest", 1.0), ("bad", float("nan")), ("last", 3.0)):
                with pytest.raises(Unavailable, match="locked"):
                    await transcripts.append(events.retraction(target=target, at=at))
        await transcripts.append(events.message())
    assert query("SELECT target_id FROM retractions") == [("last",)]
    assert query("SELECT message_id FROM messages") == [("m1",)]

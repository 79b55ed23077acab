"""A disk that hangs and a file that somebody holds: said after a while, at once from then on, and over by itself."""

import asyncio
import sqlite3
import threading
import time

import pytest

from tests.support.scripted import message
from vtuber_brain.errors import Unavailable
from vtuber_brain.transcripts import store
from vtuber_brain.transcripts.store import Transcripts


@pytest.fixture
def opened(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "PATIENCE_S", 0.2)
    return lambda: Transcripts.open(tmp_path / "transcripts.db", persona="mori", model="m", release=None)


async def test_a_disk_that_hangs_is_said_and_nothing_piles_up_until_it_goes_on_by_itself(opened, tmp_path):
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
    with sqlite3.connect(tmp_path / "transcripts.db") as database:
        assert {row[0] for row in database.execute("SELECT message_id FROM messages")} == {"late", "after"}


async def test_a_file_that_somebody_holds_is_waited_for_once_and_then_hardly(opened, tmp_path, monkeypatch):
    monkeypatch.setattr(store, "PATIENCE_S", 8)
    monkeypatch.setattr(store, "BUSY_TIMEOUT_S", 0.5)
    monkeypatch.setattr(store, "IMPATIENT_S", 0.05)
    async with opened() as transcripts:
        holder = sqlite3.connect(tmp_path / "transcripts.db", isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        took_s = []
        for number in range(3):
            began_s = time.monotonic()
            with pytest.raises(Unavailable, match="locked"):
                await transcripts.append(message("x", number=number))
            took_s.append(time.monotonic() - began_s)
        assert took_s[0] >= 0.4
        assert min(took_s[1:]) < took_s[0] / 2
        holder.execute("ROLLBACK")
        holder.close()
        await transcripts.append(message("after", number="after"))
        assert transcripts.failing is None

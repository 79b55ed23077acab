"""The writing side: acknowledged means committed, whoever dies; a failing disk is told and outlived."""

import asyncio
import json
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from vtuber_brain.errors import ConfigError, Unavailable
from vtuber_brain.messages import Cue, Drop
from vtuber_brain.transcripts.schema import VERSION
from vtuber_brain.transcripts.store import Transcripts

ROOT = Path(__file__).parents[2]


def command(module, *arguments):
    return [sys.executable, "-m", f"tests.transcripts.{module}", *map(str, arguments)]


async def test_a_stream_begins_and_ends(opened, query):
    async with opened():
        assert query("SELECT persona, model, release, ended_at FROM streams") == [("mori", "tiny", "v1", None)]
    async with opened(persona="other", release=None):
        pass
    rows = query("SELECT id, persona, release, ended_at >= started_at FROM streams")
    assert rows == [(1, "mori", "v1", 1), (2, "other", None, 1)]


async def test_what_is_told_of_a_reply_after_its_stream_has_ended_is_still_added_to_it(opened, query, events):
    message = events.message()
    async with opened() as transcripts:
        await transcripts.append(message, events.utterance(message), events.turn(message))
        await transcripts.next_stream()
        await transcripts.playback("r-m1", 0, "finished", 1001.0)
        await transcripts.append(events.turn(message, outcome="cut", heard_text="Hi!"))
        again = events.message("m2")
        await transcripts.append(again, events.utterance(again))
        await transcripts.playback("r-m2", 0, "started", 1002.0)
    assert query("SELECT stream_id, reply_id, playback FROM utterances") == [
        (1, "r-m1", "finished"),
        (2, "r-m2", "started"),
    ]
    assert query("SELECT stream_id, outcome, heard_text FROM turns") == [(1, "cut", "Hi!")]
    assert query("SELECT stream_id, outcome FROM hearings") == [(1, "spoken"), (1, "cut")]


async def test_every_event_is_there_when_append_returns(opened, query, events):
    message = events.message(kind="cheer", amount=50.0)
    async with opened() as transcripts:
        await transcripts.append(message)
        assert query(
            "SELECT source, message_id, author_id, author_name, roles, kind, amount, text, at FROM messages"
        ) == [("websocket", "m1", "kopi", "Kopi", '["sub"]', "cheer", 50.0, "hi Mori", 1000.0)]
        await transcripts.append(events.judged(message, "blocklist", "caps"))
        ((action, reasons, sentiment, scores, toxicity),) = query(
            "SELECT action, reasons, sentiment, scores, toxicity FROM verdicts"
        )
        assert (action, json.loads(reasons), sentiment, toxicity) == ("deny", ["blocklist", "caps"], "positive", 0.02)
        assert json.loads(scores) == {"positive": 0.9, "neutral": 0.1}
        await transcripts.append(events.dropped(message, Drop.MUTED))
        assert query("SELECT source, message_id, reason FROM drops") == [("websocket", "m1", "muted")]
        await transcripts.append(events.utterance(message))
        ((reply_id, seq, text, cue, source, id_),) = query(
            "SELECT reply_id, seq, text, cue, source, message_id FROM utterances"
        )
        assert (reply_id, seq, text, source, id_) == ("r-m1", 0, "Hi!", "websocket", "m1")
        assert json.loads(cue) == {"name": "smile", "intensity": 0.5, "for_ms": 900}
        await transcripts.append(events.turn(message))
        assert query("SELECT reply_id, outcome, text, persona, model, release, timings_ms FROM turns") == [
            ("r-m1", "spoken", "Hi! Bye!", "mori", "tiny", "v1", '{"judge": 4.0}')
        ]


async def test_a_bare_cue_leaves_no_trace(opened):
    async with opened() as transcripts:
        await transcripts.append(Cue("smile"))


async def test_what_comes_twice_is_stored_once(opened, query, events):
    message = events.message()
    async with opened() as transcripts:
        await asyncio.gather(*(transcripts.append(message) for _ in range(5)))
        await transcripts.append(events.utterance(message))
        await transcripts.append(events.utterance(message))
    assert query("SELECT count(*) FROM messages") == [(1,)]
    assert query("SELECT count(*) FROM utterances") == [(1,)]


async def test_a_turn_may_be_amended(opened, query, events):
    message = events.message()
    async with opened() as transcripts:
        await transcripts.append(events.turn(message))
        await transcripts.append(events.turn(message, "cut", heard_text="Hi!", reason="skip"))
    assert query("SELECT outcome, reason, text, heard_text FROM turns") == [("cut", "skip", "Hi! Bye!", "Hi!")]


async def test_a_turn_that_answers_nobody(opened, query, events):
    async with opened() as transcripts:
        await transcripts.append(events.turn(None, reply_id="say1"))
    assert query("SELECT source, message_id FROM turns") == [(None, None)]


async def test_playback_goes_forward_only(opened, query, events):
    message = events.message()
    async with opened() as transcripts:
        for seq in range(3):
            await transcripts.append(events.utterance(message, seq))
        await transcripts.playback("r-m1", 0, "started", 1.0)
        await transcripts.playback("r-m1", 0, "finished", 2.0)
        await transcripts.playback("r-m1", 0, "started", 3.0)
        await transcripts.playback("r-m1", 1, "skipped", 4.0)
        for stranger in (("r-unknown", 0), ("r-m1", 99), ("r-m1", -1), ("r-m1", 2**70)):
            await transcripts.playback(*stranger, "finished", 5.0)
    assert query("SELECT seq, playback, playback_at FROM utterances ORDER BY seq") == [
        (0, "finished", 2.0),
        (1, "skipped", 4.0),
        (2, None, None),
    ]


class TestRetractions:
    async def test_a_message(self, opened, query, events):
        async with opened() as transcripts:
            await transcripts.append(events.message("m1"))
            await transcripts.append(events.message("m2"))
            await transcripts.append(events.message("m1", source="twitch"))
            await transcripts.append(events.retraction())
        assert query("SELECT source, message_id, retracted_at FROM messages ORDER BY id") == [
            ("websocket", "m1", 1010.0),
            ("websocket", "m2", None),
            ("twitch", "m1", None),
        ]
        assert query("SELECT source, scope, target_id, at FROM retractions") == [("websocket", "message", "m1", 1010.0)]

    async def test_before_its_message(self, opened, query, events):
        async with opened() as transcripts:
            await transcripts.append(events.retraction())
            await transcripts.append(events.retraction("author", "troll", at=1011.0))
            await transcripts.append(events.retraction("all", None, at=1012.0))
            await transcripts.append(events.message("m1", at=1020.0))
            await transcripts.append(events.message("m2", "troll", at=1020.0))
            await transcripts.append(events.message("m3", at=1011.5))
            await transcripts.append(events.message("m4", at=1020.0))
        rows = query("SELECT message_id, retracted_at FROM messages ORDER BY id")
        assert rows == [("m1", 1010.0), ("m2", 1011.0), ("m3", 1012.0), ("m4", None)]

    async def test_of_an_author_in_timeout_only_until_it_ends(self, opened, query, events):
        async with opened() as transcripts:
            await transcripts.append(events.retraction("author", "loud", at=1010.0, until=1020.0))
            await transcripts.append(events.message("m1", "loud", at=1015.0))
            await transcripts.append(events.message("m2", "loud", at=1021.0))
        rows = query("SELECT message_id, retracted_at FROM messages ORDER BY id")
        assert rows == [("m1", 1010.0), ("m2", None)]

    async def test_an_author_in_every_stream(self, opened, query, events):
        for n in range(2):
            async with opened() as transcripts:
                await transcripts.append(events.message(f"m{n}", "troll"))
                await transcripts.append(events.message(f"n{n}", "kopi"))
        async with opened() as transcripts:
            await transcripts.append(events.retraction("author", "troll"))
        rows = query("SELECT message_id, retracted_at FROM messages ORDER BY message_id")
        assert rows == [("m0", 1010.0), ("m1", 1010.0), ("n0", None), ("n1", None)]

    async def test_a_message_of_before_the_daemon_was_started_again(self, opened, query, events):
        async with opened() as transcripts:
            await transcripts.append(events.message("m1"))
        async with opened() as transcripts:
            await transcripts.append(events.retraction())
        assert query("SELECT retracted_at FROM messages") == [(1010.0,)]

    async def test_only_the_latest_of_an_id_that_is_used_anew(self, opened, query, events):
        for _ in range(2):
            async with opened() as transcripts:
                await transcripts.append(events.message("m1"))
        async with opened() as transcripts:
            await transcripts.append(events.retraction())
        assert query("SELECT retracted_at FROM messages ORDER BY id") == [(None,), (1010.0,)]

    async def test_a_cleared_chat_reaches_back_half_a_day_and_no_further(self, opened, query, events):
        now = 1_000_000.0
        async with opened(clock=lambda: now) as transcripts:
            await transcripts.append(events.message("yesterday", at=now - 13 * 3600))
            await transcripts.append(events.message("before", at=now - 3600))
        async with opened(clock=lambda: now) as transcripts:
            await transcripts.append(events.message("just", at=now - 1))
            await transcripts.append(events.message("elsewhere", at=now - 1, source="twitch"))
            await transcripts.append(events.message("later", at=now + 1))
            await transcripts.append(events.retraction("all", None, at=now))
        rows = query("SELECT message_id FROM messages WHERE retracted_at IS NOT NULL ORDER BY id")
        assert rows == [("before",), ("just",)]

    async def test_the_first_one_counts(self, opened, query, events):
        async with opened() as transcripts:
            await transcripts.append(events.message())
            await transcripts.append(events.retraction(at=1010.0))
            await transcripts.append(events.retraction("author", "kopi", at=1020.0))
        assert query("SELECT retracted_at FROM messages") == [(1010.0,)]


class TestGroupCommit:
    async def test_a_crowd_shares_commits(self, opened, query, events):
        async with opened() as transcripts:
            commits = []
            real = transcripts._database.write

            async def counted(rows, *patience):
                commits.append(len(rows))
                return await real(rows, *patience)

            transcripts._database.write = counted
            await asyncio.gather(*(transcripts.append(events.message(f"m{n}")) for n in range(500)))
        assert query("SELECT count(*) FROM messages") == [(500,)]
        assert len(commits) < 10

    async def test_order_is_kept_within_a_crowd(self, opened, query, events):
        async with opened() as transcripts:
            appends = []
            for n in range(200):
                appends += [events.message(f"m{n}"), events.retraction(target=f"m{n}"), events.message(f"k{n}")]
            await asyncio.gather(*(transcripts.append(event) for event in appends))
        assert query("SELECT count(*), count(retracted_at) FROM messages") == [(400, 200)]
        ids = [id_ for (id_,) in query("SELECT message_id FROM messages ORDER BY id")]
        assert ids == [name for n in range(200) for name in (f"m{n}", f"k{n}")]

    async def test_one_who_stops_waiting_disturbs_nobody(self, opened, query, events):
        async with opened() as transcripts:
            tasks = [asyncio.create_task(transcripts.append(events.message(f"m{n}"))) for n in range(20)]
            await asyncio.sleep(0)
            for task in tasks[::2]:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            assert all(result is None for result in results[1::2])
            await transcripts.append(events.message("after"))
        assert query("SELECT count(*) FROM messages WHERE message_id IN ('m1', 'm19', 'after')") == [(3,)]

    @pytest.mark.parametrize("amount", [float("nan"), 10**30])
    async def test_a_row_that_is_refused_costs_the_others_nothing(self, opened, query, events, amount):
        bad = events.message("bad", amount=amount)
        first, last = events.dropped(events.message("a")), events.dropped(events.message("b"))
        async with opened() as transcripts:
            appends = [transcripts.append(item) for item in (first, bad, last)]
            results = await asyncio.gather(*appends, return_exceptions=True)
            assert [type(result) for result in results] == [type(None), Unavailable, type(None)]
        assert query("SELECT message_id FROM drops ORDER BY id") == [("a",), ("b",)]
        assert query("SELECT count(*) FROM messages") == [(0,)]

    async def test_text_that_is_no_unicode_is_mended(self, opened, query, events):
        async with opened() as transcripts:
            await transcripts.append(events.message(text="half \ud83d of it"))
        assert query("SELECT text FROM messages") == [("half ? of it",)]

    async def test_nothing_is_taken_after_the_end(self, opened, events):
        async with opened() as transcripts:
            pass
        with pytest.raises(Unavailable, match="closed"):
            await transcripts.append(events.message())

    async def test_what_waits_at_the_end_is_still_written(self, opened, query, events):
        async with opened() as transcripts:
            waiting = [asyncio.create_task(transcripts.append(events.message(f"m{n}"))) for n in range(50)]
            await asyncio.sleep(0)
        await asyncio.gather(*waiting)
        assert query("SELECT count(*) FROM messages") == [(50,)]


class TestKill:
    @pytest.mark.parametrize("num_writers", [1, 40])
    def test_nothing_acknowledged_is_lost(self, path, query, num_writers):
        with subprocess.Popen(
            command("writer", path, num_writers), cwd=ROOT, stdout=subprocess.PIPE, text=True
        ) as process:
            acknowledged = [process.stdout.readline().strip() for _ in range(700)]
            process.kill()
            acknowledged += process.stdout.read().split("\n")[:-1]
        assert process.returncode == -9
        stored = {id_ for (id_,) in query("SELECT message_id FROM messages")}
        assert len(acknowledged) >= 700
        assert set(acknowledged) <= stored
        assert len(stored) <= len(acknowledged) + num_writers
        assert query("PRAGMA integrity_check") == [("ok",)]

    def test_the_next_stream_goes_on_in_the_same_file(self, path, opened, query, events):
        with subprocess.Popen(command("writer", path, 4), cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
            first = process.stdout.readline().strip()
            process.kill()

        async def go_on():
            async with opened() as transcripts:
                await transcripts.append(events.message("after"))

        asyncio.run(go_on())
        assert query("SELECT ended_at IS NULL FROM streams ORDER BY id") == [(1,), (0,)]
        assert query("SELECT count(*) FROM messages WHERE message_id IN (?, 'after')", first) == [(2,)]


class TestFailingDisk:
    def test_a_disk_that_takes_no_more_is_told_and_outlived(self, path, query):
        done = subprocess.run(
            command("cramped", path), cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
        )
        before, *cramped, after = [line for line in done.stdout.splitlines() if " failing=" in line]
        assert before == "written before failing=False"
        assert sorted(line.split()[1] for line in cramped) == ["cramped0", "cramped1", "cramped2"]
        for line in cramped:
            assert line.startswith("refused ")
            assert f"failing=True transcripts {path}: " in line
            assert line.endswith("writing goes on by itself")
        assert after == "written after failing=False"
        assert query("SELECT message_id FROM messages ORDER BY id") == [("before",), ("after",)]
        assert query("SELECT ended_at IS NULL FROM streams") == [(0,)]

    async def test_a_full_database_is_told_with_what_to_do(self, opened, query, events, path):
        async with opened() as transcripts:
            await transcripts.append(events.message("before"))
            ((pages,),) = query("PRAGMA page_count")
            await transcripts._database.do(lambda database: database.execute(f"PRAGMA max_page_count = {pages}"))
            with pytest.raises(Unavailable, match=r"full.*free some space") as failed:
                await transcripts.append(events.message("full", text="x" * 20_000))
            assert str(path) in str(failed.value)
            assert transcripts.failing == str(failed.value)
            await transcripts._database.do(lambda database: database.execute("PRAGMA max_page_count = 1000000"))
            await transcripts.append(events.message("after", text="x" * 20_000))
            assert transcripts.failing is None
        assert query("SELECT message_id FROM messages ORDER BY id") == [("before",), ("after",)]

    async def test_a_full_database_at_the_end_does_not_hinder_leaving(self, opened, query, events):
        async with opened() as transcripts:
            await transcripts._database.do(lambda database: database.execute("PRAGMA query_only = 1"))
            with pytest.raises(Unavailable, match="readonly"):
                await transcripts.append(events.message())
        assert query("SELECT ended_at FROM streams") == [(None,)]

    async def test_another_program_that_holds_the_file(self, opened, path, events, monkeypatch):
        monkeypatch.setattr("vtuber_brain.transcripts.database.BUSY_TIMEOUT_S", 0.1)
        async with opened() as transcripts:
            other = sqlite3.connect(path, isolation_level=None)
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(Unavailable, match=r"locked.*end the other program"):
                await transcripts.append(events.message())
            other.execute("ROLLBACK")
            other.close()
            await transcripts.append(events.message())


class TestOpening:
    async def test_the_file_is_for_its_owner_alone(self, opened, path, events):
        async with opened() as transcripts:
            await transcripts.append(events.message())
            modes = {stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
        assert modes == {0o600}

    async def test_the_tables_are_made_once(self, opened, query):
        for _ in range(2):
            async with opened():
                pass
        assert query("PRAGMA user_version") == [(VERSION,)]
        assert query("PRAGMA journal_mode") == [("wal",)]

    async def test_a_newer_database_is_refused_and_left_alone(self, opened, path, query):
        async with opened():
            pass
        query(f"PRAGMA user_version = {VERSION + 1}")
        with pytest.raises(ConfigError) as failed:
            async with opened():
                pass
        (problem,) = failed.value.problems
        assert problem.where == str(path)
        assert f"version {VERSION + 1}" in problem.what
        assert query("SELECT count(*) FROM streams") == [(1,)]

    async def test_a_file_that_is_no_database_is_refused_and_left_alone(self, opened, path):
        path.parent.mkdir()
        path.write_text("dear diary, " * 1000)
        with pytest.raises(ConfigError, match=r"not a database.*Move the file away"):
            async with opened():
                pass
        assert path.read_text().startswith("dear diary")

    async def test_a_folder_that_cannot_be_made(self, tmp_path):
        (tmp_path / "file").write_text("")
        with pytest.raises(Unavailable, match=r"file/transcripts.db.*transcripts.path"):
            async with Transcripts.open(tmp_path / "file" / "transcripts.db", persona="m", model="t", release=None):
                pass

    async def test_a_folder_in_its_place(self, tmp_path):
        with pytest.raises(Unavailable, match=r"Is a directory.*transcripts.path"):
            async with Transcripts.open(tmp_path, persona="m", model="t", release=None):
                pass

    async def test_what_goes_wrong_inside_is_not_ours(self, opened, query):
        with pytest.raises(ValueError, match="mine"):
            async with opened():
                raise ValueError("mine")
        assert query("SELECT ended_at IS NULL FROM streams") == [(0,)]

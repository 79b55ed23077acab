"""The player: files are checked before anything is sent, times and ids are kept, and every fate is waited for."""

import asyncio
import json
import time
from collections import Counter
from pathlib import Path

import pytest

from vtuber_brain.chat.frames import BanFrame, ClearFrame, DeleteFrame, MessageFrame
from vtuber_brain.chat.replay import read_recording, renamed, replay
from vtuber_brain.errors import ConfigError, RecordError, Refused, Unavailable
from vtuber_brain.messages import ChatMessage, Retraction

MORI = Path(__file__).parents[1] / "data" / "stream_mori.jsonl"


def line(at=0.0, **frame):
    return {"at": at, **frame}


def message(id_, at=0.0, text="hi", author="kopi", **fields):
    return line(at, type="message", id=id_, author={"id": author, "name": author}, text=text, **fields)


@pytest.fixture
def record(tmp_path):
    """A function that writes a recording and returns its path."""

    def write(*lines) -> Path:
        path = tmp_path / "stream.jsonl"
        path.write_text("\n".join(item if isinstance(item, str) else json.dumps(item) for item in lines), "utf-8")
        return path

    return write


class TestReading:
    def test_lines_in_their_order(self, record):
        path = record(message("a", 1.5), "", line(2, type="delete", id="a"), line(3, type="ban", author_id="x"), "  ")
        assert [(item.at, item.frame.type) for item in read_recording(path)] == [
            (1.5, "message"),
            (2.0, "delete"),
            (3.0, "ban"),
        ]

    @pytest.mark.parametrize(
        ("bad", "field"),
        [
            ("{", "line"),
            ("[1]", "line"),
            (b"\xff".decode("latin-1"), "line"),
            ({"type": "clear"}, "at"),
            (line(-1, type="clear"), "at"),
            (line("0", type="clear"), "at"),
            (line(True, type="clear"), "at"),
            ('{"at": NaN, "type": "clear"}', "line"),
            (line(type="hello"), "type"),
            (line(type="subscribe"), "type"),
            (line(type="delete"), "id"),
            (message("a", text=5), "text"),
            (line(type="message", id="a", author={"name": "x"}, text="t"), "author.id"),
            (message("a", colour="red"), "colour"),
        ],
    )
    def test_a_bad_line_is_named_by_file_line_and_field(self, record, bad, field):
        path = record(message("a"), "", bad)
        with pytest.raises(RecordError) as failed:
            read_recording(path)
        assert (failed.value.file, failed.value.line, failed.value.field) == (str(path), 3, field)

    def test_a_file_of_another_encoding(self, tmp_path):
        path = tmp_path / "latin.jsonl"
        path.write_bytes(json.dumps(message("a", text="caf\u00e9"), ensure_ascii=False).encode("latin-1"))
        with pytest.raises(RecordError, match=":1: line: not JSON"):
            read_recording(path)

    def test_an_empty_file(self, record):
        with pytest.raises(RecordError, match="holds no messages"):
            read_recording(record("", ""))

    def test_no_file(self, tmp_path):
        with pytest.raises(ConfigError, match=r"nowhere.jsonl.*No such file.*JSONL recording"):
            read_recording(tmp_path / "nowhere.jsonl")

    async def test_nothing_is_sent_of_a_file_with_a_bad_line(self, record, brain):
        with pytest.raises(RecordError):
            await replay(brain.url, None, record(message("a"), "{"))
        assert brain.delivered == []


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        (DeleteFrame(id="a"), DeleteFrame(id="x:a")),
        (BanFrame(author_id="u"), BanFrame(author_id="x:u")),
        (ClearFrame(), ClearFrame()),
        (
            MessageFrame(id="a", author={"id": "u", "name": "n"}, text="t"),
            MessageFrame(id="x:a", author={"id": "x:u", "name": "n"}, text="t"),
        ),
    ],
)
def test_ids_are_renamed_alike_everywhere(frame, expected):
    assert renamed(frame, "x:") == expected


class TestReplaying:
    async def test_every_fate_is_in_the_summary(self, record, brain):
        path = record(
            message("a"),
            message("b", text="a bad word"),
            message("a"),
            message("c", author="troll"),
            line(0.01, type="ban", author_id="troll"),
            message("d", 0.02, author="troll"),
            message("e", 0.02, kind="cheer", amount=5),
        )
        summary = await replay(brain.url, None, path)
        assert (summary.received, summary.acked, summary.unsettled) == (6, 6, 0)
        assert summary.answered == 3
        assert summary.outcomes == {"spoken": 3}
        assert summary.denied == {"blocklist": 1}
        assert summary.dropped == {"duplicate": 1, "banned": 1}
        assert summary.errors == {}
        assert summary.latency_p50_s >= 0
        assert summary.cut_short is None

    async def test_a_second_time_is_a_new_stream(self, record, brain):
        path = record(message("a", author="troll"), line(type="ban", author_id="troll"), line(type="delete", id="a"))
        first = await replay(brain.url, None, path)
        second = await replay(brain.url, None, path)
        assert first.received == second.received == 1
        assert "duplicate" not in second.dropped
        assert "banned" not in second.dropped
        ids = [item.id for item in brain.delivered if isinstance(item, ChatMessage)]
        assert len(set(ids)) == 2
        assert all(id_.endswith(":a") for id_ in ids)
        targets = [item.target_id for item in brain.delivered if isinstance(item, Retraction)]
        assert targets[1::2] == ids

    async def test_time_is_kept_at_a_speed(self, record, brain):
        path = record(message("a"), message("b", 4.0), message("c", 8.0))
        started_s = time.monotonic()
        await replay(brain.url, None, path, speed=40)
        times_s = [item.received_s - started_s for item in brain.delivered]
        assert times_s[1] >= 0.1
        assert 0.2 <= times_s[2] < 8

    async def test_laps_go_on_until_stopped(self, record, brain):
        stop = asyncio.Event()
        path = record(message("a"), message("b", 0.001))

        async def stop_later():
            await brain.has_delivered(7)
            stop.set()

        stopping = asyncio.create_task(stop_later())
        summary = await replay(brain.url, None, path, loop=True, stop=stop)
        await stopping
        assert summary.received >= 7
        assert summary.dropped == {}
        assert summary.unsettled == 0

    async def test_progress_is_told(self, record, brain):
        seen = []
        await replay(brain.url, None, record(message("a"), message("b")), progress=seen.append)
        assert seen[-1].answered == 2
        assert [summary.acked for summary in seen] == sorted(summary.acked for summary in seen)

    async def test_a_message_that_never_has_a_fate_is_not_waited_for_for_ever(self, record, brain):
        summary = await replay(brain.url, None, record(message("a"), message("b", text="mute this")), settle_s=0.3)
        assert (summary.answered, summary.unsettled) == (1, 1)

    async def test_what_is_refused_is_counted_by_code(self, serve, record):
        async with serve(burst=3, messages_per_s=0.001) as brain:
            summary = await replay(brain.url, None, record(*(message(f"m{n}") for n in range(5))))
        assert summary.errors == {"rate_limited": 3}, "subscribing took one of the three"
        assert (summary.received, summary.acked, summary.answered, summary.unsettled) == (5, 2, 2, 0)

    async def test_a_daemon_that_dies_leaves_what_is_known(self, serve, record):
        async with serve() as brain:
            path = record(message("a"), message("b", text="mute"), *(message(f"late{n}", 5 + n) for n in range(3)))
            replaying = asyncio.create_task(replay(brain.url, None, path))
            await brain.has_delivered(2)
        async with asyncio.timeout(10):
            summary = await replaying
        assert summary.received == 2
        assert summary.cut_short == "the daemon closed the connection (1001)"

    async def test_nobody_at_home(self, record, unused_tcp_port):
        with pytest.raises(Unavailable, match="is the daemon running"):
            await replay(f"ws://127.0.0.1:{unused_tcp_port}/chat", None, record(message("a")))

    async def test_the_wrong_token(self, serve, record):
        async with serve(token="s3cret") as brain:
            with pytest.raises(Refused, match="401"):
                await replay(brain.url, "wrong", record(message("a")))
            summary = await replay(brain.url, "s3cret", record(message("a")))
        assert summary.answered == 1


class TestTheStreamOfMori:
    """What tests/data/stream_mori.jsonl promises: ids begin with h where hostile, s where spam, m otherwise."""

    recording = read_recording(MORI)
    messages = tuple(item.frame for item in recording if isinstance(item.frame, MessageFrame))

    def test_six_hundred_messages_in_ten_minutes(self):
        times = [item.at for item in self.recording]
        assert len(self.messages) == 600
        assert times == sorted(times)
        assert 0 <= times[0] < 10
        assert 590 < times[-1] <= 600

    def test_about_one_in_ten_is_hostile(self):
        kinds = Counter(frame.id[0] for frame in self.messages)
        assert 54 <= kinds["h"] <= 66
        assert kinds["s"] >= 15

    def test_ids_are_unique_but_for_what_was_sent_twice(self):
        counts = Counter(frame.id for frame in self.messages)
        repeated = [id_ for id_, count in counts.items() if count > 1]
        assert len(repeated) == 14
        assert max(counts.values()) == 2
        assert len(set(map(str, self.messages))) == 586

    def test_hardly_a_text_is_said_twice(self):
        texts = Counter(frame.text for frame in self.messages if frame.text)
        assert sum(texts.values()) - len(texts) <= 14

    def test_deletions_and_a_ban_that_is_ignored_by_the_banned(self):
        ids = {frame.id for frame in self.messages}
        deletes = [item.frame.id for item in self.recording if isinstance(item.frame, DeleteFrame)]
        assert len(deletes) == 5
        assert set(deletes) <= ids
        ((ban_at, banned),) = [
            (item.at, item.frame.author_id) for item in self.recording if isinstance(item.frame, BanFrame)
        ]
        theirs = [
            item.at for item in self.recording if getattr(getattr(item.frame, "author", None), "id", "") == banned
        ]
        assert sum(at > ban_at for at in theirs) == 3
        assert sum(at < ban_at for at in theirs) >= 3

    def test_viewers_and_money(self):
        assert 50 <= len({frame.author.id for frame in self.messages}) <= 70
        assert {"cheer", "sub", "gift", "raid", "redeem"} <= {frame.kind for frame in self.messages}

    def test_floods(self):
        chat = [item for item in self.recording if isinstance(item.frame, MessageFrame)]
        by_author = Counter((item.frame.author.name, int(item.at // 4)) for item in chat)
        assert sum(count >= 4 for count in by_author.values()) >= 3

    async def test_all_of_it_is_accounted_for(self, serve):
        as_people_do = {"author_burst": 4, "author_per_s": 0.5 * 300}
        async with serve(messages_per_s=10_000, burst=10_000, chat=as_people_do) as brain:
            summary = await replay(brain.url, None, MORI, speed=300)
        assert (summary.received, summary.acked, summary.unsettled, summary.errors) == (600, 600, 0, {})
        assert summary.dropped["duplicate"] == 14
        assert summary.dropped["banned"] >= 3
        fates = (summary.outcomes, summary.dropped, summary.denied)
        assert sum(sum(counts.values()) for counts in fates) == 600

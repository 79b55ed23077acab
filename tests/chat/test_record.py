"""The recorder: what it writes reads back as what was delivered, and no trouble with the file reaches anybody else."""

import asyncio
import contextlib
import json
import resource
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vtuber_brain.chat.protocol import incoming
from vtuber_brain.chat.record import MAX_WAITING, Noted, Recorder, append, length, line, resume
from vtuber_brain.chat.replay import read_recording, replay
from vtuber_brain.errors import Refused
from vtuber_brain.messages import Author, ChatMessage, ReplyTo, Retraction
from vtuber_brain.runtime.metrics import Metrics

NASTY = st.text(max_size=300)
NAMES = st.text(st.characters(codec="utf-8"), min_size=1, max_size=100)
TEXTS = st.text(st.characters(codec="utf-8"), max_size=300)
SECONDS = st.floats(0, 90_000)
KINDS = st.sampled_from(["chat", "cheer", "sub", "gift", "raid", "redeem", "follow", "announcement"])


def authors(names):
    return st.builds(Author, names, names, st.lists(names, max_size=4).map(tuple))


def messages(names, texts):
    earlier = st.none() | st.builds(ReplyTo, names, authors(names), texts, st.booleans())
    emotes = st.lists(names, max_size=4).map(tuple)
    return st.builds(
        ChatMessage,
        names,
        names,
        authors(names),
        texts,
        st.floats(1.7e9, 1.8e9),
        SECONDS,
        KINDS,
        st.floats(0, 1e6),
        earlier,
        emotes,
    )


RETRACTIONS = st.one_of(
    st.builds(Retraction, NAMES, st.just("message"), NAMES, st.just(1.7e9)),
    st.builds(Retraction, NAMES, st.just("author"), NAMES, st.just(1.7e9), st.none() | st.floats(1.7e9, 1.71e9)),
    st.builds(Retraction, NAMES, st.just("all"), st.none(), st.just(1.7e9)),
)


def chat(number, text="hi", **fields):
    fields = {"at": time.time(), "received_s": time.monotonic(), **fields}
    return ChatMessage("twitch", f"m{number}", Author("v1", "kopi"), text, **fields)


def read_back(path, data, now_at=1.7e9):
    """What `data` means when it is lived through again from second 0, at Unix time `now_at`."""
    path.write_bytes(data)
    (recorded,) = read_recording(path)
    sent_at = recorded.at if recorded.sent_at is None else recorded.sent_at
    received_at = recorded.at if recorded.received_at is None else recorded.received_at
    return incoming(recorded.frame, source=recorded.source, at=now_at + sent_at, received_s=received_at)


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    return tmp_path_factory.mktemp("lines") / "one.jsonl"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "stream.jsonl"


@contextlib.asynccontextmanager
async def recording(path):
    """A recorder at work, with what it says of its state; everything noted is written when the block ends."""
    states, changed, metrics = [], asyncio.Event(), Metrics()

    def on_state(up, reason):
        states.append((up, reason))
        changed.set()

    recorder = Recorder(path, metrics, on_state)
    task = asyncio.create_task(recorder.run())
    await asyncio.sleep(0)  # a task that never began has nothing to end
    recorder.states, recorder.changed, recorder.metrics = states, changed, metrics
    try:
        yield recorder
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def told(recorder, up):
    async with asyncio.timeout(10):
        while not recorder.states or recorder.states[-1][0] is not up:
            recorder.changed.clear()
            await recorder.changed.wait()
    return recorder.states[-1][1]


def lost(recorder):
    return recorder.metrics.registry.get_sample_value("vtb_errors_total", {"where": "recording"})


class TestLines:
    @given(message=messages(NAMES, TEXTS), age_s=st.floats(-5, 5), held_s=st.floats(0, 3))
    def test_a_message_comes_back_with_all_that_a_decision_may_look_at(self, scratch, message, age_s, held_s):
        if message.kind == "chat" and not message.text.strip():
            message = chat(1, "words")
        noted = Noted(message.received_s + held_s, message.at + age_s, message)
        back = read_back(scratch, line(noted, 0.0), noted.unix_s - noted.now_s)
        assert back.received_s == pytest.approx(message.received_s, abs=0.002)
        assert back.at == pytest.approx(message.at, abs=0.002)
        fields = {name: getattr(message, name) for name in ChatMessage.__slots__ if name not in {"at", "received_s"}}
        assert {name: getattr(back, name) for name in fields} == fields

    @given(retraction=RETRACTIONS)
    def test_a_retraction_comes_back_with_its_end(self, scratch, retraction):
        back = read_back(scratch, line(Noted(0.0, retraction.at, retraction), 0.0), retraction.at)
        assert (back.source, back.scope, back.target_id) == (retraction.source, retraction.scope, retraction.target_id)
        assert (back.until is None) == (retraction.until is None)
        assert back.until is None or back.until - back.at == pytest.approx(retraction.until - retraction.at)

    @given(message=messages(NASTY, NASTY), age_s=st.floats(-1e9, 1e9))
    def test_whatever_a_plugin_delivers_the_line_can_be_read(self, scratch, message, age_s):
        back = read_back(scratch, line(Noted(5.0, message.at + age_s, message), 0.0))
        assert back.kind == message.kind

    def test_a_platform_that_told_us_late_is_remembered_so(self, path):
        message = chat(1, at=1.7e9 + 7.5, received_s=109.0)
        path.write_bytes(line(Noted(110.0, 1.7e9 + 10, message), 100.0))
        (recorded,) = read_recording(path)
        assert (recorded.at, recorded.sent_at, recorded.received_at) == (10.0, 7.5, 9.0)


class TestFiles:
    async def test_what_is_delivered_is_recorded_in_its_order_and_delivered(self, path):
        delivered = []

        async def deliver(incoming):
            delivered.append(incoming)

        given = [chat(1), chat(2, kind="cheer", amount=50.0), Retraction("twitch", "message", "m1", time.time())]
        async with recording(path) as recorder:
            through = recorder.before(deliver)
            for one in given:
                await through(one)
            await told(recorder, True)
        assert delivered == given
        recorded = read_recording(path)
        assert [one.frame.type for one in recorded] == ["message", "message", "delete"]
        assert {one.source for one in recorded} == {"twitch"}
        assert path.stat().st_mode & 0o077 == 0, "strangers may read what viewers wrote"
        assert lost(recorder) == 0

    async def test_what_is_noted_in_the_last_moment_is_written_too(self, path):
        async with recording(path) as recorder:
            recorder.note(chat(1))
            await told(recorder, True)
            recorder.note(chat(2))
        assert [one.frame.id for one in read_recording(path)] == ["m1", "m2"]

    async def test_a_later_start_goes_on_where_the_recording_ended(self, path):
        path.write_text('{"at": 3600.5, "type": "clear"}\n')
        async with recording(path) as recorder:
            recorder.note(chat(1))
        first, second = read_recording(path)
        assert first.at == 3600.5
        assert 3600.5 <= second.at < 3700

    async def test_a_line_that_was_torn_by_a_crash_is_cut_off(self, path):
        path.write_text('{"at": 1.0, "type": "clear"}\n{"at": 2.0, "type": "cl')
        assert length(path) == (1.0, 29)
        async with recording(path) as recorder:
            recorder.note(chat(1))
        assert [one.frame.type for one in read_recording(path)] == ["clear", "message"]

    def test_only_a_torn_line_leaves_an_empty_recording(self, path):
        path.write_text('{"at": 2.0, "ty')
        assert resume(path) == 0.0
        assert path.read_bytes() == b""

    @pytest.mark.parametrize("text", ["[persona]\nname = 'mori'\n", "no newline", "\n\n", '{"at": "soon"}\n'])
    async def test_a_file_that_is_no_recording_is_left_alone_and_told(self, path, text):
        path.write_text(text)
        with pytest.raises(Refused):
            length(path)
        async with recording(path) as recorder:
            recorder.note(chat(1))
            assert "another path" in await told(recorder, False)
            recorder.note(chat(2))
        assert path.read_text() == text
        assert lost(recorder) == 2

    async def test_a_folder_that_is_gone_is_waited_for_and_nothing_is_lost(self, tmp_path, monkeypatch):
        monkeypatch.setattr("vtuber_brain.chat.record.RETRY_FIRST_S", 0.01)
        path = tmp_path / "gone" / "stream.jsonl"
        async with recording(path) as recorder:
            recorder.note(chat(1))
            assert "No such file" in await told(recorder, False)
            recorder.note(chat(2))
            path.parent.mkdir()
            assert await told(recorder, True) == ""
        assert [one.frame.id for one in read_recording(path)] == ["m1", "m2"]
        assert lost(recorder) == 0

    async def test_a_file_that_was_taken_away_is_begun_anew(self, path):
        async with recording(path) as recorder:
            recorder.note(chat(1))
            await told(recorder, True)
            path.unlink()
            recorder.note(chat(2))
        assert [one.frame.id for one in read_recording(path)] == ["m2"]

    def test_a_disk_that_is_full_in_the_middle_of_a_batch_leaves_no_half_line(self, path):
        append(path, b'{"at": 1.0, "type": "clear"}\n')
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 10, before[1]))
        try:
            with pytest.raises(OSError, match="too large"):
                append(path, b'{"at": 2.0, "type": "clear"}\n')
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert length(path) == (1.0, path.stat().st_size)

    async def test_a_flood_on_a_disk_that_does_not_answer_is_bounded_and_counted(self, tmp_path):
        async with recording(tmp_path / "gone" / "stream.jsonl") as recorder:
            for number in range(MAX_WAITING + 5):
                recorder.note(chat(number))
            assert lost(recorder) == 5


async def test_a_recording_of_two_sources_is_replayed_into_a_daemon_with_their_ids_apart(path, brain):
    lines = [
        {"at": 0, "source": source, "type": "message", "id": "m1", "author": {"id": "v", "name": "v"}, "text": text}
        for source, text in (("twitch", "hello you"), ("websocket", "something else"))
    ]
    lines.append({"at": 0, "source": "twitch", "sent_at": -1, "type": "ban", "author_id": "v", "for_s": 0})
    path.write_text("\n".join(map(json.dumps, lines)))
    summary = await replay(brain.url, None, path)
    assert (summary.received, summary.unsettled) == (2, 0)
    first, second, ban = brain.delivered
    assert first.id != second.id
    assert first.id.endswith(":twitch:m1")
    assert ban.target_id == first.author.id != second.author.id
    assert ban.until == ban.at

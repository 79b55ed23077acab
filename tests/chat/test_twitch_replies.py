"""Replies into chat: which are written, how they look, how many, and which are not."""

import asyncio
import time
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.chat.twitch_stage import log_in, mocked, on_stage
from tests.support.twitch_mock import BOT_ID, CHANNEL_ID, DEADLINE_S, Answer, said
from vtuber_brain.chat.twitch import http as twitch_http
from vtuber_brain.chat.twitch.limits import Window, pause_of
from vtuber_brain.chat.twitch.replies import MAX_CHARS, answered, clip, wanted
from vtuber_brain.messages import Author, ChatMessage, Turn, Utterance

VIEWER = Author("77", "kopi_susu")


@pytest.fixture
async def twitch(monkeypatch):
    async with mocked(monkeypatch) as server:
        yield server


def asked(text="hi Mori", message_id="m1", source="twitch", kind="chat", at=100.0):
    return ChatMessage(source, message_id, VIEWER, text, at, time.monotonic(), kind)


async def spoken(stage, text="Hello!", message=None, outcome="spoken"):
    """What the daemon tells its sinks of one reply: each sentence, then the turn, whose text has her cues."""
    message, sink = message or asked(), stage.chat.replies
    reply_id = uuid.uuid4().hex
    for seq, sentence in enumerate(text.split("|")):
        await sink.emit(Utterance(reply_id, seq, sentence, None, None, "en", False, message, time.time(), "mori", None))
    written = f"[smile] {text}"
    await sink.emit(Turn(reply_id, message, outcome, written, written, "mori", "tiny", None))


async def until(condition):
    async with asyncio.timeout(DEADLINE_S):
        while not condition():
            await asyncio.sleep(0.01)


def dropped(stage, reason):
    return stage.metric("vtb_twitch_replies_dropped_total", reason=reason)


async def test_a_reply_is_written_as_one_to_the_message_by_the_bot(twitch):
    log_in(twitch)
    async with on_stage(reply_in_chat="all") as stage:
        await twitch.subscribed()
        await spoken(stage, "Hello\n there!|How are you?")
        await twitch.until(lambda: twitch.sent)
        await until(lambda: stage.metric("vtb_twitch_replies_sent_total") == 1)
    assert twitch.sent == [
        {
            "broadcaster_id": CHANNEL_ID,
            "sender_id": BOT_ID,
            "message": "Hello there! How are you?",
            "reply_parent_message_id": "m1",
        }
    ]


async def test_without_the_setting_there_is_no_sink(twitch):
    log_in(twitch)
    async with on_stage() as stage:
        assert stage.chat.replies is None


async def test_only_what_was_spoken_to_a_message_of_twitch_is_written(twitch):
    log_in(twitch)
    async with on_stage(reply_in_chat="all") as stage:
        await twitch.subscribed()
        for outcome in ("cut", "retracted", "refused", "failed"):
            await spoken(stage, "not this", outcome=outcome)
        await spoken(stage, "nor this", asked(source="websocket"))
        await spoken(stage, "   ")
        await spoken(stage, "this")
        await twitch.until(lambda: twitch.sent)
    assert [sent["message"] for sent in twitch.sent] == ["this"]


async def test_a_reply_to_words_taken_back_while_it_waits_is_not_written(twitch):
    log_in(twitch)
    async with on_stage(reply_in_chat="all") as stage:
        session = await twitch.subscribed()
        window = stage.chat.replies._window
        for _ in range(20):
            window.note(time.monotonic() - 29.0)  # full for another second
        for number in range(3):
            message = asked(message_id=f"m{number}") if number < 2 else asked(message_id="m2", at=time.time() + 60)
            await spoken(stage, f"reply {number}", message)
        room = {"broadcaster_user_id": CHANNEL_ID, "target_user_id": "77"}
        await session.notify("channel.chat.message_delete", {**room, "message_id": "m0"})
        await session.notify("channel.chat.clear_user_messages", room)
        await twitch.until(lambda: twitch.sent)
    assert [sent["message"] for sent in twitch.sent] == ["reply 2"]
    assert dropped(stage, "retracted") == 2


async def test_a_reply_that_ends_just_after_its_words_were_taken_back_is_not_written(twitch):
    log_in(twitch)
    async with on_stage(reply_in_chat="all") as stage:
        session = await twitch.subscribed()
        room = {"broadcaster_user_id": CHANNEL_ID, "target_user_id": "77"}
        await session.notify("channel.chat.message_delete", {**room, "message_id": "m0"})
        await stage.heard(1)
        await spoken(stage, "too late", asked(message_id="m0"))
        await spoken(stage, "fine", asked(message_id="m1"))
        await twitch.until(lambda: twitch.sent)
    assert [sent["message"] for sent in twitch.sent] == ["fine"]
    assert dropped(stage, "retracted") == 1


async def test_muted_she_writes_nothing_not_even_what_she_has_said_before(twitch):
    log_in(twitch)
    path = "/helix/chat/messages"
    async with on_stage(reply_in_chat="all", timeout_s=30) as stage:
        await twitch.subscribed()
        twitch.fail(path, Answer(0, hang=True))
        await spoken(stage, "on its way")
        await spoken(stage, "waits")
        await until(lambda: not twitch.plans[path])
        stage.chat.mute(True)
        await spoken(stage, "ends just after")
        await until(lambda: dropped(stage, "muted") == 3)
        stage.chat.mute(False)
        await spoken(stage, "fine")
        await twitch.until(lambda: twitch.sent)
    assert [sent["message"] for sent in twitch.sent] == ["fine"]


async def test_a_queue_that_is_full_loses_its_oldest_and_what_waited_too_long_is_not_written(twitch):
    log_in(twitch)
    async with on_stage(reply_in_chat="all", reply_queue=2, reply_max_age_s=0.5) as stage:
        await twitch.subscribed()
        for _ in range(20):
            stage.chat.replies._window.note(time.monotonic() - 29.2)
        for number in range(3):
            await spoken(stage, f"old {number}")
        await until(lambda: dropped(stage, "stale") == 2)
        await spoken(stage, "fresh")
        await twitch.until(lambda: twitch.sent)
    assert [sent["message"] for sent in twitch.sent] == ["fresh"]
    assert dropped(stage, "queue_full") == 1


async def test_twenty_go_out_at_once_and_the_next_waits_for_the_window(twitch):
    log_in(twitch)
    async with on_stage(reply_in_chat="all", reply_queue=40) as stage:
        session = await twitch.subscribed()
        for number in range(30):
            await spoken(stage, f"line {number}")
        await twitch.until(lambda: len(twitch.sent) == 20)
        beats = session.beats
        await twitch.until(lambda: session.beats == beats + 3)
        assert stage.chat.replies._window.wait_s(time.monotonic()) > 25
    assert len(twitch.sent) == 20


async def test_a_moderator_may_write_a_hundred(twitch):
    log_in(twitch)
    async with on_stage(reply_in_chat="all", reply_queue=120) as stage:
        session = await twitch.subscribed()
        own = said("hi", "m0", BOT_ID, "mori_bot", badges=[{"set_id": "moderator", "id": "1", "info": ""}])
        await session.notify("channel.chat.message", own)
        await until(lambda: stage.metric("vtb_twitch_ignored_total", reason="own") == 1)
        for number in range(110):
            await spoken(stage, f"line {number}")
        await twitch.until(lambda: len(twitch.sent) == 100)


async def test_busy_is_waited_for_and_a_lost_answer_is_not_written_twice(twitch):
    log_in(twitch)
    path = "/helix/chat/messages"
    async with on_stage(reply_in_chat="all", timeout_s=0.4) as stage:
        await twitch.subscribed()
        twitch.fail(path, Answer(429), Answer(500), Answer(503))
        await spoken(stage, "patient")
        await twitch.until(lambda: len(twitch.sent) == 1)
        twitch.fail(path, Answer(0, hang=True))
        await spoken(stage, "lost")
        await spoken(stage, "next")
        await twitch.until(lambda: len(twitch.sent) == 2)
    assert [sent["message"] for sent in twitch.sent] == ["patient", "next"]
    assert dropped(stage, "unavailable") == 1


async def test_what_waited_when_the_source_ended_is_written_when_it_runs_again(twitch):
    log_in(twitch)
    path = "/helix/chat/messages"
    async with on_stage(reply_in_chat="all", timeout_s=30) as stage:
        await twitch.subscribed()
        twitch.fail(path, Answer(0, hang=True))
        await spoken(stage, "lost")
        await spoken(stage, "kept")
        await until(lambda: not twitch.plans[path])
        stage.task.cancel()
        await asyncio.gather(stage.task, return_exceptions=True)
        stage.task = asyncio.create_task(stage.chat.run(stage.deliver), name="twitch_source")
        await twitch.until(lambda: twitch.sent)
    assert [sent["message"] for sent in twitch.sent] == ["kept"]


async def test_what_twitch_does_not_show_is_counted(twitch):
    log_in(twitch)
    raw = '{"data": [{"message_id": "", "is_sent": false, "drop_reason": {"code": "msg_duplicate", "message": "no"}}]}'
    async with on_stage(reply_in_chat="all") as stage:
        await twitch.subscribed()
        twitch.fail("/helix/chat/messages", Answer(200, raw=raw), Answer(400, "no"))
        await spoken(stage, "one")
        await spoken(stage, "two")
        await until(lambda: dropped(stage, "rejected") == 2)


async def test_a_token_that_expires_while_writing_is_renewed(twitch):
    log_in(twitch)
    async with on_stage(reply_in_chat="all") as stage:
        await twitch.subscribed()
        twitch.expire()
        await spoken(stage, "renewed")
        await twitch.until(lambda: twitch.sent)
    assert twitch.refreshes == 1


async def test_her_own_replies_are_not_heard_again_though_the_streamer_writes_with_that_account(twitch):
    log_in(twitch, CHANNEL_ID)
    async with on_stage(reply_in_chat="all") as stage:
        session = await twitch.subscribed(count=7)
        await spoken(stage, "Hello there!")
        await twitch.until(lambda: twitch.sent)
        for number, text in enumerate(("@kopi_susu Hello there!", "the streamer says hi")):
            await session.notify("channel.chat.message", said(text, f"e{number}", CHANNEL_ID, "mori_channel"))
        await stage.heard(1)
    assert stage.texts == ["the streamer says hi"]


@pytest.mark.parametrize(
    ("text", "commands"), [("!song", True), ("@mori_bot !song", True), ("  !x", True), ("song!", False), ("", False)]
)
def test_commands_begin_with_an_exclamation_mark(text, commands):
    assert wanted("commands", asked(text)) is commands
    assert wanted("all", asked(text))
    assert not wanted("off", asked(text))


def test_what_does_not_stand_in_chat_is_answered_without_a_thread():
    assert answered(asked()) == "m1"
    assert answered(asked(kind="cheer")) == "m1"
    assert answered(asked(kind="raid")) is None
    assert answered(asked(kind="redeem", message_id="event-r1")) is None


def test_a_long_reply_is_cut_at_a_word():
    text = "kata " * 200
    assert len(clip(text)) <= MAX_CHARS
    assert clip(text).endswith("kata…")
    assert clip("x" * 600) == "x" * 499 + "…"
    assert clip("y" * 500) == "y" * 500
    assert clip("z" * 499 + " end") == "z" * 499 + "…"


@pytest.mark.parametrize("text", ["/ban kopi", "!ban kopi", ".ban kopi", " / /ban kopi"])
def test_a_reply_is_never_a_command(text):
    assert clip(text) == "ban kopi"


@given(st.text(max_size=1500))
def test_whatever_she_says_fits(text):
    assert len(clip(text)) <= MAX_CHARS
    assert not clip(text).startswith(("/", "!", "."))


@given(st.lists(st.floats(0, 5), max_size=400), st.booleans())
def test_no_window_ever_holds_more_than_twitch_allows(pauses, moderator):
    window, now_s, sent = Window(), 0.0, []
    window.moderator = moderator
    for pause_s in pauses:
        now_s += pause_s
        if window.wait_s(now_s) == 0:
            window.note(now_s)
            sent.append(now_s)
    limit = 100 if moderator else 20
    assert all(later - first >= 30 for first, later in zip(sent, sent[limit:], strict=False))


def test_how_long_twitch_wants_to_be_left_alone():
    assert pause_of({"Retry-After": "7"}, 100.0) == 7
    assert pause_of({"Ratelimit-Reset": "130"}, 100.0) == 30
    assert pause_of({"Ratelimit-Reset": "30"}, 100.0) == 0
    assert pause_of({"Retry-After": "Thu, 01 Jan 1970 00:02:00 GMT"}, 100.0) == 20
    assert pause_of({"Retry-After": "soon"}, 100.0) == 0
    assert pause_of({}, 100.0) == 0
    assert twitch_http.PATIENCE_S < 10

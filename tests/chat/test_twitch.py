"""The Twitch source against a real server: what it reads, how it survives, what it never says."""

import asyncio
import time

import pytest

from tests.chat.twitch_stage import CHAT, log_in, mocked, on_stage, tokens
from tests.support.twitch_mock import BOT_ID, CHANNEL_ID, Answer, MockTwitch, said
from vtuber_brain.chat.twitch import http as twitch_http
from vtuber_brain.chat.twitch import intake as twitch_intake
from vtuber_brain.chat.twitch import source as twitch_source
from vtuber_brain.errors import Refused, Unavailable
from vtuber_brain.messages import Author, ChatMessage, Retraction

MESSAGE = "channel.chat.message"
BROADCASTER = ("moderator:read:followers", "bits:read", "channel:read:redemptions")


@pytest.fixture
async def twitch(monkeypatch):
    async with mocked(monkeypatch) as server:
        yield server


async def test_chat_is_delivered_in_order_with_who_when_and_what(twitch):
    log_in(twitch)
    async with on_stage() as stage:
        session = await twitch.subscribed()
        before = time.time()
        badges = [{"set_id": name, "id": "1", "info": ""} for name in ("moderator", "founder", "glitchcon2020")]
        await session.notify(MESSAGE, said("halo Mori!", "m1", badges=badges))
        await session.notify(MESSAGE, said("apa kabar?", "m2"))
        await stage.heard(2)
        first, second = stage.delivered
    assert (first.source, first.id, first.text, second.text) == ("twitch", "m1", "halo Mori!", "apa kabar?")
    assert (first.author.id, first.author.name, first.author.roles) == ("77", "kopi_susu", ("moderator", "subscriber"))
    assert abs(first.at - before) < 5
    assert abs(first.received_s - time.monotonic()) < 5


async def test_it_subscribes_with_the_account_s_token_to_what_takes_words_back_first(twitch):
    log_in(twitch)
    async with on_stage():
        session = await twitch.subscribed()
    assert list(session.topics)[-1] == MESSAGE
    assert set(session.topics) == {
        f"channel.chat.{name}" for name in ("message", "notification", "message_delete", "clear", "clear_user_messages")
    }
    assert all(
        condition == {"broadcaster_user_id": CHANNEL_ID, "user_id": BOT_ID} for condition in session.topics.values()
    )


async def test_deletions_clears_and_timeouts_arrive_as_retractions(twitch):
    log_in(twitch)
    room = {"broadcaster_user_id": CHANNEL_ID}
    async with on_stage() as stage:
        session = await twitch.subscribed()
        await session.notify("channel.chat.message_delete", {**room, "target_user_id": "77", "message_id": "m1"})
        await session.notify("channel.chat.clear_user_messages", {**room, "target_user_id": "77"})
        await session.notify("channel.chat.clear", room)
        await stage.heard(3)
    deleted, timed_out, cleared = stage.delivered
    assert (deleted.scope, deleted.target_id) == ("message", "m1")
    assert (timed_out.scope, timed_out.target_id, timed_out.until) == ("author", "77", timed_out.at)
    assert (cleared.scope, cleared.target_id) == ("all", None)


async def test_a_deletion_does_not_wait_until_the_messages_before_it_are_stored(twitch, monkeypatch):
    monkeypatch.setattr(twitch_intake, "MAX_UNDER_WAY", 4)
    log_in(twitch)
    async with on_stage() as stage:
        session = await twitch.subscribed()
        stage.disk.clear()
        for number in range(3):
            await session.notify(MESSAGE, said(f"hello {number}", f"m{number}"))
        deleted = {"broadcaster_user_id": CHANNEL_ID, "target_user_id": "77", "message_id": "m1"}
        await session.notify("channel.chat.message_delete", deleted)
        await session.notify(MESSAGE, said("one too many", "m3"))
        beats = session.beats
        await stage.heard(4)
        await twitch.until(lambda: session.beats >= beats + 3)
        assert [getattr(one, "id", "deleted") for one in stage.delivered] == ["m0", "m1", "m2", "deleted"]
        stage.disk.set()
        await stage.heard(5)
    assert stage.texts[-1] == "one too many"


async def test_a_notification_that_twitch_repeats_is_delivered_once_also_after_a_reconnection(twitch):
    log_in(twitch)
    async with on_stage() as stage:
        session = await twitch.subscribed()
        await session.notify(MESSAGE, said("once", "m1"), "n1")
        await session.notify(MESSAGE, said("once", "m1"), "n1")
        await stage.heard(1)
        await session.drop()
        session = await twitch.subscribed(number=2)
        await session.notify(MESSAGE, said("once", "m1"), "n1")
        await session.notify(MESSAGE, said("twice", "m2"), "n2")
        await stage.heard(2)
    assert stage.texts == ["once", "twice"]
    assert stage.metric("vtb_twitch_ignored_total", reason="duplicate") == 2


async def test_silence_is_noticed_and_the_gap_is_told_with_its_length(twitch, capsys):
    log_in(twitch)
    async with on_stage() as stage:
        session = await twitch.subscribed()
        session.mute, started_s = True, time.monotonic()
        session = await twitch.subscribed(number=2)
        await session.notify(MESSAGE, said("back"))
        await stage.heard(1)
    assert 0.8 < time.monotonic() - started_s < 4  # a silence of 1 s is too long here, of 12 s with the default
    assert [state[:2] for state in stage.states] == [("twitch", True), ("twitch", False), ("twitch", True)]
    assert "no sign of life" in stage.states[1][2]
    assert 0.8 < stage.metric("vtb_twitch_gap_seconds_total") < 4
    assert "twitch_gap" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["silence", "drop", "revoked_session", "busy"])
async def test_with_the_default_settings_it_reads_again_within_twenty_seconds(monkeypatch, fault):
    async with MockTwitch(keepalive_s=9.5) as twitch:
        twitch.point(monkeypatch)
        log_in(twitch)
        async with on_stage(silence_s=12, timeout_s=5, retry_max_s=8) as stage:
            session = await twitch.subscribed()
            if fault == "busy":
                twitch.fail("/helix/eventsub/subscriptions", *[Answer(500)] * 4)
                twitch.fail("/ws", Answer(503), Answer(503))
            session.mute, started_s = True, time.monotonic()
            if fault == "revoked_session":
                await session.socket.close(code=4003)
            elif fault != "silence":
                await session.drop()
            async with asyncio.timeout(20):
                while len(twitch.sessions) < 2 or len(twitch.sessions[-1].topics) < 5:
                    await asyncio.sleep(0.1)
            await twitch.sessions[-1].notify(MESSAGE, said("back"))
            await stage.heard(1)
        assert time.monotonic() - started_s < 20


async def test_a_chat_where_nobody_speaks_is_not_taken_for_silence(twitch):
    log_in(twitch)
    async with on_stage(silence_s=0.5) as stage:
        session = await twitch.subscribed()
        await twitch.until(lambda: session.beats >= 6)
        assert len(twitch.sessions) == 1
        await session.notify(MESSAGE, said("still here"))
        await stage.heard(1)


async def test_messages_in_flight_while_the_session_moves_are_all_delivered(twitch):
    log_in(twitch)
    async with on_stage() as stage:
        old = await twitch.subscribed()
        await old.notify(MESSAGE, said("before", "m0"))
        await old.move_to(f"{twitch.ws}?from={old.id}")
        for number in range(20):
            await old.notify(MESSAGE, said(f"old {number}", f"o{number}"))
        await twitch.until(lambda: len(twitch.sessions) == 2)
        new = twitch.sessions[1]
        await old.notify(MESSAGE, said("last words", "o20"))
        await new.notify(MESSAGE, said("new", "n1"))
        await stage.heard(23)
        await twitch.until(lambda: old.socket.closed)
    assert stage.texts == ["before", *(f"old {number}" for number in range(20)), "last words", "new"]
    assert stage.metric("vtb_twitch_gap_seconds_total") == 0
    assert [state[:2] for state in stage.states] == [("twitch", True)]


async def test_while_it_cannot_move_it_goes_on_reading_where_it_is(twitch):
    log_in(twitch)
    async with on_stage() as stage:
        old = await twitch.subscribed()
        twitch.fail("/ws", Answer(503), Answer(503))
        await old.move_to(f"{twitch.ws}?from={old.id}")
        await twitch.until(lambda: not twitch.plans["/ws"])
        await old.notify(MESSAGE, said("meanwhile", "m1"))
        await twitch.until(lambda: len(twitch.sessions) == 2)
        await twitch.sessions[1].notify(MESSAGE, said("moved", "m2"))
        await stage.heard(2)
    assert stage.texts == ["meanwhile", "moved"]


async def test_when_the_place_to_move_to_is_dead_it_connects_anew(twitch):
    log_in(twitch)
    async with on_stage() as stage:
        old = await twitch.subscribed()
        await old.move_to("ws://127.0.0.1:9/ws")
        await old.socket.close(code=4004)
        await (await twitch.subscribed(number=2)).notify(MESSAGE, said("anew"))
        await stage.heard(1)


@pytest.mark.parametrize("code", [1001, 4000, 4002, 4003, 4005, 4006])
async def test_a_closed_connection_is_made_again(twitch, code):
    log_in(twitch)
    async with on_stage() as stage:
        await (await twitch.subscribed()).socket.close(code=code)
        await (await twitch.subscribed(number=2)).notify(MESSAGE, said("again"))
        await stage.heard(1)
    assert str(code) in stage.states[1][2]


async def test_a_gap_is_counted_over_connections_that_came_to_nothing(twitch, monkeypatch):
    monkeypatch.setattr(twitch_http, "PATIENCE_S", 0.0)
    log_in(twitch)
    async with on_stage() as stage:
        session = await twitch.subscribed()
        twitch.fail("/helix/eventsub/subscriptions", *[Answer(500)] * 2)
        started_s = time.monotonic()
        await session.drop()
        await (await twitch.subscribed(number=2)).notify(MESSAGE, said("back"))
        await stage.heard(1)
        away_s = time.monotonic() - started_s
    assert len(twitch.sessions) == 4
    assert stage.metric("vtb_twitch_gap_seconds_total") == pytest.approx(away_s, abs=0.4)


async def test_a_login_withdrawn_while_it_runs_is_noticed_by_looking(twitch, monkeypatch):
    monkeypatch.setattr(twitch_source, "CHECK_S", 0.1)
    log_in(twitch)
    async with on_stage() as stage:
        await twitch.subscribed()
        twitch.withdraw()
        error = await stage.ended()
    assert type(error) is Refused
    assert "vtuber-brain twitch login" in str(error)


async def test_frames_without_metadata_and_events_unknown_do_not_deafen_it(twitch):
    log_in(twitch)
    async with on_stage() as stage:
        session = await twitch.subscribed()
        await session.send("notification", {"event": {}}, metadata=False)
        await session.socket.send_str("not json")
        await session.socket.send_str("[]")
        await session.socket.send_bytes(b"\xff\x00")
        await session.send("session_surprise", {})
        await session.send("session_reconnect", {"session": {"id": "x", "reconnect_url": None}})
        await session.send("notification", {"subscription": {"type": MESSAGE}})
        await session.notify("channel.surprise", {"a": 1})
        await session.notify(MESSAGE, {"message": {"text": 5}})
        await session.notify(MESSAGE, said("still listening"))
        await stage.heard(1)
        assert len(twitch.sessions) == 1
    assert stage.texts == ["still listening"]
    assert stage.metric("vtb_twitch_ignored_total", reason="malformed_frame") == 6
    assert stage.metric("vtb_twitch_ignored_total", reason="unknown") == 1
    assert stage.metric("vtb_twitch_ignored_total", reason="malformed") == 1


async def test_a_connection_without_a_welcome_is_given_up_and_tried_again(twitch):
    log_in(twitch)
    twitch.welcomes = False
    async with on_stage() as stage:
        await twitch.until(lambda: len(twitch.sessions) == 1)
        twitch.welcomes = True
        await (await twitch.subscribed()).notify(MESSAGE, said("welcome"))
        await stage.heard(1)


async def test_a_revoked_login_ends_it_naming_the_scope_and_the_command(twitch):
    log_in(twitch)
    async with on_stage() as stage:
        session = await twitch.subscribed()
        await session.revoke(MESSAGE)
        error = await stage.ended()
    assert type(error) is Refused
    assert "authorization_revoked" in str(error)
    assert "user:read:chat" in str(error)
    assert str(error).endswith("vtuber-brain twitch login")


async def test_a_missing_scope_is_refused_before_anything_is_opened(twitch):
    log_in(twitch, scopes=("user:write:chat",))
    async with on_stage() as stage:
        error = await stage.ended()
    assert type(error) is Refused
    assert "user:read:chat" in str(error)
    assert "vtuber-brain twitch login" in str(error)
    assert not twitch.sessions


async def test_without_a_login_it_says_what_to_run(twitch):
    async with on_stage() as stage:
        error = await stage.ended()
    assert str(error) == "nobody is logged in at Twitch; run: vtuber-brain twitch login"


async def test_a_channel_that_is_not_there_is_refused_by_name(twitch):
    log_in(twitch)
    async with on_stage(channel="nobody_here") as stage:
        assert "no channel nobody_here" in str(await stage.ended())


async def test_an_expired_token_is_renewed_kept_and_used(twitch):
    log_in(twitch)
    before = tokens().load()[BOT_ID]
    twitch.expire()
    async with on_stage() as stage:
        await (await twitch.subscribed()).notify(MESSAGE, said("renewed"))
        await stage.heard(1)
    kept = tokens().load()[BOT_ID]
    assert twitch.refreshes == 1
    assert kept.refresh != before.refresh
    assert twitch.grants[kept.access].refresh == kept.refresh


async def test_a_token_that_expires_while_it_subscribes_costs_one_renewal(twitch):
    log_in(twitch)
    twitch.fail("/helix/eventsub/subscriptions", Answer(401, "Invalid OAuth token"))
    async with on_stage():
        await twitch.subscribed()
    assert twitch.refreshes == 1


async def test_a_login_that_was_withdrawn_is_refused_with_the_command(twitch):
    log_in(twitch)
    twitch.withdraw()
    async with on_stage() as stage:
        error = await stage.ended()
    assert type(error) is Refused
    assert "mori_bot" in str(error)
    assert "vtuber-brain twitch login" in str(error)


async def test_a_renewal_that_twitch_never_accepts_ends_instead_of_going_round(twitch):
    log_in(twitch)
    twitch.fail("/helix/users", *[Answer(401, "Invalid OAuth token")] * 9)
    async with on_stage() as stage:
        await twitch.until(lambda: len([1 for request in twitch.requests if request[1] == "/helix/users"]) >= 4)
        assert twitch.refreshes <= 3
        assert not stage.task.done()


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_busy_answers_are_asked_again_for(twitch, status):
    log_in(twitch)
    twitch.fail("/helix/eventsub/subscriptions", Answer(status), Answer(status))
    async with on_stage() as stage:
        await (await twitch.subscribed()).notify(MESSAGE, said("patience"))
        await stage.heard(1)
        assert len(twitch.sessions) == 1


@pytest.mark.parametrize("header", ["Retry-After", "Ratelimit-Reset"])
async def test_twitch_is_left_alone_for_as_long_as_it_asks(twitch, header):
    log_in(twitch)
    told = {"Retry-After": "1", "Ratelimit-Reset": str(int(time.time()) + 2)}
    twitch.fail("/helix/users", Answer(429, headers={header: told[header]}))
    started_s = time.monotonic()
    async with on_stage():
        await twitch.subscribed()
    assert time.monotonic() - started_s > 0.95


async def test_an_answer_that_hangs_or_makes_no_sense_does_not_stop_it(twitch):
    log_in(twitch)
    twitch.fail("/oauth2/validate", Answer(200, raw="{"), Answer(200, raw="[]"), Answer(0, hang=True))
    twitch.fail("/helix/users", Answer(200, raw='{"data": 5}'))
    async with on_stage() as stage:
        await (await twitch.subscribed()).notify(MESSAGE, said("after all"))
        await stage.heard(1)


async def test_a_twitch_that_is_down_at_the_start_is_waited_for(twitch, monkeypatch):
    monkeypatch.setattr(twitch_http, "PATIENCE_S", 0.3)
    log_in(twitch)
    twitch.fail("/oauth2/validate", *[Answer(500)] * 8)
    async with on_stage() as stage:
        await twitch.until(lambda: not twitch.plans["/oauth2/validate"])
        await twitch.subscribed()
        assert stage.states[0][:2] == ("twitch", False)


async def test_a_burst_of_three_thousand_messages_arrives_whole_once_and_in_order(twitch):
    log_in(twitch)
    async with on_stage() as stage:
        session = await twitch.subscribed()
        for number in range(3000):
            await session.notify(MESSAGE, said(f"line {number}", f"m{number}"))
        await stage.heard(3000)
    assert stage.texts == [f"line {number}" for number in range(3000)]
    assert stage.metric("vtb_twitch_gap_seconds_total") == 0


async def test_what_the_bot_itself_or_an_ignored_bot_wrote_is_not_answered(twitch):
    log_in(twitch)
    async with on_stage(ignore=["Nightowl_Bot"]) as stage:
        session = await twitch.subscribed()
        await session.notify(MESSAGE, said("my own words", "m1", BOT_ID, "mori_bot"))
        await session.notify(MESSAGE, said("buy followers", "m2", "88", "nightowl_bot"))
        await session.notify(MESSAGE, said("hello", "m3"))
        await stage.heard(1)
    assert stage.texts == ["hello"]


async def test_the_channel_s_own_account_brings_follows_cheers_redemptions_and_the_stream_s_state(twitch):
    log_in(twitch)
    log_in(twitch, CHANNEL_ID, (*CHAT, *BROADCASTER))
    async with on_stage() as stage:
        own = await twitch.subscribed(user_id=CHANNEL_ID)
        viewer = {"broadcaster_user_id": CHANNEL_ID, "user_id": "77", "user_login": "kopi", "user_name": "Kopi"}
        await own.notify("stream.online", {"id": "1", "broadcaster_user_id": CHANNEL_ID, "type": "live"})
        await own.notify("channel.follow", {**viewer, "followed_at": "2026-01-01T00:00:00Z"})
        reward = {"id": "r", "title": "Hydrate", "cost": 300}
        topic = "channel.channel_points_custom_reward_redemption.add"
        await own.notify(topic, {**viewer, "id": "red1", "user_input": "", "reward": reward})
        await own.notify("channel.cheer", {**viewer, "is_anonymous": False, "message": "cheer50 hi", "bits": 50})
        await stage.heard(3)
        assert stage.chat.live is True
    seen = [(message.kind, message.amount, message.text) for message in stage.delivered]
    assert sorted(seen) == [
        ("cheer", 50.0, "cheer50 hi"),
        ("follow", 0.0, "just followed"),
        ("redeem", 300.0, "Hydrate"),
    ]


async def test_a_cheer_that_stands_in_chat_and_reaches_the_channel_s_account_is_delivered_once(twitch):
    log_in(twitch)
    log_in(twitch, CHANNEL_ID, (*CHAT, *BROADCASTER))
    async with on_stage() as stage:
        bot, own = [await twitch.subscribed(user_id=user_id) for user_id in (BOT_ID, CHANNEL_ID)]
        cheer = {
            "broadcaster_user_id": CHANNEL_ID,
            "user_id": "77",
            "user_name": "Kopi",
            "message": "cheer9 a",
            "bits": 9,
        }
        await own.notify("channel.cheer", cheer)
        await bot.notify(MESSAGE, said("cheer9 a", "m1", cheer={"bits": 9}))
        await bot.notify(MESSAGE, said("cheer9 b", "m2", cheer={"bits": 9}))
        await stage.heard(2)
        await own.notify("channel.cheer", {**cheer, "message": "cheer9 b"})
        await own.notify("channel.follow", {"user_id": "1", "user_name": "End"})
        await stage.heard(3)
        assert stage.chat._intake._twins.next_s() is None
    assert [message.id for message in stage.delivered][:2] == ["m1", "m2"]


async def test_when_the_channel_s_own_login_dies_chat_goes_on(twitch):
    log_in(twitch)
    log_in(twitch, CHANNEL_ID, (*CHAT, *BROADCASTER))
    async with on_stage() as stage:
        bot, own = [await twitch.subscribed(user_id=user_id) for user_id in (BOT_ID, CHANNEL_ID)]
        await own.revoke("channel.follow")
        await twitch.until(lambda: own.socket.closed)
        await bot.notify(MESSAGE, said("on we go"))
        await stage.heard(1)
    (down,) = [state for state in stage.states if state[:2] == ("twitch_broadcaster", False)]
    assert "moderator:read:followers" in down[2]
    assert down[2].endswith("vtuber-brain twitch login --broadcaster")


async def test_one_account_for_both_hears_everything_on_one_connection(twitch):
    log_in(twitch, CHANNEL_ID, (*CHAT, *BROADCASTER))
    async with on_stage() as stage:
        session = await twitch.subscribed(count=10)
        await session.notify(MESSAGE, said("the streamer types", "m1", CHANNEL_ID, "mori_channel"))
        await stage.heard(1)
    assert len(twitch.sessions) == 1


async def test_a_message_that_cannot_be_stored_does_not_end_the_reader(twitch):
    log_in(twitch)
    async with on_stage() as stage:
        session = await twitch.subscribed()
        keep = stage.deliver

        async def full(incoming):
            raise Unavailable("no space left")

        stage.chat._intake._deliver_to = full
        await session.notify(MESSAGE, said("lost", "m1"))
        await session.notify("channel.surprise", {})
        await twitch.until(lambda: stage.metric("vtb_twitch_ignored_total", reason="unknown") == 1)
        stage.chat._intake._deliver_to = keep
        await session.notify(MESSAGE, said("kept", "m2"))
        await stage.heard(1)
    assert [type(one) for one in stage.delivered] == [ChatMessage]


def test_a_retraction_of_an_author_ends_when_it_says():
    message = ChatMessage("twitch", "m", Author("77", "a"), "hi", at=10.0, received_s=0.0)
    assert Retraction("twitch", "author", "77", at=9.0).covers(message)
    assert not Retraction("twitch", "author", "77", at=9.0, until=9.0).covers(message)
    assert Retraction("twitch", "author", "77", at=10.0, until=10.0).covers(message)

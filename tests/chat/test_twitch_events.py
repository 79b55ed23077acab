"""What happened on Twitch becomes the brain's words: each kind of event, what is left out, and any nonsense at all."""

import json
import math
from random import Random

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.support.twitch_mock import CHANNEL_ID, said
from vtuber_brain.chat.twitch.events import _READERS, Ignored, StreamState, understand
from vtuber_brain.chat.twitch.frames import (
    Alive,
    Malformed,
    Moved,
    Notice,
    Revoked,
    Welcome,
    parse_frame,
)
from vtuber_brain.messages import Author, ChatMessage, ReplyTo, Retraction

OURS = "2000"


def heard(topic, event, at=100.0):
    return understand(Notice("n1", topic, at, event), our_id=OURS, at=999.0, received_s=5.0)


def chat(text="hi", **more):
    return heard("channel.chat.message", said(text, **more))


def note(notice_type, text="", **more):
    event = {**said(text), "notice_type": notice_type, "system_message": "someone did something", **more}
    return heard("channel.chat.notification", event)


def fragments(*parts):
    return {
        "text": "".join(text for _, text in parts),
        "fragments": [{"type": kind, "text": text} for kind, text in parts],
    }


def test_a_chat_message_keeps_its_words_and_its_time():
    assert chat("halo") == ChatMessage("twitch", "m1", Author("77", "kopi_susu"), "halo", 100.0, 5.0)


def test_where_twitch_gave_no_time_ours_stands_in():
    assert understand(Notice("n", "channel.chat.message", None, said("hi")), our_id="", at=9.0, received_s=0).at == 9.0


@pytest.mark.parametrize(
    ("badge", "role"),
    [
        ("broadcaster", "broadcaster"),
        ("moderator", "moderator"),
        ("lead_moderator", "moderator"),
        ("vip", "vip"),
        ("subscriber", "subscriber"),
        ("founder", "subscriber"),
    ],
)
def test_badges_become_roles(badge, role):
    badges = [{"set_id": badge, "id": "1", "info": "8"}, {"set_id": "bits", "id": "100", "info": ""}]
    assert chat(badges=badges).author.roles == (role,)


def test_emotes_stay_in_the_text_by_name_and_are_told_apart():
    message = fragments(("text", "so good "), ("emote", "LUL"), ("text", " "), ("emote", "LUL"), ("emote", "Kappa"))
    heard_one = chat(message=message)
    assert heard_one.text == "so good LUL LULKappa"
    assert heard_one.emotes == ("LUL", "Kappa")


def test_a_cheer_tells_its_bits_and_leaves_the_cheermotes_out_of_the_words():
    message = fragments(("cheermote", "Cheer100"), ("text", " go on "), ("cheermote", "Cheer50"))
    cheer = chat(message=message, cheer={"bits": 150})
    assert (cheer.kind, cheer.amount, cheer.text) == ("cheer", 150.0, "go on")


def test_a_message_for_channel_points_is_a_redemption():
    redeemed = chat("sing for me", channel_points_custom_reward_id="reward-1")
    assert (redeemed.kind, redeemed.text) == ("redeem", "sing for me")


def test_a_reply_says_to_what_and_whether_it_was_ours():
    reply = {
        "parent_message_id": "p1",
        "parent_message_body": "how are you?",
        "parent_user_id": OURS,
        "parent_user_name": "mori_bot",
        "parent_user_login": "mori_bot",
    }
    assert chat(reply=reply).reply_to == ReplyTo("p1", Author(OURS, "mori_bot"), "how are you?", ours=True)
    assert not chat(reply={**reply, "parent_user_id": "1"}).reply_to.ours


def test_only_what_was_written_here_of_a_shared_chat_is_read():
    assert chat(source_broadcaster_user_id="555") is Ignored.SHARED_CHAT
    assert isinstance(chat(source_broadcaster_user_id=CHANNEL_ID), ChatMessage)
    assert note("shared_chat_raid", source_broadcaster_user_id="555") is Ignored.SHARED_CHAT
    assert note("shared_chat_announcement", "buy now") is Ignored.SHARED_CHAT


@pytest.mark.parametrize(
    ("event", "kind", "amount"),
    [
        ({"notice_type": "sub", "sub": {"sub_tier": "1000", "is_prime": False, "duration_months": 1}}, "sub", 1),
        ({"notice_type": "resub", "resub": {"cumulative_months": 14, "duration_months": 1}}, "sub", 14),
        ({"notice_type": "resub", "resub": None}, "sub", 1),
        ({"notice_type": "prime_paid_upgrade"}, "sub", 1),
        ({"notice_type": "gift_paid_upgrade"}, "sub", 1),
        ({"notice_type": "pay_it_forward"}, "gift", 1),
        ({"notice_type": "sub_gift", "sub_gift": {"community_gift_id": None}}, "gift", 1),
        ({"notice_type": "community_sub_gift", "community_sub_gift": {"id": "g", "total": 50}}, "gift", 50),
    ],
)
def test_money_in_chat_tells_what_and_how_much(event, kind, amount):
    told = note(**event)
    assert (told.kind, told.amount, told.is_money, told.text) == (kind, amount, True, "")


def test_a_gift_bomb_is_one_event_whatever_it_rains():
    bomb = [note("community_sub_gift", community_sub_gift={"id": "g1", "total": 20, "sub_tier": "1000"})]
    bomb += [note("sub_gift", sub_gift={"community_gift_id": "g1", "recipient_user_id": str(n)}) for n in range(20)]
    assert [one.amount for one in bomb if isinstance(one, ChatMessage)] == [20.0]
    assert bomb[1:] == [Ignored.GIFT_CHILD] * 20


def test_a_raid_comes_from_the_raider_with_its_viewers():
    raid = note("raid", raid={"user_id": "9", "user_name": "Big_Streamer", "viewer_count": 321})
    assert (raid.kind, raid.amount, raid.author.name) == ("raid", 321.0, "Big_Streamer")


def test_an_announcement_is_one_and_is_no_money():
    told = note("announcement", "no spoilers please", announcement={"color": "BLUE"})
    assert (told.kind, told.text, told.is_money) == ("announcement", "no spoilers please", False)


def test_a_notice_of_a_new_kind_is_what_its_author_wrote_with_it():
    assert (note("watch_streak", "ten in a row!").kind, note("watch_streak", "ten!").text) == ("chat", "ten!")
    assert note("modiversary") is Ignored.NO_WORDS


def test_words_taken_back_are_retractions():
    room = {"broadcaster_user_id": CHANNEL_ID}
    deleted = heard("channel.chat.message_delete", {**room, "message_id": "m1", "target_user_id": "77"})
    banned = heard("channel.chat.clear_user_messages", {**room, "target_user_id": "77"})
    assert deleted == Retraction("twitch", "message", "m1", 100.0)
    assert banned == Retraction("twitch", "author", "77", 100.0, until=100.0)
    assert heard("channel.chat.clear", room) == Retraction("twitch", "all", None, 100.0)


def test_the_stream_s_begin_and_end_are_told():
    assert heard("stream.online", {"type": "live"}) == StreamState(live=True, at=100.0)
    assert heard("stream.offline", {}) == StreamState(live=False, at=100.0)


def test_an_anonymous_cheer_is_the_same_account_as_in_chat():
    cheer = {"is_anonymous": True, "user_id": None, "user_name": None, "message": "x", "bits": 1}
    assert heard("channel.cheer", cheer).author == Author("407665396", "AnAnonymousCheerer")


def test_a_message_without_words_and_an_event_of_no_known_kind_are_left_out():
    assert chat("   ") is Ignored.NO_WORDS
    assert heard("channel.hype_train.begin", {}) is Ignored.UNKNOWN
    assert heard("channel.follow", {"user_id": 5}) is Ignored.MALFORMED


def test_too_much_of_everything_is_cut_or_refused():
    assert len(chat("x" * 100_000).text) == 2000
    assert len(chat(chatter_user_name="n" * 5000).author.name) == 100
    assert chat(message_id="i" * 201) is Ignored.MALFORMED
    assert chat(cheer={"bits": 10**400}) is Ignored.MALFORMED
    assert chat(cheer={"bits": -1}) is Ignored.MALFORMED


def frame(kind, payload, **metadata):
    return json.dumps({"metadata": {"message_id": "x", "message_type": kind, **metadata}, "payload": payload})


def test_every_frame_twitch_sends_is_understood():
    at = "2026-11-20T10:00:00.123456789Z"
    subscription = {"id": "s", "status": "authorization_revoked", "type": "channel.follow"}
    assert parse_frame(frame("session_welcome", {"session": {"id": "abc"}})) == Welcome("abc")
    assert parse_frame(frame("session_keepalive", {})) == Alive()
    assert parse_frame(frame("session_reconnect", {"session": {"id": "a", "reconnect_url": "wss://x/y"}})) == Moved(
        "wss://x/y"
    )
    assert parse_frame(frame("revocation", {"subscription": subscription})) == Revoked(
        "channel.follow", "authorization_revoked"
    )
    notice = parse_frame(frame("notification", {"subscription": subscription, "event": {"a": 1}}, message_timestamp=at))
    assert (notice.id, notice.topic, notice.event) == ("x", "channel.follow", {"a": 1})
    assert notice.at == pytest.approx(1795168800.123456)


@pytest.mark.parametrize(
    "data",
    [
        "",
        "{",
        "[]",
        "5",
        "null",
        '{"payload": {}}',
        '{"metadata": {"message_type": "notification"}}',
        frame("session_welcome", {}),
        frame("session_reconnect", {"session": {"id": "a", "reconnect_url": "http://elsewhere"}}),
        frame("notification", {"subscription": {"type": "channel.follow"}}),
        frame("revocation", {}),
        "[" * 100_000,
        b"\xff\xfe",
    ],
)
def test_what_is_no_frame_is_malformed(data):
    assert parse_frame(data) == Malformed()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=40),
    lambda inside: st.lists(inside, max_size=4) | st.dictionaries(st.text(max_size=12), inside, max_size=4),
    max_leaves=12,
)
WORDS = (
    "notice_type raid resub sub_gift community_sub_gift user_id bits id reward user_input target_user_id is_anonymous"
)
KEYS = st.sampled_from([*said("x"), *WORDS.split(), "text", "fragments", "type", "viewer_count", "total"])
NEARLY = st.dictionaries(KEYS, JSON | st.dictionaries(KEYS, JSON, max_size=5), max_size=14)
DAMAGED = st.builds(lambda key, value: {**said("hello"), **value, "message_id": key}, st.text(min_size=1), NEARLY)


def check(topic, event, data):
    event = understand(Notice("n", topic, None, event), our_id=OURS, at=1.0, received_s=1.0)
    assert isinstance(event, ChatMessage | Retraction | StreamState | Ignored)
    if isinstance(event, ChatMessage):
        assert event.id
        assert event.author.id
        assert math.isfinite(event.amount)
        assert len(event.text) <= 2000
        assert " ".join((event.id, event.text, event.author.id, event.author.name, *event.emotes)).encode()
    parse_frame(data if isinstance(data, bytes) else json.dumps(data))


FUZZ = (st.sampled_from(sorted(_READERS)), NEARLY | DAMAGED, JSON | st.binary(max_size=60))
CHECKS = [HealthCheck.too_slow, HealthCheck.data_too_large]


@settings(max_examples=400, suppress_health_check=CHECKS)
@given(*FUZZ)
def test_nothing_that_could_be_sent_is_too_much_for_the_parser(topic, event, data):
    check(topic, event, data)


JUNK = [None, True, -1, 0, 10**30, 1e308, float("inf"), "", "x" * 5000, "\x00\u202e", "\ud800", [], {}, [[]], {"a": 1}]


def damaged(random, value):
    """`value` with some of its parts, at any depth, replaced by junk, left out or doubled."""
    if random.random() < 0.08:
        return random.choice(JUNK)
    if isinstance(value, dict):
        kept = {key: damaged(random, part) for key, part in value.items() if random.random() > 0.03}
        return {**kept, random.choice(WORDS.split()): random.choice(JUNK)} if random.random() < 0.1 else kept
    if isinstance(value, list):
        return [damaged(random, part) for part in value] * random.choice([1, 1, 1, 2, 0])
    return value


WHOLE = {
    **said("hello", cheer={"bits": 5}, badges=[{"set_id": "vip", "id": "1", "info": ""}], notice_type="raid"),
    "reply": {"parent_message_id": "p", "parent_message_body": "b", "parent_user_id": "1", "parent_user_name": "n"},
    "raid": {"user_id": "9", "user_name": "Big", "viewer_count": 3},
    "resub": {"cumulative_months": 3},
    "community_sub_gift": {"id": "g", "total": 3},
    "sub_gift": {"community_gift_id": None},
    "reward": {"title": "t", "cost": 5},
    "user_id": "7",
    "user_name": "k",
    "user_input": "i",
    "id": "red",
    "bits": 5,
    "target_user_id": "7",
}


@pytest.mark.slow
@settings(max_examples=1000, suppress_health_check=CHECKS, phases=[Phase.generate], database=None)
@given(st.randoms(use_true_random=False), st.sampled_from(sorted(_READERS)))
def test_a_hundred_thousand_damaged_events_and_frames_are_no_more_than_that(chance, topic):
    random = Random(chance.random())
    for _ in range(100):
        event = damaged(random, WHOLE)
        data = frame("notification", damaged(random, {"subscription": {"type": topic}, "event": event}))
        check(topic, event if isinstance(event, dict) else {}, data.encode("utf-8", "replace"))

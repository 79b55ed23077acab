"""The frames: what is understood, what is refused and how it is named, and that events survive the way to a client."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vtuber_brain.chat.frames import (
    MAX_ID_CHARS,
    MAX_TEXT_CHARS,
    AckFrame,
    BanFrame,
    ClearFrame,
    CueFrame,
    DeleteFrame,
    DroppedFrame,
    ErrorFrame,
    LostFrame,
    MessageFrame,
    ReplyFrame,
    SubscribeFrame,
    UtteranceFrame,
    VerdictFrame,
)
from vtuber_brain.chat.protocol import ack, encode, event_frame, incoming, parse, parse_server
from vtuber_brain.messages import (
    Author,
    ChatMessage,
    Chosen,
    Cue,
    Drop,
    Dropped,
    Judged,
    Mood,
    ReplyTo,
    Retraction,
    Turn,
    Utterance,
    Verdict,
)

MESSAGE = {"type": "message", "id": "m1", "author": {"id": "u1", "name": "Kopi"}, "text": "hi Mori"}
HEARD = ChatMessage("websocket", "m1", Author("u1", "Kopi"), "hi Mori", 1000.0, 5.0)


def parsed(**changes):
    fields = {**MESSAGE, **changes}
    return parse(json.dumps({name: value for name, value in fields.items() if value is not ...}))


def brought(text):
    return incoming(parse(text), source="websocket", at=1000.0, received_s=5.0)


def test_a_message_in_the_brains_words():
    assert brought(json.dumps(MESSAGE)) == HEARD


def test_everything_a_message_may_carry():
    frame = parsed(kind="cheer", amount=100, author={"id": "u1", "name": "Kopi", "roles": ["mod", "sub"]})
    message = incoming(frame, source="websocket", at=1.0, received_s=2.0)
    assert (message.kind, message.amount, message.author.roles) == ("cheer", 100.0, ("mod", "sub"))


def test_a_reply_to_her_and_words_that_are_pictures():
    earlier = {"id": "m0", "author": {"id": "us", "name": "Mori"}, "text": "Halo.", "ours": True}
    frame = parsed(reply_to=earlier, emotes=["moriHi"])
    message = incoming(frame, source="websocket", at=1.0, received_s=2.0)
    assert message.reply_to == ReplyTo("m0", Author("us", "Mori"), "Halo.", ours=True)
    assert message.emotes == ("moriHi",)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"type":"delete","id":"m1"}', Retraction("websocket", "message", "m1", 1000.0)),
        ('{"type":"ban","author_id":"u1"}', Retraction("websocket", "author", "u1", 1000.0)),
        ('{"type":"ban","author_id":"u1","for_s":600}', Retraction("websocket", "author", "u1", 1000.0, 1600.0)),
        ('{"type":"clear"}', Retraction("websocket", "all", None, 1000.0)),
    ],
)
def test_retractions_in_the_brains_words(text, expected):
    assert brought(text) == expected


@pytest.mark.parametrize("for_s", ["-1", '"soon"', "1e999"])
def test_a_ban_that_ends_before_it_begins_is_none(for_s):
    assert isinstance(parse(f'{{"type":"ban","author_id":"u1","for_s":{for_s}}}'), ErrorFrame)


def test_subscribe():
    assert parse('{"type":"subscribe"}') == SubscribeFrame()


@pytest.mark.parametrize("text", ["", "{", "hello", '{"a":}', "[" * 100_000, '{"id":"\\ud800"}', '{"amount":NaN}'])
def test_what_is_not_json(text):
    answer = parse(text)
    assert isinstance(answer, ErrorFrame)
    assert answer.code == "malformed_json"


@pytest.mark.parametrize("text", ["[]", "3", '"hi"', "null", "true"])
def test_json_that_is_no_object(text):
    assert parse(text) == ErrorFrame(code="bad_message", detail="frame: a JSON object")


@pytest.mark.parametrize("kind", [..., None, 5, "shout", {}])
def test_an_unknown_type_is_answered_with_those_there_are(kind):
    answer = parsed(type=kind)
    assert isinstance(answer, ErrorFrame)
    assert (answer.code, answer.id) == ("bad_message", "m1")
    assert answer.detail == "type: one of message, delete, ban, clear, subscribe"


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"id": ...}, "id"),
        ({"id": 5}, "id"),
        ({"id": ""}, "id"),
        ({"author": ...}, "author"),
        ({"author": "Kopi"}, "author"),
        ({"author": {"name": "Kopi"}}, "author.id"),
        ({"author": {"id": "u1"}}, "author.name"),
        ({"author": {"id": None, "name": "Kopi"}}, "author.id"),
        ({"author": {"id": "u1", "name": "Kopi", "roles": "mod"}}, "author.roles"),
        ({"author": {"id": "u1", "name": "Kopi", "roles": [1]}}, "author.roles.0"),
        ({"author": {"id": "u1", "name": "Kopi", "colour": "red"}}, "author.colour"),
        ({"text": ...}, "text"),
        ({"text": ["hi"]}, "text"),
        ({"text": ""}, "text"),
        ({"text": " \n\t "}, "text"),
        ({"kind": "shout"}, "kind"),
        ({"amount": "5"}, "amount"),
        ({"amount": -1}, "amount"),
        ({"amount": True}, "amount"),
        ({"reply_to": "m0"}, "reply_to"),
        ({"reply_to": {"id": "m0"}}, "reply_to.author"),
        ({"emotes": "moriHi"}, "emotes"),
        ({"at": 5}, "at"),
    ],
)
def test_a_wrong_field_is_named(changes, field):
    answer = parsed(**changes)
    assert isinstance(answer, ErrorFrame)
    assert (answer.code, answer.of) == ("bad_message", "message")
    assert answer.detail.startswith(f"{field}: ")


@pytest.mark.parametrize("kind", ["cheer", "sub", "gift", "raid", "redeem"])
def test_money_needs_no_words(kind):
    assert isinstance(parsed(kind=kind, text=""), MessageFrame)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"text": "x" * (MAX_TEXT_CHARS + 1)}, "text"),
        ({"id": "x" * (MAX_ID_CHARS + 1)}, "id"),
        ({"author": {"id": "u1", "name": "x" * 101}}, "author.name"),
        ({"author": {"id": "u1", "name": "x", "roles": ["a"] * 17}}, "author.roles"),
        ({"emotes": ["a"] * 101}, "emotes"),
    ],
)
def test_what_is_too_long_is_named(changes, field):
    answer = parsed(**changes)
    assert isinstance(answer, ErrorFrame)
    assert answer.code == "too_long"
    assert answer.detail.startswith(f"{field}: ")


def test_an_error_never_repeats_what_was_written():
    secret = "hunter2-very-private"
    for changes in ({"text": [secret]}, {"kind": secret}, {"type": secret}, {"author": {"id": "u", "name": [secret]}}):
        assert secret not in encode(parsed(**changes))


@given(st.text(max_size=200))
def test_no_text_breaks_the_parser(text):
    assert parse(text) is not None


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(), lambda c: st.lists(c) | st.dictionaries(st.text(), c)
    )
)
def test_no_json_breaks_the_parser(value):
    assert parse(json.dumps(value)) is not None


@pytest.mark.parametrize(
    ("text", "of", "id_"),
    [
        (json.dumps(MESSAGE), "message", "m1"),
        ('{"type":"delete","id":"m1"}', "delete", "m1"),
        ('{"type":"ban","author_id":"u1"}', "ban", "u1"),
        ('{"type":"clear"}', "clear", None),
        ('{"type":"subscribe"}', "subscribe", None),
    ],
)
def test_every_frame_is_acknowledged_by_its_id(text, of, id_):
    assert ack(parse(text)) == AckFrame(of=of, id=id_)


@pytest.mark.parametrize(
    "frame",
    [
        MessageFrame(id="1", author={"id": "u", "name": "n", "roles": ["vip"]}, kind="raid", text="", amount=12),
        DeleteFrame(id="1"),
        BanFrame(author_id="u"),
        ClearFrame(),
        SubscribeFrame(),
    ],
)
def test_client_frames_round_trip(frame):
    assert parse(encode(frame)) == frame


MOOD = Mood("positive", {"positive": 0.75, "neutral": 0.25}, 0.125)


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (
            Judged(HEARD, Verdict("deny", ("blocklist", "caps"), "hi", MOOD)),
            VerdictFrame(
                id="m1",
                source="websocket",
                action="deny",
                reasons=["blocklist", "caps"],
                mood="positive",
                scores={"positive": 0.75, "neutral": 0.25},
                toxicity=0.125,
                author="Kopi",
            ),
        ),
        (
            Judged(
                replace(HEARD, num_asking=3, chosen=Chosen(2.5, {"question": 1.0, "age": 1.5}, 7)),
                Verdict("allow", (), "hi", None),
            ),
            VerdictFrame(
                id="m1",
                source="websocket",
                action="allow",
                reasons=[],
                mood=None,
                scores={},
                toxicity=None,
                author="Kopi",
                why={"score": 2.5, "parts": {"question": 1.0, "age": 1.5}, "waiting": 7, "asking": 3},
            ),
        ),
        (Dropped(HEARD, Drop.TOO_OLD), DroppedFrame(id="m1", source="websocket", reason=Drop.TOO_OLD, author="Kopi")),
        (Cue("smile", 0.5, 800), CueFrame(name="smile", intensity=0.5, for_ms=800)),
        (
            Utterance("r1", 0, "Hi!", Cue("smile", 0.5, 800), "positive", "en", False, HEARD, 1001.0, "mori", None),
            UtteranceFrame(
                reply_id="r1",
                seq=0,
                text="Hi!",
                cue={"name": "smile", "intensity": 0.5, "for_ms": 800},
                mood="positive",
                lang="en",
                final=False,
                in_reply_to={"source": "websocket", "message_id": "m1", "author": "Kopi", "text": "hi Mori"},
                created_at=1001.0,
            ),
        ),
        (
            Utterance("r1", 1, "Bye!", None, None, "en", True, None, 1001.0, "mori", None),
            UtteranceFrame(
                reply_id="r1",
                seq=1,
                text="Bye!",
                cue=None,
                mood=None,
                lang="en",
                final=True,
                in_reply_to=None,
                created_at=1001.0,
            ),
        ),
        (
            Turn("r1", HEARD, "cut", "Hi! Bye!", "Hi!", "mori", "tiny", None, "skip", {"judge": 4.5}),
            ReplyFrame(
                reply_id="r1",
                outcome="cut",
                reason="skip",
                text="Hi! Bye!",
                in_reply_to="m1",
                source="websocket",
                timings={"judge": 4.5},
            ),
        ),
        (
            Turn("r2", None, "spoken", "Hi!", "Hi!", "mori", "tiny", "v3"),
            ReplyFrame(
                reply_id="r2", outcome="spoken", reason=None, text="Hi!", in_reply_to=None, source=None, timings={}
            ),
        ),
    ],
)
def test_every_event_reaches_a_subscriber_whole(event, expected):
    frame = event_frame(event)
    assert frame == expected
    assert parse_server(encode(frame)) == expected


@pytest.mark.parametrize(
    "frame",
    [
        AckFrame(of="clear"),
        ErrorFrame(code="binary", detail="frames must be text", of=None, id=None),
        LostFrame(count=3),
    ],
)
def test_answers_round_trip(frame):
    assert parse_server(encode(frame)) == frame


def test_a_client_ignores_what_it_does_not_know():
    assert parse_server('{"type":"hologram"}') is None
    assert parse_server("nonsense") is None
    assert parse_server('{"type":"lost","count":1,"since":"yesterday"}') == LostFrame(count=1)


def test_half_a_surrogate_from_another_source_does_no_harm():
    message = ChatMessage("plugin", "m\ud800", Author("u", "n\ud800"), "t\ud800", 0, 0)
    frames = [
        event_frame(event)
        for event in (
            Judged(message, Verdict("allow", (), "")),
            Dropped(message, Drop.MUTED),
            Utterance("r", 0, "x\udc00", None, None, "en", True, message, 0.0, "mori", None),
            Turn("r", message, "spoken", "x\udc00", "", "mori", "tiny", None),
        )
    ]
    assert [parse_server(encode(frame)) for frame in frames] == frames

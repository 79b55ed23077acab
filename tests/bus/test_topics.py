"""Names, payloads and schemas of the bus, and that the documents beside it are true."""

import json
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vtuber_brain.bus import control, topics
from vtuber_brain.errors import WireError
from vtuber_brain.messages import Author, ChatMessage, Cue, Drop, Dropped, Turn, Utterance

DOCS = Path(__file__).parents[2] / "docs"
MESSAGE = ChatMessage("websocket", "m-1", Author("u-1", "Wren"), "hi \ud83d Mori", 1.0, 1.0)
CUE = Cue("smile", 0.5, 800)
UTTERANCE = Utterance("r1", 2, "Hello!", CUE, "positive", "en", True, MESSAGE, 5.5, "mori", "r-7")
TURN = Turn("r1", MESSAGE, "cut", "Hello! Bye.", "Hello!", "mori", "base", "r-7", "skip", {"first_ms": 3.0})


def test_a_topic_is_prefix_persona_version_channel():
    assert topics.topic("vtuber", "mori", "control/result") == "vtuber/mori/v1/control/result"


@pytest.mark.parametrize(
    ("name", "safe"), [("mori", "mori"), ("Mori Rin", "Mori_Rin"), ("a/b#c+$d", "a_b_c__d"), ("", "_"), ("森", "森")]
)
def test_a_persona_becomes_one_level_of_a_topic(name, safe):
    assert topics.segment(name) == safe


@settings(deadline=None)
@given(st.text())
def test_no_persona_name_breaks_a_topic(name):
    level = topics.segment(name)
    assert level
    assert not set(level) & set("#+/$\0\n")
    level.encode()


def test_an_utterance_is_published_with_its_cue_after_it():
    (first, said), (second, shown) = topics.publications(UTTERANCE)
    assert (first, second) == ("utterance", "cue")
    assert said.model_dump() == {
        "reply_id": "r1",
        "seq": 2,
        "text": "Hello!",
        "cue": {"name": "smile", "intensity": 0.5, "for_ms": 800},
        "mood": "positive",
        "lang": "en",
        "final": True,
        "in_reply_to": {"source": "websocket", "message_id": "m-1", "author": "Wren", "text": "hi ? Mori"},
        "created_at": 5.5,
        "persona": "mori",
        "release": "r-7",
    }
    assert shown.model_dump() == {"name": "smile", "intensity": 0.5, "for_ms": 800}


def test_a_turn_becomes_a_reply_and_a_drop_becomes_nothing():
    ((channel, over),) = topics.publications(TURN)
    assert channel == "reply"
    assert over.model_dump() == {
        "reply_id": "r1",
        "outcome": "cut",
        "text": "Hello! Bye.",
        "heard_text": "Hello!",
        "persona": "mori",
        "release": "r-7",
        "reason": "skip",
        "timings": {"first_ms": 3.0},
    }
    assert list(topics.publications(Dropped(MESSAGE, Drop.TOO_OLD))) == []


def test_half_a_surrogate_from_a_viewer_still_becomes_json():
    payload = topics.utterance(UTTERANCE).model_dump_json()
    assert json.loads(payload)["in_reply_to"]["text"] == "hi ? Mori"


@pytest.mark.parametrize(
    ("payload", "model"),
    [
        ({"command": "mute"}, control.Mute),
        ({"command": "unmute", "id": "7"}, control.Unmute),
        ({"command": "skip", "id": None}, control.Skip),
        ({"command": "say", "text": "Good night."}, control.Say),
        ({"command": "persona", "name": "rin"}, control.UsePersona),
        ({"command": "persona", "name": "rin", "release": "r-2"}, control.UsePersona),
        ({"command": "personas"}, control.Personas),
        ({"command": "show", "name": "rin"}, control.Show),
        ({"command": "preload", "name": "rin", "release": "/loras/rin"}, control.Preload),
        ({"command": "drop", "name": "rin"}, control.DropRelease),
        ({"command": "sleep", "id": "9"}, control.Sleep),
        ({"command": "wake"}, control.Wake),
    ],
)
def test_every_command_is_understood_and_answered_by_its_name(payload, model):
    command = control.parse_control(json.dumps(payload).encode())
    assert isinstance(command, model)
    done = control.answer(command)
    assert (done.id, done.command, done.ok, done.code) == (payload.get("id"), payload["command"], True, "ok")
    assert control.answer(command, "not_now", "why").ok is False


@pytest.mark.parametrize(
    ("payload", "known", "told"),
    [
        (b"", (None, None), "Invalid JSON"),
        (b"\xff\xfe", (None, None), "Invalid JSON"),
        (b"[" * 9000, (None, None), "recursion"),
        (b'"mute"', (None, None), "an object"),
        (b'{"id": "7"}', ("7", None), "command"),
        (b'{"id": 7, "command": "dance"}', (None, "dance"), "dance"),
        (b'{"id": "7", "command": "say"}', ("7", "say"), "say.text: Field required"),
        (b'{"command": "say", "text": "  "}', (None, "say"), "say.text"),
        (b'{"command": "show", "name": "../rin"}', (None, "show"), "show.name: String should match"),
        (b'{"command": "persona", "name": "rin", "release": ""}', (None, "persona"), "persona.release"),
        (b'{"command": "mute", "now": true}', (None, "mute"), "mute.now: Extra inputs"),
        (b'{"command": "say", "text": "' + b"a" * 20000 + b'"}', (None, None), "over the limit of 16384"),
    ],
)
def test_what_is_no_command_is_refused_with_what_could_be_read(payload, known, told):
    with pytest.raises(WireError, match=told) as refused:
        control.parse_control(payload)
    answer = control.refusal(payload, "bad_message", str(refused.value))
    assert (answer.id, answer.command) == known
    assert (answer.ok, answer.code) == (False, "bad_message")
    json.loads(answer.model_dump_json())


@settings(deadline=None)
@given(st.binary(max_size=200) | st.recursive(st.none() | st.text(), st.lists).map(lambda v: json.dumps(v).encode()))
def test_no_bytes_raise_anything_but_wire_error(payload):
    for parse in (control.parse_control, topics.parse_playback):
        with pytest.raises(WireError):
            parse(payload)
    control.refusal(payload, "bad_message", "").model_dump_json()


def test_playback_ignores_what_it_does_not_know_and_refuses_what_is_no_time():
    said = {"reply_id": "r1", "seq": 0, "state": "finished", "at": 1.5, "device": "hall"}
    assert topics.parse_playback(json.dumps(said).encode()).state == "finished"
    for at in ("NaN", "Infinity"):
        with pytest.raises(WireError, match="at: "):
            topics.parse_playback(json.dumps(said).replace("1.5", at).encode())


def test_the_schemas_in_docs_are_those_of_the_code():
    written = {path.stem: json.loads(path.read_text()) for path in DOCS.joinpath("schemas").glob("*.json")}
    assert written == topics.schemas(), "run python -m vtuber_brain.bus.topics"


@pytest.mark.parametrize(
    ("name", "payload"),
    [
        ("status", topics.Status(state="offline", persona="mori")),
        ("utterance", topics.utterance(UTTERANCE)),
        ("cue", topics.cue(CUE)),
        ("reply", topics.reply(TURN)),
        ("playback", topics.Playback(reply_id="r1", seq=0, state="started", at=1.0)),
        ("control", control.Say(command="say", text="hi")),
        ("control_result", control.refusal(b"", "bad_message", "no")),
    ],
)
def test_payloads_fit_their_schema(name, payload):
    schema = topics.schemas()[name]
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(json.loads(payload.model_dump_json()), schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({}, schema)


def test_the_document_names_every_topic_with_its_delivery_and_every_field():
    text = DOCS.joinpath("bus.md").read_text()
    for name, channel in topics.CHANNELS.items():
        delivery = f"{channel.qos}, retained" if channel.retain else str(channel.qos)
        assert f"| `{name}` | {'in' if channel.incoming else 'out'} | {delivery} |" in text
    for schema in topics.schemas().values():
        for part in [schema, *schema.get("$defs", {}).values()]:
            for field in part.get("properties", {}):
                assert f"`{field}`" in text, field


def test_every_example_in_the_document_fits_its_schema():
    text = DOCS.joinpath("bus.md").read_text()
    seen = set()
    for block in text.split("```json ")[1:]:
        name, _, rest = block.partition("\n")
        for line in rest.partition("```")[0].strip().splitlines():
            jsonschema.validate(json.loads(line), topics.schemas()[name])
            seen.add(name)
    assert seen == set(topics.schemas())

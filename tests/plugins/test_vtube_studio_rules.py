"""The VTube Studio plugin's rules: settings and mapping by key, errors by number, curves, what is shown how long."""

import asyncio
import json
from pathlib import Path

import pytest
import structlog

from plugins.vtube_studio import discovery, mouth, performance, protocol
from plugins.vtube_studio.mapping import Moves, read
from plugins.vtube_studio.options import Options
from plugins.vtube_studio.performance import Performance
from plugins.vtube_studio.protocol import ERRORS, Handling
from tests.support.bus import utterance
from tests.support.plugged import plugged, refusal
from tests.support.vtube_studio_fake import FakeVTubeStudio
from vtuber_brain.messages import Cue, Playback, Status

PAGE = Path(__file__).parents[2].joinpath("docs", "vtube_studio.md").read_text()
BY_HANDLING = {handling: [n for n, known in ERRORS.items() if known.handling is handling] for handling in Handling}


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"colour": "red"}, "colour: Extra inputs are not permitted"),
        ({"rate_hz": "29"}, "rate_hz: Input should be greater than or equal to 30"),
        ({"url": "http://x", "idle_every_s": 2}, "url: String should match"),
        ({"idle_every_s": 0.95}, "idle_every_s: Input should be less than or equal to 0.9"),
        ({"discover": "planet"}, "discover: Input should be"),
        ({"mapping": "/nowhere/mapping.toml"}, "/nowhere/mapping.toml: No such file"),
    ],
)
async def test_settings_it_cannot_use_are_told_by_key(settings, told):
    assert told in await refusal("vtube_studio", **settings)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[mood.happy]\nhotkey='x'", "mood.happy: Input should be 'negative', 'neutral' or 'positive'"),
        ("[mood.positive]\nsmile=2", "mood.positive.smile: Input should be less than or equal to 1"),
        ("[cue.wave]", "cue.wave: Value error, give hotkey or expression"),
        ("[cue.wave]\nhotkey='x'\nexpression='y.exp3.json'", "give hotkey or expression, not both"),
        ("[cue.wave]\nexpression='y.png'", "cue.wave.expression: String should match pattern"),
        ("[cue.wave]\nexpression='y.exp3.json'\nagain=true", "again goes with a hotkey"),
        ("[wave]\nhotkey='x'", "wave: Extra inputs are not permitted"),
        ("[cue.wave", "Expected"),
        ("\udcff", "can't decode"),
    ],
)
def test_a_mapping_that_is_wrong_is_told_by_file_and_key(text, told, tmp_path):
    file = tmp_path / "mapping.toml"
    file.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(ValueError, match=r"mapping\.toml") as caught:
        read(file)
    assert told in str(caught.value)


def alone(app, **changes):
    return {"url": app.url, "discover": "off", "voice_url": "", **changes}


@pytest.mark.parametrize("number", BY_HANDLING[Handling.STOP])
async def test_what_only_an_operator_can_mend_is_given_up_and_told(number):
    app = FakeVTubeStudio(fails={"AuthenticationTokenRequest": number})
    async with app, plugged("vtube_studio", **alone(app)) as brain:
        await brain.until(lambda: brain.given_up)
        assert brain.trouble == f"{ERRORS[number].meaning} (error {number})"
        assert brain.trouble in brain.given_up
        assert app.asked == 0


@pytest.mark.parametrize("number", BY_HANDLING[Handling.AGAIN])
async def test_what_passes_by_itself_is_tried_again_over_a_new_connection(number):
    app = FakeVTubeStudio(fails={"AuthenticationTokenRequest": number})
    async with app, plugged("vtube_studio", **alone(app)) as brain:
        await brain.until(lambda: f"(error {number})" in brain.trouble)
        app.fails.clear()
        await app.until(lambda: app.injected)
        assert brain.trouble == ""


async def test_a_parameter_that_cannot_be_had_is_left_alone_and_told_until_it_can():
    (number, _) = BY_HANDLING[Handling.REST]
    app = FakeVTubeStudio(fails={"InjectParameterDataRequest": number})
    async with app, plugged("vtube_studio", **alone(app)) as brain:
        await brain.until(lambda: f"(error {number})" in brain.trouble)
        app.fails.clear()
        await brain.until(lambda: brain.trouble == "")
        assert app.requests.count("InjectParameterDataRequest") <= 5
        assert brain.given_up is None


@pytest.mark.parametrize("number", [202, 9999])
async def test_a_hotkey_that_does_not_work_is_left_out_and_logged_once(number, tmp_path):
    file = tmp_path / "mapping.toml"
    file.write_text('[cue.wave]\nhotkey = "Wave"\n[cue.nod]\nhotkey = "Nod"\n')
    app = FakeVTubeStudio(fails={"HotkeyTriggerRequest": number})
    with structlog.testing.capture_logs() as logs:
        async with app, plugged("vtube_studio", **alone(app, mapping=str(file))) as brain:
            await app.until(lambda: app.injected)
            for _ in range(2):
                num = len(app.injected)
                await brain.emit(Cue("wave"))
                await app.until(lambda num=num: len(app.injected) > num + 1)
            assert brain.trouble == ""
    told = [(line["what"], line["error"]) for line in logs if line["event"] == "vtube_studio_left_out"]
    assert told == [("cue.wave", number)]
    assert [line["keys"] for line in logs if line["event"] == "vtube_studio_hotkeys_absent"] == [["cue.nod"]]


def test_every_error_every_setting_and_an_example_that_is_read_stand_in_the_page(tmp_path):
    for number, known in ERRORS.items():
        assert f"| {number} | `{known.name}` | {known.meaning} | {known.handling.name.lower()} |" in PAGE
    assert all(f"| {handling.name.lower()} | {handling.value} |" in PAGE for handling in Handling)
    for key, field in Options.model_fields.items():
        assert f"| `{key}` |" in PAGE
        assert field.description in PAGE
    (example,) = [block.split("```")[0] for block in PAGE.split("```toml\n")[1:] if "[mood." in block]
    (tmp_path / "m.toml").write_text(example)
    assert len(read(tmp_path / "m.toml").actions) == 4


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"apiName": "Other", "messageType": "X", "requestID": "1"}', "[" * 99999]
)
def test_what_is_no_frame_of_the_api_is_refused(text):
    with pytest.raises(protocol.NotTheProtocol):
        protocol.parse(text)


def test_a_value_that_is_no_number_is_never_sent():
    data = protocol.injection([("MouthOpen", float("nan"))], face_found=True)
    assert json.loads(protocol.request("X", "1", data))["data"]["parameterValues"] == [
        {"id": "MouthOpen", "value": 0.0}
    ]


def test_a_mouth_made_from_text_opens_at_vowels_and_rests_at_stops():
    curve = mouth.from_text("Oh, no.")
    assert {letter for letter in curve.shape if letter != "_"} == {"o"}
    assert curve.at(0.08)[1] == "o"
    assert curve.at(0.08)[0] > 0.5
    assert curve.at(0.3) == (0.0, "_")
    assert curve.at(-1) == curve.at(99) == (0.0, "_")
    assert mouth.from_text("").at(0) == (0.0, "_")


@pytest.mark.parametrize(
    "told",
    [
        None,
        {},
        {"step_ms": 20},
        {"step_ms": 0, "open": [1]},
        {"step_ms": 20, "open": ["x"]},
        {"step_ms": 20, "open": []},
    ],
)
def test_what_is_no_curve_of_the_voices_is_passed_over(told):
    assert mouth.from_voice(told) is None


def test_broadcasts_are_believed_of_this_machine_only_and_only_if_they_are_such():
    frame = {"apiName": "VTubeStudioPublicAPI", "messageType": protocol.BROADCAST, "requestID": "x"}
    good = json.dumps({**frame, "data": {"active": True, "port": 8002}}).encode()
    assert discovery.found_in(good, "127.0.0.1") == discovery.Found("ws://127.0.0.1:8002", True)
    for data in ({"active": True, "port": 99999}, {"active": "yes", "port": 1}, {}):
        assert discovery.found_in(json.dumps({**frame, "data": data}).encode(), "127.0.0.1") is None
    assert discovery.found_in(b"\xff", "127.0.0.1") is None
    for whole_network, found in ((False, None), (True, discovery.Found("ws://192.0.2.1:8002", True))):
        heard = discovery._Heard(whole_network)
        heard.datagram_received(good, ("192.0.2.1", 50_000))
        assert heard.found == found
    heard.datagram_received(good, ("127.0.0.1", 50_000))
    assert discovery.is_ours("127.0.0.1")


class Clock:
    def __init__(self):
        self.s = 100.0

    def __call__(self):
        return self.s


def stage(tmp_path, text):
    (tmp_path / "m.toml").write_text(text)
    clock = Clock()
    return Performance(read(tmp_path / "m.toml"), clock=clock, unix=lambda: clock.s + 1000), clock


def steps(one):
    return [(step.action.key, step.begin) for step in one.steps()]


def started(seq, at):
    return Playback("r1", seq, "started", at)


def test_a_cue_that_comes_again_lasts_longer_and_is_not_begun_twice(tmp_path):
    one, clock = stage(tmp_path, '[cue.blush]\nexpression = "b.exp3.json"\n')
    one.hear(Cue("blush", for_ms=1000))
    assert steps(one) == [("cue.blush", True)]
    clock.s += 0.9
    one.hear(Cue("blush", for_ms=1000))
    clock.s += 0.9
    assert steps(one) == []
    assert one.next_due_s() == pytest.approx(clock.s + 0.1)
    clock.s += 0.2
    assert steps(one) == [("cue.blush", False)]
    assert one.next_due_s() is None


def test_a_mood_stays_for_a_moment_after_the_last_word(tmp_path):
    one, clock = stage(tmp_path, '[mood.positive]\nexpression = "h.exp3.json"\nsmile = 1\n')
    one.hear(utterance(0, mood="positive"))
    one.hear(started(0, clock.s + 1000))
    assert (steps(one), one.smile()) == ([("mood.positive", True)], 1)
    one.hear(Playback("r1", 0, "finished", 0))
    clock.s += performance.MOOD_LASTS_S / 2
    assert steps(one) == []
    clock.s += performance.MOOD_LASTS_S
    assert (steps(one), one.smile()) == ([("mood.positive", False)], 0.5)


@pytest.mark.parametrize(("late_s", "position_s"), [(0.1, 0.1), (0.9, 0.9), (30, 1.0), (-30, 0.0)])
def test_the_players_clock_is_believed_within_reason(late_s, position_s, tmp_path):
    one, clock = stage(tmp_path, "")
    one.learn_curve("r1", 0, mouth.Curve(100, [number / 100 for number in range(100)]))
    one.hear(started(0, clock.s + 1000 - late_s))
    assert one.mouth()[0] == pytest.approx(position_s / 10, abs=0.011)


def test_what_is_remembered_is_bounded_and_a_muted_mouth_stays_shut():
    one = Performance(Moves({}, {}))
    for seq in range(1000):
        one.hear(utterance(seq, text="a"))
    assert len(one._sentences) == performance.MAX_SENTENCES
    one.hear(Status("muted", True, "mori", None))
    one.hear(started(999, 0))
    assert not one.speaking
    assert len(one._sentences) == 0


def test_steps_that_nobody_takes_are_bounded(tmp_path):
    one, _ = stage(tmp_path, '[cue.wave]\nhotkey = "Wave"\n')
    for _ in range(1000):
        one.hear(Cue("wave"))
    assert len(steps(one)) == performance.MAX_STEPS


async def test_a_burst_of_verdicts_is_not_answered_by_a_burst_of_values():
    async with FakeVTubeStudio() as app, plugged("vtube_studio", **alone(app)) as brain:
        await app.until(lambda: app.injected)
        num = len(app.injected)
        for seq in range(200):
            await brain.emit(utterance(seq, text="a"))
            await asyncio.sleep(0)
        await app.until(lambda: len(app.injected) > num)
        assert len(app.injected) - num <= 20

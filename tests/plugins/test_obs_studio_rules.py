"""The OBS plugin's rules: the login's proof, settings by key, codes and farewells by number, whose mute it is."""

from pathlib import Path

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from websockets.asyncio.server import serve

from plugins.obs_studio import protocol, screen
from plugins.obs_studio.mute import Mutes
from plugins.obs_studio.options import Options
from plugins.obs_studio.protocol import CLOSES, CODES, Handling
from plugins.obs_studio.screen import Screen
from tests.support.bus import utterance
from tests.support.obs_fake import CHALLENGE, SALT, FakeObs
from tests.support.plugged import plugged, refusal
from vtuber_brain.messages import Playback

PAGE = Path(__file__).parents[2].joinpath("docs", "obs.md").read_text()
BY_HANDLING = {handling: [n for n, known in CODES.items() if known.handling is handling] for handling in Handling}
HELLO = utterance(0)


def test_the_proof_is_the_one_the_protocol_gives_as_its_example():
    assert protocol.proof("supersecretpassword", SALT, CHALLENGE) == "1Ct943GAT+6YQUUX47Ia/ncufilbe6+oD6lY+5kaCu4="


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"colour": "red"}, "colour: Extra inputs are not permitted"),
        ({"linger_s": "-1", "wrap": "x"}, "linger_s: Input should be greater than or equal to 0; wrap: Input should"),
        ({"scenes": {"mori": 5}}, "scenes.mori: Input should be a valid string"),
        ({"mute_her": True}, "mute_her needs voice_input and control_token"),
    ],
)
async def test_settings_it_cannot_use_are_told_by_key(settings, told):
    assert told in await refusal("obs_studio", **settings)


async def test_what_is_wrong_with_a_secret_is_told_without_it():
    assert "hunter2" not in await refusal("obs_studio", password=["hunter2"])


def test_every_code_every_farewell_and_every_setting_stands_in_the_page():
    for number, known in CODES.items():
        assert f"| {number} | `{known.name}` | {known.meaning} | {known.handling.name.lower()} |" in PAGE
    for number, known in CLOSES.items():
        comes_back = "by itself" if known.comes_back else "at a reload"
        assert f"| {number} | `{known.name}` | {known.meaning} | {comes_back} |" in PAGE
    assert all(f"| {handling.name.lower()} | {handling.value} |" in PAGE for handling in Handling)
    for key, field in Options.model_fields.items():
        assert f"| `{key}` |" in PAGE
        assert field.description in PAGE


@pytest.mark.parametrize("number", sorted(CLOSES))
async def test_who_closes_a_connection_for_good_is_not_bothered_again(number):
    async with FakeObs() as obs, plugged("obs_studio", url=obs.url) as brain:
        await obs.until(lambda: obs.logins)
        await obs.drop(number)
        await brain.until(lambda: CLOSES[number].meaning in brain.trouble)
        if CLOSES[number].comes_back:
            await obs.until(lambda: obs.logins == 2)
        else:
            await brain.until(lambda: brain.given_up)


@pytest.mark.parametrize("number", BY_HANDLING[Handling.LATER][:1])
async def test_an_obs_that_is_not_ready_is_asked_again_in_a_moment(number):
    obs = FakeObs(fails={"SetInputSettings": number})
    async with obs, plugged("obs_studio", url=obs.url, subtitles="Subtitles") as brain:
        await obs.until(lambda: obs.requests)
        obs.fails.clear()
        await obs.until(lambda: obs.shown == [""])
        assert brain.trouble == ""


async def test_a_name_that_obs_does_not_have_is_told():
    async with FakeObs() as obs, plugged("obs_studio", url=obs.url, subtitles="Subtitels") as brain:
        await brain.until(lambda: brain.trouble)
        assert brain.trouble == "subtitles: OBS has no source or scene of the name in the settings (code 600)"


@pytest.mark.parametrize("number", [*BY_HANDLING[Handling.LEAVE][:2], 999])
async def test_what_obs_cannot_do_is_left_out_and_logged_and_the_next_is_tried(number):
    obs = FakeObs(fails={"SendStreamCaption": number})
    with structlog.testing.capture_logs() as logs:
        async with obs, plugged("obs_studio", url=obs.url, captions=True) as brain:
            for seq in range(3):
                await brain.say(utterance(seq))
                await obs.until(lambda seq=seq: len(obs.requests) == seq + 1)
            obs.fails.clear()
            await brain.say(utterance(9))
            await obs.until(lambda: obs.captions)
            assert brain.trouble == ""
    told = [(line["what"], line["code"]) for line in logs if line["event"] == "obs_studio_left_out"]
    assert told == [("captions", number)]


@pytest.mark.parametrize("number", [204, 600])
async def test_a_mute_that_obs_turns_down_is_tried_until_it_is_done(number):
    obs = FakeObs(fails={"SetInputMute": number})
    async with obs, plugged("obs_studio", url=obs.url, voice_input="Voice") as brain:
        await brain.is_now(muted=True)
        await brain.until(lambda: brain.trouble)
        assert brain.trouble == f"mute: {CODES[number].meaning} (code {number})"
        assert [kind for kind, _ in obs.requests].count("SetInputMute") == 1
        obs.fails.clear()
        await obs.until(lambda: obs.muted["Voice"], timeout_s=15)
        await brain.until(lambda: brain.trouble == "")


@pytest.mark.parametrize(
    "greeting", ["hello", "[]", '{"op": 7, "d": {}}', '{"op": 0, "d": {"authentication": 5}}', b"x"]
)
async def test_what_is_no_obs_is_told(greeting):
    async def session(connection):
        await connection.send(greeting)
        await connection.wait_closed()

    async with serve(session, "127.0.0.1", 0, subprotocols=["obswebsocket.json"]) as server:
        url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with plugged("obs_studio", url=url) as brain:
            await brain.until(lambda: brain.trouble)
            assert "OBS" in brain.trouble or "obs-websocket" in brain.trouble
            assert brain.given_up is None


def test_what_is_remembered_for_the_screen_is_bounded():
    one = Screen(1.5, 0, {})
    for seq in range(1000):
        one.hear(utterance(seq))
    assert len(one._texts) == screen.MAX_SENTENCES
    for seq in range(990, 1000):
        one.hear(Playback("r1", seq, "started", 0.0))
    assert len(one.captions) == screen.MAX_CAPTIONS
    assert one.text == "Sentence 999."


@given(st.lists(st.tuples(st.sampled_from(["hers", "hand"]), st.booleans()), max_size=12), st.booleans())
def test_obs_is_muted_whenever_she_is_and_never_unmuted_against_a_hand(happened, at_first):
    mutes, obs, by_hand = Mutes(), at_first, at_first
    mutes.known(obs)
    for who, muted in happened:
        if who == "hers":
            mutes.she_is(muted)
        elif muted != obs:
            obs = by_hand = muted
            mutes.seen(muted)
        overruled = who == "hand" and not muted
        if (wanted := mutes.wanted) is not None:
            assert wanted or not by_hand, "a mute made by hand is undone"
            mutes.ask(wanted)
            obs = wanted
            mutes.seen(wanted)
            mutes.told(wanted)
            assert mutes.wanted is None
        by_hand = by_hand and obs
        assert obs or not mutes.hers or overruled or mutes._overruled
        assert mutes.theirs == obs

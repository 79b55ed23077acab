"""The VTube Studio plugin against an app that follows the published API: getting in, the mouth, hotkeys, every loss."""

import asyncio
import itertools
import json
import statistics

import pytest
from websockets.asyncio.server import serve

from tests.support.brokers import free_port, running
from tests.support.bus import turn, utterance
from tests.support.plugged import plugged
from tests.support.vtube_studio_fake import TOKEN, FakeVTubeStudio
from vtuber_brain.config import state_dir
from vtuber_brain.messages import Cue

MAPPING = """
[mood.positive]
hotkey = "smile"
again = true
smile = 0.9
[mood.negative]
expression = "sad.exp3.json"
[cue.wave]
hotkey = "Wave"
[cue.blush]
expression = "blush.exp3.json"
fade_s = 0.5
"""


def settings(app, **changes):
    return {"url": app.url, "discover": "off", "voice_url": "", **changes}


@pytest.fixture
def mapping(tmp_path):
    file = tmp_path / "mapping.toml"
    file.write_text(MAPPING)
    return file


def token_file():
    return state_dir() / "plugin_state" / "vtube_studio" / "token"


async def in_the_app(app, times=1):
    """Until the face has been there and is being shown."""
    num = len(app.injected)
    await app.until(lambda: len(app.injected) >= num + times)


async def test_it_asks_for_a_token_once_keeps_it_for_its_owner_alone_and_uses_it_from_then_on():
    async with FakeVTubeStudio() as app:
        for _ in range(2):
            async with plugged("vtube_studio", **settings(app)):
                await in_the_app(app)
        assert (app.asked, app.complaints) == (1, [])
    assert token_file().read_text().strip() == TOKEN
    assert token_file().stat().st_mode & 0o777 == 0o600


async def test_a_token_that_is_no_longer_good_is_replaced():
    token_file().parent.mkdir(parents=True)
    token_file().write_text("old-token")
    token_file().chmod(0o600)
    async with FakeVTubeStudio() as app, plugged("vtube_studio", **settings(app)):
        await in_the_app(app)
        assert app.asked == 1
    assert token_file().read_text().strip() == TOKEN


async def test_who_denies_access_is_not_asked_again():
    async with FakeVTubeStudio(user="deny") as app, plugged("vtube_studio", **settings(app)) as brain:
        await brain.until(lambda: brain.given_up)
        assert "access was denied" in brain.given_up
        assert app.asked == 1
    assert not token_file().exists()


async def test_the_operator_is_told_to_click_while_the_app_asks():
    async with FakeVTubeStudio() as app:
        real = app._AuthenticationTokenRequest
        clicked = []

        def waiting(connection, data):
            clicked.append(brain.trouble)
            return real(connection, data)

        app._AuthenticationTokenRequest = waiting
        async with plugged("vtube_studio", **settings(app)) as brain:
            await brain.until(lambda: brain.health[-1] == (True, "") and clicked)
    assert clicked == ["waiting for your click on Allow in VTube Studio"]


async def test_access_taken_back_during_a_stream_ends_it_and_the_token_is_forgotten():
    async with FakeVTubeStudio() as app, plugged("vtube_studio", **settings(app)) as brain:
        await in_the_app(app)
        app.fails["InjectParameterDataRequest"] = 50
        await brain.until(lambda: brain.given_up)
    assert not token_file().exists()


async def test_her_mouth_moves_at_30_hz_or_more_while_she_is_heard_and_shuts_with_the_sentence():
    said = utterance(0, text="Good evening everybody, how lovely to see you all here tonight again.")
    async with FakeVTubeStudio() as app, plugged("vtube_studio", **settings(app)) as brain:
        await in_the_app(app)
        await brain.say(said)
        await in_the_app(app, 45)
        last = app.injected[-40:]
        await brain.play(said, "finished")
        await app.until(lambda: app.injected[-1][1]["MouthOpen"] == 0)
        assert app.complaints == []
    gaps = [after[0] - before[0] for before, after in itertools.pairwise(last)]
    assert statistics.median(gaps) <= 1 / 30
    opens = [values["MouthOpen"] for _, values, _ in last]
    assert max(opens) > 0.5
    assert len(set(opens)) > 4
    assert all(found is True for _, _, found in last)


async def test_her_face_is_held_more_often_than_once_a_second_while_she_is_silent():
    async with FakeVTubeStudio() as app, plugged("vtube_studio", **settings(app, idle_every_s=0.3)):
        await in_the_app(app, 5)
        gaps = [after[0] - before[0] for before, after in itertools.pairwise(app.injected)]
        assert max(gaps) < 0.9
        assert statistics.median(gaps) > 0.25  # and no more often than is of use
        assert app.value("MouthOpen") == 0


async def test_a_sentence_that_is_cut_or_muted_shuts_her_mouth_at_once():
    async with FakeVTubeStudio() as app, plugged("vtube_studio", **settings(app)) as brain:
        for stop in (
            lambda: brain.play(utterance(0), "skipped"),
            lambda: brain.emit(turn(outcome="retracted")),
            lambda: brain.emit(turn(outcome="cut", reason="skip")),
            lambda: brain.is_now(muted=True),
        ):
            await brain.is_now()
            await brain.say(utterance(0, text="ma" * 80))
            await app.until(lambda: app.injected and app.injected[-1][1]["MouthOpen"] > 0.3)
            await stop()
            await app.until(lambda: app.injected[-1][1]["MouthOpen"] == 0)


async def test_the_mouth_is_the_voices_own_where_the_voice_tells_it():
    opened = [100, 0] * 100
    frame = {"type": "sentence", "reply_id": "r1", "seq": 0, "text": "x", "mouth": {"step_ms": 100, "open": opened}}
    asked, pongs = [], []

    async def voice(connection):
        asked.append(connection.request)
        await connection.send(json.dumps({"type": "hello"}))
        await connection.send(json.dumps({"type": "ping", "t": 7}))
        await connection.send("no json")
        await connection.send(json.dumps({**frame, "mouth": {"step_ms": 0}}))
        await connection.send(json.dumps({**frame, "mouth": {**frame["mouth"], "shape": "a_" * 100}}))
        await connection.send(b"\x01\x00\x00\x00sound")
        async for text in connection:
            pongs.append(json.loads(text))

    async with serve(voice, "127.0.0.1", 0) as server, FakeVTubeStudio() as app:
        url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/overlay/ws"
        options = settings(app, voice_url=url, voice_token="t" * 20, vowels=True)
        async with plugged("vtube_studio", **options) as brain:
            await app.until(lambda: pongs)
            await in_the_app(app)
            await brain.say(utterance(0, text="hm"))
            await app.until(lambda: len({values["MouthOpen"] for _, values, _ in app.injected[-30:]}) > 1)
    assert asked[0].path == "/overlay/ws?watch=1&token=" + "t" * 20
    assert pongs == [{"type": "pong", "t": 7}]
    seen = {(values["MouthOpen"], values["VoiceA"], values["VoiceI"]) for _, values, _ in app.injected}
    assert seen == {(0, 0, 0), (1, 1, 0)}


async def test_moods_and_cues_become_hotkeys_and_expressions_and_end(mapping):
    async with FakeVTubeStudio() as app, plugged("vtube_studio", **settings(app, mapping=str(mapping))) as brain:
        await in_the_app(app)
        await brain.say(utterance(0, mood="positive", cue=Cue("wave")))
        await app.until(lambda: app.triggered == ["Smile", "Wave"])
        await app.until(lambda: app.injected[-1][1]["MouthSmile"] == 0.9)
        await brain.say(utterance(1, mood="negative", cue=Cue("blush", for_ms=50)))
        await app.until(lambda: ("blush.exp3.json", False) in app.activated)
        assert app.triggered == ["Smile", "Wave", "Smile"]  # the mood's is a toggle
        await brain.emit(Cue("wave"), Cue("unheard_of"))
        await app.until(lambda: len(app.triggered) == 4)
        assert app.complaints == []
    assert app.activated == [("sad.exp3.json", True), ("blush.exp3.json", True), ("blush.exp3.json", False)]


async def test_what_an_earlier_connection_left_on_the_model_is_put_out(mapping):
    left = {"blush.exp3.json": True, "glasses.exp3.json": True}
    async with FakeVTubeStudio(expressions=left) as app:
        options = settings(app, mapping=str(mapping))
        async with plugged("vtube_studio", **options):
            await in_the_app(app)
    assert app.activated == [("blush.exp3.json", False)]


async def test_another_model_gets_the_mood_anew(mapping):
    async with FakeVTubeStudio() as app, plugged("vtube_studio", **settings(app, mapping=str(mapping))) as brain:
        await in_the_app(app)
        await brain.say(utterance(0, mood="positive"))
        await app.until(lambda: app.triggered == ["Smile"])
        await app.load_model(loaded=False)
        await brain.emit(Cue("wave"))
        await in_the_app(app, 3)
        assert "HotkeyTriggerRequest" not in app.requests[app.requests.index("CurrentModelRequest", 8) :]
        await app.load_model(hotkeys=["Smile"])
        await app.until(lambda: app.triggered == ["Smile", "Smile"])


async def test_the_mapping_file_is_taken_over_when_it_changes_and_a_wrong_one_is_told(mapping):
    async with FakeVTubeStudio() as app, plugged("vtube_studio", **settings(app, mapping=str(mapping))) as brain:
        await in_the_app(app)
        mapping.write_text('[cue.wave]\nhotkey = "Frown"\nloud = 1\n')
        await brain.until(lambda: brain.trouble)
        assert brain.trouble == f"{mapping}: cue.wave.loud: Extra inputs are not permitted"
        mapping.write_text('[cue.wave]\nhotkey = "Frown"\n')
        await brain.until(lambda: not brain.trouble)
        await brain.emit(Cue("wave"))
        await app.until(lambda: app.triggered == ["Frown"])


async def test_a_connection_that_is_lost_comes_back_by_itself_and_her_mouth_with_it():
    async with FakeVTubeStudio() as app, plugged("vtube_studio", **settings(app)) as brain:
        await in_the_app(app)
        await app.drop()
        await brain.until(lambda: not brain.health[-1][0])
        await brain.until(lambda: brain.health[-1] == (True, ""))
        await brain.say(utterance(0, text="ma" * 80))
        await app.until(lambda: app.injected[-1][1]["MouthOpen"] > 0.3)
        assert (app.asked, app.complaints) == (1, [])


async def test_an_app_that_answers_no_more_is_left_and_found_again():
    async with FakeVTubeStudio() as app, plugged("vtube_studio", **settings(app, timeout_s=0.3)) as brain:
        await in_the_app(app)
        app.silent = True
        await brain.until(lambda: brain.trouble == "no answer in time")
        app.silent = False
        await brain.until(lambda: brain.health[-1] == (True, ""))


async def test_an_app_that_is_started_later_is_found_where_it_broadcasts():
    port = free_port()
    app = FakeVTubeStudio(active=False)

    async def announce():
        while True:
            app.broadcast(port)
            await asyncio.sleep(0.05)

    options = {"url": f"ws://127.0.0.1:{free_port()}", "discovery_port": port, "voice_url": ""}
    async with plugged("vtube_studio", **options) as brain, app, running(announce(), "announce"):
        await brain.until(lambda: "plugin API access is turned off" in brain.trouble)
        app.active = True
        await brain.until(lambda: brain.health[-1] == (True, ""), timeout_s=15)


async def test_other_settings_are_taken_over_by_a_new_connection():
    async with FakeVTubeStudio() as app, plugged("vtube_studio", **settings(app)) as brain:
        await in_the_app(app)
        assert await brain.plugins.reload({"vtube_studio": settings(app, mouth="FaceAngleX")}) == []
        await app.until(lambda: "FaceAngleX" in app.injected[-1][1])
        assert await brain.plugins.reload({"vtube_studio": settings(app, rate_hz=3)}) == ["vtube_studio"]

"""The OBS plugin against an OBS that follows the published protocol: subtitles, captions, scenes, mute, every loss."""

import asyncio

import pytest
import structlog
from aiohttp import web

from tests.support.bus import turn, utterance
from tests.support.obs_fake import FakeObs
from tests.support.plugged import plugged
from vtuber_brain.config import state_dir

PASSWORD = "supersecretpassword"
HELLO = utterance(0, text="Hello everybody out there, tonight we sing.")


def settings(obs, **changes):
    return {"url": obs.url, **changes}


async def nothing_more(obs, for_s):
    """Nothing is asked of OBS for a while; how much was asked before."""
    num = len(obs.requests)
    with pytest.raises(TimeoutError):
        await obs.until(lambda: len(obs.requests) > num, timeout_s=for_s)
    return num


async def settled(brain, obs):
    """Until the plugin has read whatever OBS told it before: the second caption goes out after the first's answer."""
    for seq in (100, 101):
        num = len(obs.captions)
        await brain.say(utterance(seq))
        await obs.until(lambda num=num: len(obs.captions) > num)


async def test_it_logs_in_with_the_password_and_writes_it_nowhere():
    with structlog.testing.capture_logs() as logs:
        async with FakeObs(password=PASSWORD) as obs:
            async with plugged("obs_studio", **settings(obs, password=PASSWORD)):
                await obs.until(lambda: obs.logins)
            assert obs.complaints == []
    assert PASSWORD not in str(logs)


@pytest.mark.parametrize(
    ("password", "told"), [("wrong", "the password is not the one of OBS"), (None, "OBS asks for a password")]
)
async def test_a_password_that_is_wrong_or_missing_is_told_and_not_tried_again(password, told):
    async with FakeObs(password=PASSWORD) as obs, plugged("obs_studio", **settings(obs, password=password)) as brain:
        await brain.until(lambda: brain.given_up)
        assert told in brain.given_up
        assert told in brain.trouble
        assert obs.logins == 0


async def test_a_sentence_is_shown_while_it_is_heard_and_a_moment_longer():
    options = {"subtitles": "Subtitles", "linger_s": 0.1, "wrap": 20, "captions": True}
    async with FakeObs() as obs, plugged("obs_studio", **settings(obs, **options)) as brain:
        await obs.until(lambda: obs.shown == [""])  # what an earlier stream left is gone
        await brain.emit(HELLO)
        await brain.play(HELLO)
        await obs.until(lambda: obs.texts["Subtitles"])
        assert obs.texts["Subtitles"] == "Hello everybody out\nthere, tonight we\nsing."
        await obs.until(lambda: obs.captions)
        assert obs.captions == [HELLO.text]
        await brain.play(HELLO, "finished")
        await obs.until(lambda: obs.texts["Subtitles"] == "")
        assert (len(obs.shown), obs.complaints) == (3, [])


async def test_the_next_sentence_takes_the_place_of_the_one_before():
    second = utterance(1, text="And then we dance.")
    options = settings(FakeObs(), subtitles="Subtitles", linger_s=30)
    async with FakeObs() as obs, plugged("obs_studio", **{**options, "url": obs.url}) as brain:
        await brain.emit(HELLO, second)
        await brain.play(HELLO)
        await obs.until(lambda: obs.texts["Subtitles"] == HELLO.text)
        await brain.play(HELLO, "finished")
        await brain.play(second)
        await obs.until(lambda: obs.texts["Subtitles"] == second.text)


async def test_a_player_that_is_faster_than_the_news_of_the_sentence_loses_nothing():
    async with FakeObs() as obs, plugged("obs_studio", **settings(obs, subtitles="Subtitles")) as brain:
        await brain.play(HELLO)
        await brain.emit(HELLO)
        await obs.until(lambda: obs.texts["Subtitles"] == HELLO.text)


async def test_what_is_taken_back_skipped_or_muted_is_gone_at_once():
    async with FakeObs() as obs, plugged("obs_studio", **settings(obs, subtitles="Subtitles", linger_s=60)) as brain:
        for stop in (
            lambda: brain.emit(turn(outcome="retracted")),
            lambda: brain.emit(turn(outcome="cut", reason="skip")),
            lambda: brain.play(HELLO, "skipped"),
            lambda: brain.is_now(muted=True),
        ):
            await brain.is_now()
            await brain.say(HELLO)
            await obs.until(lambda: obs.texts["Subtitles"] == HELLO.text)
            await stop()
            await obs.until(lambda: obs.texts["Subtitles"] == "")


async def test_what_the_gate_let_out_before_it_cut_the_reply_is_shown_for_as_long_as_it_is_heard():
    second = utterance(1, text="Another sentence.")
    async with FakeObs() as obs, plugged("obs_studio", **settings(obs, subtitles="Subtitles", linger_s=60)) as brain:
        await brain.emit(HELLO)
        await brain.emit(second)
        await brain.play(HELLO)
        await brain.emit(turn(outcome="cut", reason="toxic"))
        await brain.play(HELLO, "finished")
        await brain.play(second)
        await obs.until(lambda: obs.texts["Subtitles"] == second.text)


async def test_without_a_stream_captions_are_left_out_without_a_word():
    with structlog.testing.capture_logs() as logs:
        async with FakeObs(streaming=False) as obs, plugged("obs_studio", **settings(obs, captions=True)) as brain:
            await brain.say(HELLO)
            await obs.until(lambda: obs.requests)
            await brain.say(utterance(1))
            await obs.until(lambda: len(obs.requests) == 2)
            assert brain.trouble == ""
    assert [line for line in logs if line["event"] == "obs_studio_left_out"] == []


async def test_the_scene_changes_with_who_is_on_stage_and_not_before():
    scenes = {"mori": "Mori's room", "bolt": "Bolt's garage"}
    obs = FakeObs(scenes=("Intro", *scenes.values()))
    async with obs, plugged("obs_studio", **settings(obs, scenes=scenes, captions=True)) as brain:
        await brain.is_now(persona="mori")
        await brain.say(HELLO)
        await obs.until(lambda: obs.captions)
        assert obs.scene == "Intro"
        await brain.is_now(persona="bolt")
        await obs.until(lambda: obs.scene == "Bolt's garage")
        await brain.is_now(persona="mori")
        await obs.until(lambda: obs.scene == "Mori's room")


async def test_her_mute_mutes_the_input_in_obs_and_her_unmute_undoes_it():
    async with FakeObs() as obs, plugged("obs_studio", **settings(obs, voice_input="Voice")) as brain:
        await obs.until(lambda: obs.requests)
        await brain.is_now(muted=True)
        await obs.until(lambda: obs.muted["Voice"])
        await brain.is_now(muted=False)
        await obs.until(lambda: not obs.muted["Voice"])
        assert obs.complaints == []
        assert [kind for kind, _ in obs.requests] == ["GetInputMute", "SetInputMute", "SetInputMute"]


async def test_she_who_was_muted_while_obs_was_away_is_muted_there_as_soon_as_it_is_back():
    async with FakeObs() as obs, plugged("obs_studio", **settings(obs, voice_input="Voice")) as brain:
        await obs.until(lambda: obs.requests)
        port = obs.port
        await obs.__aexit__()
        await brain.until(lambda: not brain.health[-1][0])
        await brain.is_now(muted=True)
        async with FakeObs(port=port) as again:
            await again.until(lambda: again.muted["Voice"])
        await obs.__aenter__()


async def test_a_mute_by_hand_is_never_undone_from_here_and_a_hand_may_overrule_hers():
    obs = FakeObs(muted={"Voice": True})
    async with obs, plugged("obs_studio", **settings(obs, voice_input="Voice", captions=True)) as brain:
        await obs.until(lambda: obs.requests)
        await brain.is_now(muted=True)
        await brain.is_now(muted=False)
        await settled(brain, obs)
        assert obs.muted["Voice"]
        await obs.mute_by_hand("Voice", False)
        await settled(brain, obs)
        await brain.is_now(muted=True)
        await obs.until(lambda: obs.muted["Voice"])
        await obs.mute_by_hand("Voice", False)
        await brain.is_now(muted=False)
        await settled(brain, obs)
        assert not obs.muted["Voice"]


async def test_a_daemon_that_died_muted_leaves_nobody_muted_for_ever():
    async with FakeObs() as obs:
        async with plugged("obs_studio", **settings(obs, voice_input="Voice")) as brain:
            await obs.until(lambda: obs.requests)
            await brain.is_now(muted=True)
            await obs.until(lambda: obs.muted["Voice"])
        assert (state_dir() / "plugin_state" / "obs_studio" / "muted_by_us").exists()
        async with plugged("obs_studio", **settings(obs, voice_input="Voice")) as brain:
            await obs.until(lambda: not obs.muted["Voice"])


@pytest.fixture
async def control():
    """A control API that takes mutes from who has the token; `answers` is what it says next, 200 after that."""
    taken, answers = [], []

    async def handle(request):
        status = answers.pop(0) if answers else 200
        taken.append((request.path, request.headers.get("Authorization"), status))
        changed.set()
        return web.json_response({}, status=status)

    changed = asyncio.Event()
    app = web.Application()
    app.router.add_post("/v1/{action}", handle)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = site._server.sockets[0].getsockname()[1]

    async def until(num):
        async with asyncio.timeout(10):
            while len(taken) < num:
                changed.clear()
                await changed.wait()
        return taken

    yield f"http://127.0.0.1:{port}", answers, until
    await runner.cleanup()


async def test_a_hand_in_obs_mutes_and_unmutes_her_where_the_settings_say_so(control):
    url, answers, until = control
    more = {"voice_input": "Voice", "mute_her": True, "control_url": url, "control_token": "m" * 20}
    async with FakeObs() as obs, plugged("obs_studio", **settings(obs, **more)) as brain:
        await obs.until(lambda: obs.requests)
        answers.append(503)
        await obs.mute_by_hand("Voice", True)
        taken = await until(2)
        assert taken == [("/v1/mute", "Bearer " + "m" * 20, 503), ("/v1/mute", "Bearer " + "m" * 20, 200)]
        assert "the control API answered 503" in str(brain.health)
        await brain.is_now(muted=True)
        await obs.mute_by_hand("Voice", False)
        assert (await until(3))[2][0] == "/v1/unmute"
        await brain.is_now(muted=False)
        assert [kind for kind, _ in obs.requests] == ["GetInputMute"]


async def test_her_own_mute_is_not_taken_for_a_hands(control):
    url, _, until = control
    more = {"voice_input": "Voice", "mute_her": True, "control_url": url, "control_token": "m" * 20}
    async with FakeObs() as obs, plugged("obs_studio", **settings(obs, **more)) as brain:
        await obs.until(lambda: obs.requests)
        for muted in (True, False):
            await brain.is_now(muted=muted)
            await obs.until(lambda muted=muted: obs.muted["Voice"] is muted)
        await obs.mute_by_hand("Voice", True)
        assert [path for path, *_ in await until(1)] == ["/v1/mute"]


async def test_during_a_change_of_scene_collection_obs_is_left_alone_and_set_anew_after_it():
    async with FakeObs() as obs, plugged("obs_studio", **settings(obs, subtitles="Subtitles")) as brain:
        await obs.until(lambda: obs.shown == [""])
        await obs.collection("Changing")
        await nothing_more(obs, 0.1)  # it has been read by then
        await brain.say(HELLO)
        num = await nothing_more(obs, 0.3)
        obs.texts["Subtitles"] = "of the other collection"
        await obs.collection("Changed")
        await obs.until(lambda: obs.texts["Subtitles"] == HELLO.text)
        assert len(obs.requests) == num + 1


async def test_a_connection_that_is_lost_comes_back_by_itself_with_what_is_to_be_seen():
    async with FakeObs() as obs, plugged("obs_studio", **settings(obs, subtitles="Subtitles")) as brain:
        await obs.until(lambda: obs.shown)
        await obs.drop()
        await brain.until(lambda: not brain.health[-1][0])
        await brain.say(HELLO)
        await obs.until(lambda: obs.texts["Subtitles"] == HELLO.text)
        assert brain.health[-1] == (True, "")
        assert obs.logins == 2


async def test_an_obs_that_answers_no_more_is_left_and_found_again():
    options = {"subtitles": "Subtitles", "timeout_s": 0.3}
    async with FakeObs() as obs, plugged("obs_studio", **settings(obs, **options)) as brain:
        await obs.until(lambda: obs.shown)
        obs.silent = True
        await brain.say(HELLO)
        await brain.until(lambda: brain.trouble == "no answer in time")
        obs.silent = False
        await obs.until(lambda: obs.texts["Subtitles"] == HELLO.text)


async def test_other_settings_are_taken_over_by_a_new_connection():
    obs = FakeObs(texts={"Subtitles": "", "Other": "x"})
    async with obs, plugged("obs_studio", **settings(obs, subtitles="Subtitles")) as brain:
        await obs.until(lambda: obs.shown)
        assert await brain.plugins.reload({"obs_studio": settings(obs, subtitles="Other")}) == []
        await obs.until(lambda: obs.texts["Other"] == "")
        assert await brain.plugins.reload({"obs_studio": {"colour": 1}}) == ["obs_studio"]

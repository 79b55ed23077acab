"""Who speaks a sentence: by persona, by language, and somebody else when an engine fails."""

import asyncio

import pytest

from tests.support.voices import Hum
from vtuber_brain.errors import EngineDown, RequestFailed
from vtuber_brain.voice.sound import RATE
from vtuber_brain.voice.synthesis import Synthesis
from vtuber_brain.voice_sections import PersonaVoice, VoiceSettings

SETTINGS = VoiceSettings(engines={"en": "one", "id": "two"}, fallback="last", timeout_s=0.2)


def synthesis(manner=None, settings=SETTINGS, **engines):
    engines = {"one": Hum(languages=("en",)), "two": Hum(), "last": Hum(languages=("en", "id", "fr")), **engines}
    return Synthesis(settings, lambda persona: manner or PersonaVoice(), engines), engines


@pytest.mark.parametrize(
    ("lang", "own", "name"),
    [
        ("en", None, "one"),
        ("en-GB", None, "one"),
        ("id", None, "two"),
        ("fr", None, "last"),
        ("id", "one", "two"),
        ("en", "two", "two"),
    ],
)
async def test_the_personas_own_engine_speaks_where_it_can_else_that_of_the_language_else_the_fallback(lang, own, name):
    one, _ = synthesis(PersonaVoice(engine=own))
    assert (await one.make("Hello.", lang, "mori")).engine == name


async def test_a_sentence_that_one_engine_cannot_speak_is_spoken_by_another():
    one, _ = synthesis(one=Hum(fails=RequestFailed("not_spoken", "no"), trigger="hard"))
    assert (await one.make("hard words", "en", "mori")).engine == "last"
    assert (await one.make("easy words", "en", "mori")).engine == "one"
    assert one.down == {}


async def test_an_engine_that_is_down_is_asked_last_until_it_has_rested(monkeypatch):
    one, engines = synthesis(one=Hum(fails=EngineDown("gone"), languages=("en",)))
    for _ in range(3):
        assert (await one.make("Hello.", "en", "mori")).engine == "last"
    assert len(engines["one"].asked) == 1
    assert one.down == {"one": "gone"}
    monkeypatch.setattr("vtuber_brain.voice.synthesis.RETRY_S", 0.0)
    engines["one"].fails = None
    assert (await one.make("Hello.", "en", "mori")).engine == "one"
    assert one.down == {}


async def test_an_engine_that_hangs_costs_its_time_once_and_not_the_sentence(monkeypatch):
    one, _ = synthesis(one=Hum(gate=asyncio.Event(), languages=("en",)))
    async with asyncio.timeout(3):
        assert (await one.make("Hello.", "en", "mori")).engine == "last"
    async with asyncio.timeout(0.5):
        assert (await one.make("Hello.", "en", "mori")).engine == "last"


async def test_when_nobody_can_speak_the_reason_of_the_last_is_told():
    down = EngineDown("not installed")
    one, _ = synthesis(one=Hum(fails=EngineDown("gone")), last=Hum(fails=down))
    with pytest.raises(EngineDown, match="not installed"):
        await one.make("Hello.", "en", "mori")
    alone, _ = synthesis(settings=SETTINGS.model_copy(update={"engines": {}, "fallback": ""}))
    with pytest.raises(EngineDown, match="no engine is set"):
        await alone.make("Hello.", "en", "mori")


@pytest.mark.parametrize(("text", "lang"), [("hi", "en; rm -rf"), ("hi", "--help"), ("hi", ""), ("a" * 1001, "en")])
async def test_what_is_no_language_and_no_sentence_reaches_no_engine(text, lang):
    one, engines = synthesis()
    with pytest.raises(RequestFailed, match="bad_text"):
        await one.make(text, lang, "mori")
    assert not any(engine.asked for engine in engines.values())


async def test_what_has_no_words_is_not_spoken():
    one, _ = synthesis()
    with pytest.raises(RequestFailed, match="nothing_to_say"):
        await one.make("😀 :)", "en", "mori")


async def test_a_higher_voice_is_spoken_slower_and_played_faster_so_the_pace_stays():
    one, engines = synthesis(PersonaVoice(speed=1.2, pitch=1.25, voice="v"), one=Hum(lambda text: 1.0))
    made = await one.make("Hello.", "en", "mori")
    ((_, _, voice, speed),) = engines["one"].asked
    assert (voice, round(speed, 3)) == ("v", 0.96)
    assert made.clip.num_samples == RATE / 1.25


async def test_a_personas_voice_is_not_asked_of_the_engine_that_stands_in():
    one, engines = synthesis(PersonaVoice(voice="v"), one=Hum(fails=EngineDown("gone")))
    await one.make("Hello.", "en", "mori")
    assert engines["last"].asked[0][2] is None

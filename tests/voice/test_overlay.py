"""The overlay's server, over real sockets: pages play what is spoken, and say so; one leads, and another takes over."""

import asyncio
import contextlib
import time

import aiohttp
import pytest
from yarl import URL

from tests.support.brokers import free_port
from tests.support.voices import Hum, ended, page, said, state
from vtuber_brain.bus.topics import CuePayload
from vtuber_brain.errors import Refused
from vtuber_brain.voice.avatars import Avatar, find_avatar
from vtuber_brain.voice.overlay import Overlay
from vtuber_brain.voice.pages import MAX_WAITING, Frame
from vtuber_brain.voice.sound import RATE, Clip
from vtuber_brain.voice.synthesis import Synthesis
from vtuber_brain.voice.voice import Voice
from vtuber_brain.voice.wire import Face
from vtuber_brain.voice_sections import PersonaVoice, VoiceSettings

SOUND = Clip(b"\1\0" * 480)


def face(persona):
    return Face(persona, persona.title(), "en")


class Stage:
    """A voice with its overlay; `acks` are what the bus was told."""

    def __init__(self, hum, avatar, **changes):
        settings = VoiceSettings(port=0, engines={"en": "hum"}, fallback="", **changes)
        self.overlay, self.acks = Overlay(settings, avatar, "mori", face), []
        synthesis = Synthesis(settings, lambda _: PersonaVoice(), {"hum": hum})
        self.voice = Voice(settings, synthesis, self.overlay, self.acks.append)

    def told(self):
        return [(ack.reply_id, ack.seq, ack.state) for ack in self.acks]

    async def until(self, holds):
        async with asyncio.timeout(10):
            while not holds():
                await asyncio.sleep(0.002)

    async def heard(self, *acks):
        await self.until(lambda: self.told() == list(acks))


@contextlib.asynccontextmanager
async def stage(hum=None, avatar=None, **changes):
    one = Stage(hum or Hum(), avatar or find_avatar("drawn"), **changes)
    running = asyncio.create_task(one.voice.run(), name="voice")
    try:
        one.port = await one.overlay.listening()
        yield one
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def played(reply_id, seq):
    return [(reply_id, seq, "started"), (reply_id, seq, "finished")]


async def test_a_page_hears_who_she_is_plays_what_she_says_and_that_is_told():
    async with stage(theme="paper") as one, page(one.port) as viewer:
        await one.until(lambda: one.overlay.is_heard)
        one.voice.utterance(said("r1", 0))
        one.voice.utterance(said("r1", 1, final=True))
        await one.heard(*played("r1", 0), *played("r1", 1))
        hello, first = viewer.frames[0], viewer.of("sentence")[0]
        assert hello == {
            "type": "hello",
            "persona": "mori",
            "display_name": "Mori",
            "lang": "en",
            "muted": False,
            "theme": {"name": "paper"},
            "sample_rate": 24000,
            "avatar": {"kind": "drawn", "files": {}},
        }
        assert first["in_reply_to"] == {"author": "Wren", "text": "hi Mori"}
        assert first["cue"] == {"name": "smile", "intensity": 1.0, "for_ms": 2000}
        assert first["duration_ms"] == 200.0 == 1000 * len(viewer.sounds["r1", 0]) / 2 / RATE
        assert len(first["mouth"]["open"]) == len(first["mouth"]["shape"]) == 10


async def test_a_mute_reaches_the_page_within_200_ms_and_so_does_a_skip():
    async with stage(Hum(lambda _: 30.0)) as one, page(one.port) as viewer:
        await one.until(lambda: one.overlay.is_heard)
        for kind, silence in (("skip", lambda: one.voice.reply(ended("r1", "retracted"))), ("stop", mute(one))):
            reply_id = {"skip": "r1", "stop": "r2"}[kind]
            one.voice.utterance(said(reply_id, 0))
            await one.until(lambda reply_id=reply_id: (reply_id, 0, "started") in one.told())
            before = time.monotonic()
            silence()
            await viewer.until(lambda viewer, kind=kind: viewer.of(kind))
            assert time.monotonic() - before < 0.2
            await viewer.until(lambda viewer: viewer.playing is None or viewer.silenced.is_set())
        await one.heard(("r1", 0, "started"), ("r1", 0, "skipped"), ("r2", 0, "started"), ("r2", 0, "skipped"))


async def test_who_only_watches_sees_every_mouth_hears_nothing_and_has_no_say():
    async with stage() as one, page(one.port, query="?watch=1") as watcher:
        await watcher.until(lambda watcher: watcher.of("hello"))
        assert not one.overlay.is_heard
        async with page(one.port) as viewer:
            await one.until(lambda: one.overlay.is_heard)
            one.voice.utterance(said("r1", 0, final=True))
            await one.heard(*played("r1", 0))
            await watcher.until(lambda watcher: watcher.of("sentence"))
            assert watcher.of("sentence")[0]["mouth"] == viewer.of("sentence")[0]["mouth"]
            assert not watcher.sounds
        await one.until(lambda: not one.overlay.is_heard)


def mute(one):
    return lambda: one.voice.status(state("muted"))


async def test_sentences_on_their_way_to_a_page_are_withdrawn_with_their_reply():
    async with stage() as one, page(one.port, plays=False) as viewer:
        await one.until(lambda: one.overlay.is_heard)
        for reply_id in ("r1", "r2"):
            one.overlay.give(said(reply_id, 0), SOUND)
        one.overlay.skip("r1")
        await viewer.until(lambda viewer: viewer.of("skip"))
        assert [frame["reply_id"] for frame in viewer.of("sentence")] == ["r2"]
        one.overlay.give(said("r3", 0), SOUND)
        one.overlay.stop()
        await viewer.until(lambda viewer: viewer.of("stop"))
        assert len(viewer.of("sentence")) == 1


async def test_two_pages_play_and_only_the_first_ones_word_counts():
    async with stage() as one, page(one.port) as first:
        await one.until(lambda: one.overlay.is_heard)
        async with page(one.port) as second:
            await one.until(lambda: len(one.overlay._audience.ready()) == 2)
            one.voice.utterance(said("r1", 0))
            await second.until(lambda viewer: len(viewer.acks) == 2)
            await one.heard(*played("r1", 0))
            assert first.sounds == second.sounds


async def test_when_the_page_that_leads_goes_the_next_one_carries_on_where_it_is():
    async with stage(Hum(lambda _: 0.5)) as one, contextlib.AsyncExitStack() as first_page:
        await first_page.enter_async_context(page(one.port))
        await one.until(lambda: one.overlay.is_heard)
        async with page(one.port) as second:
            await one.until(lambda: len(one.overlay._audience.ready()) == 2)
            one.voice.utterance(said("r1", 0))
            await second.until(lambda viewer: viewer.playing is not None)
            await first_page.aclose()
            await one.heard(*played("r1", 0))


async def test_what_the_last_page_had_is_skipped_when_it_goes_and_what_comes_then_too_until_one_is_there_again():
    async with stage(Hum(lambda _: 30.0)) as one:
        async with page(one.port) as viewer:
            await one.until(lambda: one.overlay.is_heard)
            one.voice.utterance(said("r1", 0))
            await one.heard(("r1", 0, "started"))
        await one.heard(("r1", 0, "started"), ("r1", 0, "skipped"))
        one.voice.utterance(said("r2", 0))
        await one.heard(("r1", 0, "started"), ("r1", 0, "skipped"), ("r2", 0, "skipped"))
        async with page(one.port) as viewer:
            await one.until(lambda: one.overlay.is_heard)
            one.voice.utterance(said("r3", 0))
            await viewer.until(lambda viewer: viewer.playing is not None)
            assert [frame["reply_id"] for frame in viewer.of("sentence")] == ["r3"]


async def test_a_page_without_sound_keeps_the_time_until_one_with_sound_comes():
    async with stage() as one, page(one.port, audio=False):
        await one.until(lambda: one.overlay.is_heard)
        one.voice.utterance(said("r1", 0))
        await one.heard(*played("r1", 0))
        async with page(one.port) as loud:
            await one.until(lambda: one.overlay._audience.leader.sounds)
            one.voice.utterance(said("r2", 0))
            await loud.until(lambda viewer: len(viewer.acks) == 2)
            await one.heard(*played("r1", 0), *played("r2", 0))


async def test_who_comes_on_stage_and_what_she_shows_reaches_the_pages():
    async with stage() as one, page(one.port) as viewer:
        await one.until(lambda: one.overlay.is_heard)
        one.voice.status(state("online", "bolt"))
        one.voice.cue(CuePayload(name="wave", intensity=0.5, for_ms=900))
        await viewer.until(lambda viewer: viewer.of("cue"))
        assert [frame["persona"] for frame in viewer.of("hello")] == ["mori", "bolt"]
        assert viewer.of("status")[-1] == {"type": "status", "state": "online", "persona": "bolt", "release": None}
        assert viewer.of("cue") == [{"type": "cue", "name": "wave", "intensity": 0.5, "for_ms": 900}]


async def test_a_page_that_says_nonsense_is_closed_and_the_others_stay():
    async with stage() as one, page(one.port) as good:
        async with page(one.port, plays=False) as bad:
            await bad.socket.send_str('{"type": "playback", "reply_id": 1}')
            async with asyncio.timeout(5):
                while not bad.socket.closed:
                    await asyncio.sleep(0.002)
            assert bad.socket.close_code == 1008
        one.voice.utterance(said("r1", 0))
        await one.heard(*played("r1", 0))
        assert not good.socket.closed


async def test_a_page_that_takes_nothing_is_closed_and_does_not_hold_up_the_voice():
    async with stage() as one, page(one.port), page(one.port, plays=False) as stuck:
        await one.until(lambda: len(one.overlay._pages) == 2)
        slow = list(one.overlay._pages)[-1]
        for _ in range(40):
            slow.put(Frame('{"type":"cue"}'))
        async with asyncio.timeout(5):
            while not stuck.socket.closed:
                await asyncio.sleep(0.002)
        one.voice.utterance(said("r1", 0))
        await one.heard(*played("r1", 0))


async def test_a_page_that_reads_nothing_is_cut_off_before_much_waits_for_it():
    async with stage() as one:
        reading, writing = await asyncio.open_connection("127.0.0.1", one.port, limit=1024)
        asked = ["GET /overlay/ws HTTP/1.1", f"Host: 127.0.0.1:{one.port}", "Connection: Upgrade", "Upgrade: websocket"]
        asked += ["Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "", ""]
        writing.write("\r\n".join(asked).encode())
        await reading.readline()
        await one.until(lambda: one.overlay._pages)
        (deaf,) = one.overlay._pages
        for _ in range(200):
            deaf.put(Frame('{"type":"cue"}', bytes(192_000)))
            await asyncio.sleep(0)
            if not one.overlay._pages:
                break
        await one.until(lambda: not one.overlay._pages)
        assert len(deaf.waiting) <= MAX_WAITING
        writing.close()


async def test_what_a_browser_would_not_ask_is_not_found_or_turned_away():
    async with stage(token="a-token-nobody-guesses") as one:
        address = f"http://127.0.0.1:{one.port}/overlay"
        async with aiohttp.ClientSession() as browser:
            for path in ("/%00.js", f"/{'x' * 300}.js"):
                async with browser.get(f"{address}{path}?token=a-token-nobody-guesses") as answer:
                    assert answer.status == 404
            reading, writing = await asyncio.open_connection("127.0.0.1", one.port)
            writing.write(b"GET /overlay HTTP/1.1\r\nHost: 127.0.0.1\r\nCookie: vtb_overlay=\xff\xfe\r\n\r\n")
            assert b" 401 " in await reading.readline()
            writing.close()


@pytest.mark.parametrize(
    ("headers", "status"),
    [({"Origin": "http://evil.example"}, 403), ({"Host": "evil.example"}, 403), ({}, 101)],
)
async def test_a_page_from_elsewhere_is_not_let_in(headers, status):
    async with stage() as one:
        opening = page(one.port, headers=headers)
        if status == 101:
            async with opening:
                return
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await opening.__aenter__()
        assert refused.value.status == status


async def test_the_page_and_its_files_come_with_the_right_types_and_may_load_nothing_from_elsewhere(tmp_path):
    for name in ("idle.png", "talk.png", "notes.txt"):
        (tmp_path / name).write_bytes(b"x")
    async with stage(avatar=find_avatar(str(tmp_path))) as one, aiohttp.ClientSession() as session:

        async def get(path):
            async with session.get(URL(f"http://127.0.0.1:{one.port}{path}", encoded=True)) as response:
                return response.status, response.headers

        for path, kind in (
            ("/overlay", "text/html"),
            ("/overlay/", "text/html"),
            ("/overlay/wire.js", "text/javascript"),
            ("/overlay/avatar/idle.png", "image/png"),
        ):
            status, headers = await get(path)
            assert (status, headers["Content-Type"].split(";")[0]) == (200, kind), path
            policy = headers["Content-Security-Policy"]
            assert "default-src 'none'" in policy
            assert "http:" not in policy.partition("frame-ancestors")[0]
            assert headers["X-Content-Type-Options"] == "nosniff"
        for path in (
            "/overlay/../errors.py",
            "/overlay/%2e%2e/errors.py",
            "/overlay/avatar/notes.txt",
            "/overlay/no.js",
        ):
            assert (await get(path))[0] == 404, path


async def test_beyond_loopback_the_token_opens_the_page_and_the_cookie_the_rest():
    token = "a-token-nobody-guesses"
    async with stage(token=token) as one, aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
        url = f"http://127.0.0.1:{one.port}/overlay"
        async with session.get(url) as response:
            assert response.status == 401
        async with session.get(f"{url}?token={token}") as response:
            assert response.status == 200
            assert "HttpOnly" in response.headers["Set-Cookie"]
        async with session.ws_connect(f"{url}/ws") as socket:
            assert (await socket.receive_json())["type"] == "hello"
        async with session.get(f"{url}/health") as response:
            assert (await response.json())["is_heard"] is False


async def test_a_port_that_is_taken_is_refused_with_what_to_do():
    port = free_port()
    settings = VoiceSettings(port=port)
    server = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", port)
    async with server:
        with pytest.raises(Refused, match=r"change voice\.port"):
            await Overlay(settings, Avatar({}), "mori", face).run(None)

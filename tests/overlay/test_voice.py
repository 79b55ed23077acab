"""What is heard: the samples play, the mouth and the acknowledgements keep their time, and silence comes at once."""

import asyncio
import time

import pytest

from tests.support.browser import until
from tests.support.overlay_feed import RATE

pytestmark = pytest.mark.asyncio(loop_scope="module")

SILENT_WITHIN_S = 0.2
# Remembers the loudest and the widest of each fiftieth of a second, at the place of the sentence where it was.
WATCH = """() => {
    window.seen = [];
    const look = () => {
        const {mouth, level, speaking, samplesPlayed} = overlay;
        seen.push({mouth, level, speaking, samplesPlayed, at: Date.now() / 1000});
        requestAnimationFrame(look);
    };
    look();
}"""


async def test_a_sentence_is_played_to_its_last_sample_and_acknowledged_on_time(page, feed):
    await page.goto(feed.url())
    link = await feed.link(audio=True)
    await page.evaluate(WATCH)
    sent = time.time()
    await feed.say("One, two, three.", loud=[(0.8, 0.8)])
    started, finished = await link.played(("r1", 0, "started"), ("r1", 0, "finished"))
    assert 0 <= started["at"] - sent < 0.5
    assert finished["at"] - started["at"] == pytest.approx(0.8, abs=0.02)
    assert (started["position_ms"], finished["position_ms"]) == (0, 800)
    assert abs(finished["received"] - finished["at"]) < 0.4
    seen = await page.evaluate("seen")
    assert max(now["level"] for now in seen) > 0.15, "nothing left for the speakers"
    assert await page.evaluate("overlay.samplesPlayed") == round(0.8 * RATE)


async def test_the_mouth_moves_while_she_is_loud_and_is_shut_while_she_is_silent(page, feed):
    await page.goto(feed.url())
    link = await feed.link(audio=True)
    await until(page, "overlay.avatar === 'drawn'")
    await page.evaluate(WATCH)
    await feed.say("Now. And then.", loud=[(0.4, 0.9), (0.5, 0.0), (0.4, 0.9)])
    started, _ = await link.played(("r1", 0, "started"), ("r1", 0, "finished"))
    seen = [now | {"s": now["at"] - started["at"]} for now in await page.evaluate("seen")]
    loud = [now["mouth"] for now in seen if 0.1 < now["s"] < 0.35 or 1.0 < now["s"] < 1.25]
    silent = [now["mouth"] for now in seen if 0.5 < now["s"] < 0.8 or now["s"] > 1.4]
    assert loud and silent
    assert min(loud) > 0.8 and max(silent) == 0
    away = [now["s"] for now in seen if (now["mouth"] > 0.4) != (now["level"] > 0.1) and now["speaking"]]
    edges = (0.0, 0.4, 0.9, 1.3)
    assert all(min(abs(s - edge) for edge in edges) < 0.1 for s in away), "the mouth left the sound by over 100 ms"


async def test_sentences_follow_without_a_gap_and_are_acknowledged_in_order(page, feed):
    await page.goto(feed.url())
    link = await feed.link(audio=True)
    for seq in range(3):
        await feed.say(f"Number {seq}.", seq=seq, final=seq == 2, loud=[(0.25, 0.6)])
    got = await link.played(*[("r1", seq, state) for seq in range(3) for state in ("started", "finished")])
    for before, after in zip(got[1::2], got[2::2], strict=False):
        assert after["at"] - before["at"] == pytest.approx(0, abs=0.01)
    assert got[-1]["at"] - got[0]["at"] == pytest.approx(0.75, abs=0.02)


async def test_a_skip_silences_the_reply_at_once_and_the_next_one_moves_up(page, feed):
    await page.goto(feed.url())
    link = await feed.link(audio=True)
    await page.evaluate(WATCH)
    await feed.say("A long story.", seq=0, final=False, loud=[(5.0, 0.8)])
    await feed.say("And on it goes.", seq=1, loud=[(5.0, 0.8)])
    await feed.say("Something else.", reply_id="r2", loud=[(0.2, 0.0)])
    await link.played(("r1", 0, "started"))
    await until(page, "overlay.level > 0.1")
    skipped = time.time()
    await feed.send(type="skip", reply_id="r1")
    got = await link.played(
        ("r1", 0, "started"), ("r1", 0, "skipped"), ("r1", 1, "skipped"), ("r2", 0, "started"), ("r2", 0, "finished")
    )
    assert got[1]["at"] - skipped < SILENT_WITHIN_S
    assert 0 < got[1]["position_ms"] < 4000 and got[2]["position_ms"] == 0
    assert got[3]["at"] - skipped < SILENT_WITHIN_S + 0.1, "the next reply waited for the one that was skipped"
    heard = [now["at"] for now in await page.evaluate("seen") if now["level"] > 0.02]
    assert max(heard) - skipped < SILENT_WITHIN_S


async def test_a_mute_silences_everything_and_what_comes_after_it_is_spoken(page, feed):
    await page.goto(feed.url())
    link = await feed.link(audio=True)
    await page.evaluate(WATCH)
    await feed.say("Never heard to its end.", loud=[(5.0, 0.8)])
    await feed.say("Never heard.", reply_id="r2", loud=[(1.0, 0.8)])
    await link.played(("r1", 0, "started"))
    await until(page, "overlay.level > 0.1")
    stopped = time.time()
    await feed.send(type="stop")
    await feed.send(type="status", state="muted", persona="mori", release="base")
    await link.played(("r1", 0, "started"), ("r1", 0, "skipped"), ("r2", 0, "skipped"))
    await until(page, "overlay.level < 0.001 && overlay.subtitle === '' && overlay.state === 'muted'")
    heard = [now["at"] for now in await page.evaluate("seen") if now["level"] > 0.02]
    assert max(heard) - stopped < SILENT_WITHIN_S
    await feed.say("Here again.", reply_id="r3", loud=[(0.1, 0.5)])
    await link.until(lambda _: [f["state"] for f in link.playback if f["reply_id"] == "r3"] == ["started", "finished"])


async def test_a_reply_that_was_skipped_stays_skipped_and_a_full_queue_refuses(page, feed):
    await page.goto(feed.url())
    link = await feed.link(audio=True)
    await feed.send(type="skip", reply_id="late")
    await feed.say("Too late.", reply_id="late")
    for seq in range(9):
        await feed.say("Much.", seq=seq, loud=[(3.0, 0.1)])
    got = await link.until(lambda _: link.playback if len(link.playback) == 3 else None)
    assert {(f["reply_id"], f["seq"], f["state"]) for f in got} == {
        ("late", 0, "skipped"),
        ("r1", 0, "started"),
        ("r1", 8, "skipped"),
    }


async def test_two_pages_both_play_and_both_tell(page, browser, feed):
    other = await browser.new_page()
    await page.goto(feed.url())
    await other.goto(feed.url("muted=1&subtitles=0"))
    first, second = await feed.link(0, audio=True), await feed.link(1, audio=False)
    await other.evaluate(WATCH)
    await feed.say("To both of you.", loud=[(0.4, 0.8)])
    mine, theirs = await asyncio.gather(
        *(link.played(("r1", 0, "started"), ("r1", 0, "finished")) for link in (first, second))
    )
    assert abs(mine[0]["at"] - theirs[0]["at"]) < 0.3
    seen = await other.evaluate("seen")
    assert max(now["level"] for now in seen) == 0 and max(now["mouth"] for now in seen) > 0.5
    assert await other.evaluate("overlay.samplesPlayed") == 0 and await other.evaluate("overlay.subtitle") == ""
    await other.close()


async def test_after_the_server_was_gone_the_page_comes_back_fresh(page, feed):
    await page.goto(feed.url())
    await feed.link(audio=True)
    await feed.say("Cut off in the middle.", loud=[(5.0, 0.8)])
    await until(page, "overlay.speaking")
    await feed.close()
    await until(page, "!overlay.connected && !overlay.speaking && overlay.subtitle === ''")
    await feed.open()
    again = await feed.link(1, audio=True)
    await feed.send(type="ping", t=41)
    await again.until(lambda frames: {"type": "pong", "t": 41}.items() <= frames[-1].items())
    assert await page.evaluate("overlay.queued") == 0 and again.playback == []
    await again.socket.close()

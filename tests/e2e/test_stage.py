"""From the panel's try-it box to a mouth that moves: the daemon as the demo has it, its voice, and real pages."""

import asyncio
import contextlib
import sqlite3

import pytest
from playwright.async_api import expect

from tests.support.brokers import free_port
from tests.support.browser import browser, complaints, page, until  # noqa: F401
from tests.support.daemon import Daemon

pytestmark = pytest.mark.asyncio(loop_scope="module")
LINE = "Hello Mori, how is the harbour tonight?"


def heard(transcripts):
    """Of every sentence what the player did with it, and of every reply what was heard."""
    with contextlib.closing(sqlite3.connect(transcripts)) as store:
        sentences = store.execute("SELECT text, playback FROM utterances ORDER BY seq").fetchall()
        return sentences, store.execute("SELECT outcome, heard_text FROM turns").fetchall()


async def test_what_is_typed_in_the_panel_is_spoken_on_the_overlay_and_known_to_be_heard(tmp_path, browser, page):  # noqa: F811
    port = free_port()
    extra = f"[voice]\nenabled = true\nport = {port}\n"
    async with Daemon(tmp_path, extra=extra, env={"VTB_CONTROL__PANEL": "true"}) as daemon:
        await daemon.event("voice_bus_connected")
        control = await daemon.event("control_listening")
        overlay = await browser.new_page()
        said = complaints(overlay)
        await overlay.goto(f"http://127.0.0.1:{port}/overlay")
        await until(overlay, "window.overlay && window.overlay.connected && window.overlay.audio")
        token = (tmp_path / "state" / "control_token").read_text().strip()
        await page.goto(f"http://127.0.0.1:{control['port']}/login?token={token}")
        await page.get_by_placeholder("Write as a viewer").fill(LINE)
        await page.keyboard.press("Enter")
        await until(overlay, "window.overlay.avatarMouth > 0.1 && window.overlay.level > 0", timeout_s=60)
        await expect(overlay.locator("body")).to_contain_text(LINE)
        assert await overlay.evaluate("window.overlay.subtitle")
        async with asyncio.timeout(60):
            while not _is_over(heard(daemon.transcripts)):
                await asyncio.sleep(0.1)
        sentences, [(outcome, heard_text)] = heard(daemon.transcripts)
        assert {playback for _, playback in sentences} == {"finished"}
        assert outcome == "spoken"
        assert sentences[0][0] in heard_text
        await expect(page.locator("body")).to_contain_text(sentences[0][0])
        assert await overlay.evaluate("window.overlay.samplesPlayed") > 12_000
        await until(overlay, "window.overlay.avatarMouth < 0.05")
        await overlay.close()
        await page.goto("about:blank")  # or it would complain of the daemon that ends
        assert said == [], said


def _is_over(found):
    sentences, turns = found
    return bool(turns and sentences) and all(playback == "finished" for _, playback in sentences)

"""The pictures of the README: `python -m tests.shots` runs the daemon, its voice and a browser, and writes docs/shots/.

The real daemon with the bundled model talks to invented viewers; look at the pictures before you commit them.
"""

import asyncio
import json
import sys
import tempfile
from pathlib import Path

from playwright.async_api import async_playwright, expect

from tests.support.brokers import free_port
from tests.support.browser import FLAGS, chromium
from tests.support.daemon import Daemon, viewer

FOLDER = Path(__file__).parents[1] / "docs" / "shots"
EXTRA = """
[model]
path = "bundled:smollm2-135m-instruct"
weights = "int8"
[speech]
max_sentences = 3
[voice]
enabled = true
port = {port}
"""
CHAT = (
    ("nadia", "Good evening Mori! How is the harbour tonight?"),
    ("bram", "I love this song so much"),
    ("shop99", "cheap followers at https://spam.invalid"),
    ("kopi", "Do you drink tea or coffee when it rains?"),
)
QUESTION = ("lena", "What should I name my new kitten?")


async def shoot() -> None:
    """All of them."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        voice_port = free_port()
        daemon = Daemon(Path(folder), extra=EXTRA.format(port=voice_port), env={"VTB_CONTROL__PANEL": "true"})
        async with daemon, async_playwright() as playwright, viewer(daemon.url) as chat:
            browser = await playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
            listening = await daemon.event("control_listening")
            token = (Path(folder) / "state" / "control_token").read_text().strip()
            overlay = await _page(browser, 1280, 720, "dark")
            await overlay.goto(f"http://127.0.0.1:{voice_port}/overlay?obs=1")
            panel = await _page(browser, 1280, 720, "dark")
            await panel.goto(f"http://127.0.0.1:{listening['port']}/login?token={token}")
            await expect(panel.locator(".chip")).to_have_text("on air")
            await panel.screenshot(path=FOLDER / "panel-empty.png")
            await _talk(chat)
            await chat.say(99, QUESTION[1], QUESTION[0])
            await expect(overlay.locator("body")).to_contain_text("kitten", timeout=120_000)
            await overlay.evaluate("document.body.style.background = '#3a4a63'")
            await asyncio.sleep(1.2)  # into the first sentence, for the picture only
            await overlay.screenshot(path=FOLDER / "overlay.png")
            await panel.screenshot(path=FOLDER / "panel.png")
            await panel.keyboard.press("l")
            await asyncio.sleep(0.4)
            await panel.screenshot(path=FOLDER / "panel-light.png")
            await browser.close()


async def _page(browser, width, height, scheme):
    context = await browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
    return await context.new_page()


async def _talk(chat) -> None:
    """The viewers write; each is answered or denied before the next does."""
    for number, (author, text) in enumerate(CHAT):
        await chat.say(number, text, author)
        verdict = await chat.until("verdict", id=str(number))
        if verdict["action"] == "allow":
            await chat.until("reply", in_reply_to=str(number), timeout_s=120)


if __name__ == "__main__":
    asyncio.run(shoot())
    sys.stdout.write(json.dumps(sorted(path.name for path in FOLDER.glob("*.png"))) + "\n")

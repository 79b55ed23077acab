"""Takes the pictures of the overlay that README shows and that one looks at after a change to her.

`python -m tests.support.overlay_shots FOLDER` writes `overlay-NAME.png`: scenes over a chequerboard, which shows what
is transparent, and one sheet of faces for each persona that ships.
"""

import asyncio
import base64
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, Page, async_playwright

from tests.support.browser import FLAGS, chromium, until
from tests.support.overlay_feed import Feed

PERSONAS = Path(__file__).parents[2] / "configs/personas"
CHEQUERS = "html { background: repeating-conic-gradient(#8a8a8a 0 25%, #bdbdbd 0 50%) 0 0 / 40px 40px !important }"
SPOKEN_S = 1.6
FACE = {"width": 440, "height": 520}


@dataclass(frozen=True)
class Scene:
    name: str
    persona: str
    theme: str
    size: tuple[int, int]
    asked: str
    text: str
    cue: str


SCENES = [
    Scene(
        "mori",
        "mori",
        "glass",
        (1920, 1080),
        "do you ever find the other glove, or is it always just the one?",
        "I found one button and half a pencil today, Ratna. The other glove is still on its way.",
        "smile",
    ),
    Scene(
        "bolt",
        "bolt",
        "paper",
        (1920, 1080),
        "I beat my best time today!",
        "Ding ding ding! New high score! Whose name did you push off the list?",
        "spark",
    ),
    Scene(
        "small",
        "mori",
        "contrast",
        (800, 600),
        "I passed my exam!",
        "Well done, Ratna! Please do not lose the paper.",
        "wave",
    ),
]


async def open_page(browser: Browser, feed: Feed, query: str, width: int, height: int) -> Page:
    feed.links.clear()
    context = await browser.new_context(viewport={"width": width, "height": height}, bypass_csp=True)
    page = await context.new_page()
    await page.goto(feed.url(query))
    await feed.link()
    await until(page, "overlay.avatar === 'drawn'")
    await page.add_style_tag(content=CHEQUERS)
    return page


async def scene(browser: Browser, feed: Feed, what: Scene, folder: Path) -> None:
    feed.hello |= {"persona": what.persona, "theme": {"name": what.theme}}
    page = await open_page(browser, feed, "", *what.size)
    cue: dict[str, Any] = {"name": what.cue, "intensity": 1, "for_ms": 4000}
    asked = {"author": "Ratna", "text": what.asked}
    await feed.say(what.text, cue=cue, mood="positive", in_reply_to=asked, loud=[(SPOKEN_S * 1.4, 0.8)])
    await until(page, f"overlay.samplesPlayed > 24000 * {SPOKEN_S}")
    await page.screenshot(path=folder / f"overlay-{what.name}.png")
    await page.context.close()


async def faces(browser: Browser, feed: Feed, persona: str, folder: Path) -> None:
    feed.hello |= {"persona": persona}
    page = await open_page(browser, feed, "muted=1&side=center", FACE["width"], FACE["height"])
    await page.add_style_tag(content="#stage { --tall: 100vh !important }")
    cues = tomllib.loads((PERSONAS / f"{persona}.toml").read_text())["cues"]["names"]
    shots = []
    for name in ["", *cues]:
        if name:
            await feed.send(type="cue", name=name, intensity=1, for_ms=2500)
            await until(page, f"overlay.expression === {name!r}")
        await asyncio.sleep(0.9)  # the face needs a moment to get there
        shots.append(base64.b64encode(await page.screenshot()).decode())
        await until(page, "overlay.expression === ''")
    images = "".join(f'<img src="data:image/png;base64,{shot}">' for shot in shots)
    await page.set_viewport_size({"width": FACE["width"] * 4, "height": FACE["height"] * -(-len(shots) // 4)})
    await page.set_content(f"<body style='margin:0;display:flex;flex-wrap:wrap'>{images}")
    await page.screenshot(path=folder / f"overlay-faces-{persona}.png")
    await page.context.close()


async def main(folder: Path) -> None:
    async with Feed() as feed, async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
        for what in SCENES:
            await scene(browser, feed, what, folder)
        for persona in sorted(path.stem for path in PERSONAS.glob("*.toml")):
            await faces(browser, feed, persona, folder)
        await browser.close()


if __name__ == "__main__":
    Path(sys.argv[1]).mkdir(parents=True, exist_ok=True)
    asyncio.run(main(Path(sys.argv[1])))

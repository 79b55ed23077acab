"""Avatars of the user's own: a folder of pictures, a VRM model, and what is shown when one cannot be loaded."""

import struct
import zlib

import pytest

from tests.support.browser import until
from tests.support.vrm_model import vrm_model

pytestmark = pytest.mark.asyncio(loop_scope="module")


def png(red: int, green: int, blue: int) -> bytes:
    """A picture of one pixel."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    row = zlib.compress(bytes([0, red, green, blue]))
    header = struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", row) + chunk(b"IEND", b"")


def wear(feed, kind, files):
    feed.files = dict(files.values())
    feed.hello |= {"avatar": {"kind": kind, "files": {role: f"/overlay/avatar/{files[role][0]}" for role in files}}}


def shown(role):
    return f"document.querySelector('.png img:not([hidden])').dataset.role === '{role}'"


async def test_a_pngtuber_shows_the_picture_of_what_she_does(page, feed):
    roles = ("idle", "talk", "sad", "positive_talk")
    wear(feed, "png", {role: (f"{role}.png", png(index * 60, 90, 200)) for index, role in enumerate(roles)})
    await page.goto(feed.url())
    link = await feed.link()
    await until(page, f"overlay.avatar === 'png' && {shown('idle')}")
    await feed.say("Plain.", loud=[(0.4, 0.8)])
    await until(page, shown("talk"))
    await link.played(("r1", 0, "started"), ("r1", 0, "finished"))
    await until(page, shown("idle"))
    await feed.say("Glad.", reply_id="r2", mood="positive", loud=[(0.3, 0.8)])
    await until(page, shown("positive_talk"))
    await until(page, shown("idle"))
    await feed.send(type="cue", name="sad", intensity=1, for_ms=300)
    await until(page, shown("sad"))
    await until(page, shown("idle"))


async def test_a_vrm_model_is_drawn_and_its_mouth_moves_with_the_voice(page, feed):
    wear(feed, "vrm", {"model": ("boxes.vrm", vrm_model())})
    await page.goto(feed.url())
    link = await feed.link()
    await until(page, "overlay.avatar === 'vrm' || overlay.problem !== ''")
    assert await page.evaluate("overlay.problem") == ""
    assert await page.evaluate("overlay.avatarMouth") == 0
    shut = await page.screenshot(clip={"x": 640, "y": 100, "width": 640, "height": 620})
    mouth = {"step_ms": 20, "open": [90] * 30 + [0] * 20, "shape": "a" * 50}
    await feed.say("Ah.", loud=[(0.6, 0.9), (0.4, 0.0)], mouth=mouth)
    await until(page, "overlay.avatarMouth > 0.7")
    spoken = await page.screenshot(clip={"x": 640, "y": 100, "width": 640, "height": 620})
    await link.played(("r1", 0, "started"), ("r1", 0, "finished"))
    await until(page, "overlay.avatarMouth < 0.05")
    assert spoken != shut and len(shut) > 1000


@pytest.mark.parametrize(
    ("kind", "files", "why"),
    [
        ("png", {"talk": ("talk.png", png(1, 2, 3))}, "idle.png"),
        ("png", {"idle": ("idle.png", b"not a picture")}, "decode"),
        ("vrm", {"model": ("broken.vrm", b"no model")}, ""),
    ],
)
async def test_an_avatar_that_cannot_be_loaded_is_replaced_by_the_drawn_one(page, feed, kind, files, why):
    wear(feed, kind, files)
    await page.goto(feed.url())
    await feed.link()
    await until(page, "overlay.avatar === 'drawn'")
    problem = await page.evaluate("overlay.problem")
    assert problem and why in problem
    await feed.say("Still here.", loud=[(0.3, 0.8)])
    await until(page, "overlay.avatarMouth > 0.3")

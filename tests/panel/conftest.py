"""A brain with its panel in a process of its own, for a module; and Chromium."""

import asyncio
import json
import os
import sys
from pathlib import Path

import pytest_asyncio

from tests.support.brokers import free_port
from tests.support.browser import browser, complaints, page  # noqa: F401

ROOT = Path(__file__).parents[2]


class Show:
    """The process: `do` orders something of it (brain.py), `enter` opens the panel in a browser as somebody."""

    def __init__(self, process, told, state, voice):
        self.process, self.url, self.tokens = process, told["url"], told["tokens"]
        self.state, self.voice_port = state, voice

    async def do(self, what, **fields):
        self.process.stdin.write(json.dumps({"do": what, **fields}).encode() + b"\n")
        async with asyncio.timeout(60 + fields.get("num", 0) / 200):
            return json.loads(await self.process.stdout.readline())

    async def enter(self, page, role="owner"):  # noqa: F811
        await page.goto(f"{self.url}/login?token={self.tokens[role]}")
        await page.locator(".chip:not(:empty)").wait_for()
        return page

    def audited(self):
        lines = (self.state / "audit.jsonl").read_text().splitlines()
        return [(entry["role"], entry["action"], entry["outcome"]) for entry in map(json.loads, lines)]


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def show(tmp_path_factory):
    state, voice = tmp_path_factory.mktemp("panel") / "state", free_port()
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.panel.brain",
        cwd=ROOT,
        env={**os.environ, "VTB_STATE_DIR": str(state), "OMP_NUM_THREADS": "1", "VTB_VOICE__PORT": str(voice)},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(60):
        told = json.loads(await process.stdout.readline())
    yield Show(process, told, state, voice)
    process.stdin.close()
    async with asyncio.timeout(20):
        assert await process.wait() == 0


@pytest_asyncio.fixture(loop_scope="module")
async def second(browser):  # noqa: F811
    """Another operator's browser."""
    context = await browser.new_context(viewport={"width": 1280, "height": 720})
    opened = await context.new_page()
    opened.set_default_timeout(15_000)
    said = complaints(opened)
    yield opened
    await context.close()
    assert said == [], said

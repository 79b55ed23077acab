"""Chromium for the tests of our pages: `browser`, one for a module, and `page`, a fresh one for each test.

A module that uses them runs in one event loop (`pytestmark = pytest.mark.asyncio(loop_scope="module")`), and the
conftest of its folder imports both. What goes wrong on a page fails its test (`complaints`): an uncaught error, one on
the console, a request to any host but loopback. Without Chromium the tests are skipped aloud, and fail in CI.
"""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, async_playwright

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--no-first-run",
    "--autoplay-policy=no-user-gesture-required",
]
START_MS = 60_000.0
WAIT_MS = 15_000.0
_IN_CI = os.environ.get("NO_SKIPS") == "1"  # read now: a test's own environment has none of our names
_LOOPBACK = {"127.0.0.1", "localhost", "::1"}


def chromium() -> str:
    """Where Chromium is; skips the test where it is nowhere, fails it in CI (`NO_SKIPS=1`)."""
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        missing = "NOT TESTED: chromium is missing, so no page of ours was opened (Debian: apt-get install chromium)"
        pytest.fail(missing) if _IN_CI else pytest.skip(missing)
    return found


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def browser() -> AsyncIterator[Browser]:
    """One headless Chromium, in the module's loop. Sound may play at once, as in OBS."""
    async with async_playwright() as playwright:
        started = await playwright.chromium.launch(executable_path=chromium(), args=FLAGS, timeout=START_MS)
        yield started
        await started.close()


@pytest_asyncio.fixture(loop_scope="module")
async def page(browser: Browser) -> AsyncIterator[Page]:
    """An empty page of 1280 x 720 in a context of its own, watched by `complaints`."""
    context = await browser.new_context(viewport={"width": 1280, "height": 720})
    opened = await context.new_page()
    opened.set_default_timeout(WAIT_MS)
    said = complaints(opened)
    yield opened
    await context.close()
    assert said == [], said


async def until(page: Page, condition: str, *, timeout_s: float = WAIT_MS / 1000) -> None:
    """Waits until `condition`, an expression of JavaScript, is true in the page; works under a strict CSP as well."""
    # Playwright's own wait_for_function evaluates a string in the page, which our pages forbid.
    look = f"() => new Promise(done => {{ const look = () => ({condition}) ? done() : setTimeout(look, 15); look(); }})"
    try:
        async with asyncio.timeout(timeout_s):
            await page.evaluate(look)
    except TimeoutError:
        raise AssertionError(f"never became true on the page: {condition}") from None


def complaints(page: Page) -> list[str]:
    """Everything that goes wrong on `page` from now on, as it happens."""
    said: list[str] = []
    page.on("pageerror", lambda error: said.append(f"uncaught: {error}"))
    page.on("console", lambda line: said.append(f"console: {line.text}") if line.type == "error" else None)
    page.on("request", lambda request: None if _ours(request.url) else said.append(f"asked outside: {request.url}"))
    return said


def _ours(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme in {"data", "blob", "about"} or parts.hostname in _LOOPBACK

"""Chromium, and a server that feeds the page as the voice does."""

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.support.browser import browser, page
from tests.support.overlay_feed import Feed

__all__ = ["browser", "feed", "page"]


@pytest_asyncio.fixture(loop_scope="module")
async def feed() -> AsyncIterator[Feed]:
    """A feed of its own for each test."""
    async with Feed() as serving:
        yield serving

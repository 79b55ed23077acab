"""The real brokers that the bus is tried against."""

from collections.abc import AsyncIterator

import pytest

from tests.support.brokers import KINDS, Broker


@pytest.fixture(params=sorted(KINDS))
async def broker(request) -> AsyncIterator[Broker]:
    """Each real broker in turn, serving."""
    async with KINDS[request.param]() as serving:
        yield serving

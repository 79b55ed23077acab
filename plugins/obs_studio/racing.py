"""Running something until it ends, or until there is a reason to begin it anew."""

import asyncio
from collections.abc import Coroutine
from typing import Any


async def until(event: asyncio.Event, work: Coroutine[Any, Any, None], name: str) -> None:
    """Run `work` to its end, or until `event` is set: then it is cancelled. Raises what it raises."""
    working = asyncio.create_task(work, name=name)
    waiting = asyncio.create_task(event.wait(), name=f"{name}-until")
    try:
        await asyncio.wait({working, waiting}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (working, waiting):
            task.cancel()
        await asyncio.wait({working, waiting})
    if not working.cancelled():
        working.result()

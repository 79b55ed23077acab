"""What signals tell the daemon: to stop, to stop at once, to read its settings anew. They only set events."""

import asyncio
import contextlib
import signal
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Signals:
    """`stop`: SIGTERM or SIGINT has come; `hurry`: once more; `reload`: SIGHUP, to be cleared when heeded."""

    stop: asyncio.Event = field(default_factory=asyncio.Event)
    hurry: asyncio.Event = field(default_factory=asyncio.Event)
    reload: asyncio.Event = field(default_factory=asyncio.Event)

    async def unless_hurried(self, work: Coroutine[Any, Any, object]) -> None:
        """Do `work`, or as much of it as is done when the second signal comes."""
        doing = asyncio.create_task(work, name="drain")
        hurrying = asyncio.create_task(self.hurry.wait(), name="hurry")
        try:
            await asyncio.wait({doing, hurrying}, return_when=asyncio.FIRST_COMPLETED)
            if doing.done():
                doing.result()
        finally:
            for task in (doing, hurrying):
                task.cancel()
            await asyncio.gather(doing, hurrying, return_exceptions=True)

    def _told_to_stop(self) -> None:
        (self.hurry if self.stop.is_set() else self.stop).set()


@contextlib.contextmanager
def heeded() -> Iterator[Signals]:
    """The signals of this process, for as long as the block runs; as before afterwards."""
    loop, told = asyncio.get_running_loop(), Signals()
    handlers = {signal.SIGTERM: told._told_to_stop, signal.SIGINT: told._told_to_stop, signal.SIGHUP: told.reload.set}
    for number, handler in handlers.items():
        loop.add_signal_handler(number, handler)
    try:
        yield told
    finally:
        for number in handlers:
            loop.remove_signal_handler(number)

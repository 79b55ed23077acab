"""Publishes on the bus until it is killed: `python -m tests.bus.publisher PORT` prints `up` when it is."""

import asyncio
import sys

from tests.support.bus import hosting, utterance
from vtuber_brain.bus.topics import Status
from vtuber_brain.runtime import logs


async def main(port: int) -> None:
    async with hosting(port) as host:
        host.bus.set_status(Status(state="online", persona="mori", engine="test"))
        await host.bus.emit(utterance(0))
        await host.up()
        await host.bus.drain(10)
        sys.stdout.write("up\n")
        sys.stdout.flush()
        await asyncio.Event().wait()


logs.setup("warning", "json")
asyncio.run(main(int(sys.argv[1])))

"""Appends messages from many writers for ever, and prints each id once it is acknowledged; made to be killed."""

import asyncio
import itertools
import sys
import time
from pathlib import Path

from vtuber_brain.messages import Author, ChatMessage
from vtuber_brain.transcripts.store import Transcripts


async def write(transcripts: Transcripts, writer: int) -> None:
    for n in itertools.count():
        message = ChatMessage("websocket", f"{writer}.{n}", Author("a", "A"), "x" * 200, time.time(), 0.0)
        await transcripts.append(message)
        sys.stdout.write(f"{message.id}\n")
        sys.stdout.flush()


async def main() -> None:
    async with Transcripts.open(Path(sys.argv[1]), persona="mori", model="tiny", release=None) as transcripts:
        await asyncio.gather(*(write(transcripts, writer) for writer in range(int(sys.argv[2]))))


asyncio.run(main())

"""Appends while no file of this process may grow, then again when they may, and prints what happened."""

import asyncio
import resource
import sys
from pathlib import Path

from vtuber_brain.errors import Unavailable
from vtuber_brain.messages import Author, ChatMessage
from vtuber_brain.transcripts.store import Transcripts


def limit_files(size_bytes: int) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, resource.RLIM_INFINITY))


async def attempt(transcripts: Transcripts, id_: str) -> None:
    try:
        await transcripts.append(ChatMessage("websocket", id_, Author("a", "A"), "x" * 4000, 1.0, 0.0))
    except Unavailable as error:
        sys.stdout.write(f"refused {id_} failing={transcripts.failing is not None} {error}\n")
    else:
        sys.stdout.write(f"written {id_} failing={transcripts.failing is not None}\n")


async def main() -> None:
    async with Transcripts.open(Path(sys.argv[1]), persona="mori", model="tiny", release=None) as transcripts:
        await attempt(transcripts, "before")
        limit_files(8192)
        await asyncio.gather(*(attempt(transcripts, f"cramped{n}") for n in range(3)))
        limit_files(resource.RLIM_INFINITY)
        await attempt(transcripts, "after")


asyncio.run(main())

"""Faults that no signal can bring about: garbage on a child's line, a wall clock that is set, a server of nonsense.

The first two come from a sitecustomize module that the daemon and its children load at start; a file turns each on.
"""

import asyncio
import contextlib
import os

_SITE = """
import os, pathlib, sys, threading, time

folder = pathlib.Path(os.environ["FAULTS"])
real = time.time

def shifted():
    try:
        return real() + float((folder / "clock").read_text())
    except (OSError, ValueError):
        return real()

time.time = shifted

def talk_nonsense(fd):
    while True:
        try:
            (folder / "garbage").unlink()
            os.write(fd, bytes(range(256)) * 8)
        except OSError:
            pass
        time.sleep(0.05)

if "vtuber_brain.engine.worker" in sys.orig_argv:
    fd = int(sys.orig_argv[sys.orig_argv.index("--fd") + 1])
    threading.Thread(target=talk_nonsense, args=(fd,), daemon=True).start()
"""


class Faults:
    """`env` is for the daemon; `shift_clock` and `garble_engine` then act on it while it runs."""

    def __init__(self, folder):
        self.folder = folder / "faults"
        self.folder.mkdir()
        (self.folder / "sitecustomize.py").write_text(_SITE)
        path = os.pathsep.join(filter(None, [str(self.folder), os.environ.get("PYTHONPATH")]))
        self.env = {"FAULTS": str(self.folder), "PYTHONPATH": path}

    def shift_clock(self, by_s):
        """Set the wall clock that the processes see, from now on."""
        draft = self.folder / "clock.new"
        draft.write_text(str(by_s))
        draft.replace(self.folder / "clock")

    def garble_engine(self):
        """Have the engine's worker write nonsense to its line, once."""
        (self.folder / "garbage").touch()


@contextlib.asynccontextmanager
async def nonsense_server(port):
    """Something that listens on `port` and answers everything with nonsense."""

    async def answer(reader, writer):
        with contextlib.suppress(OSError):
            await reader.read(100)
            writer.write(b"\xff\x00 not what you think " * 20)
            await writer.drain()
            await reader.read(100)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", port)
    try:
        yield
    finally:
        server.close()
        await server.wait_closed()

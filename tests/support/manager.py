"""systemd's end of a notify socket: what the daemon says to it, in order."""

import asyncio
import contextlib
import socket


class Manager:
    """`async with Manager(folder) as manager`: start the daemon with `manager.env`, read `manager.said`."""

    def __init__(self, folder, *, watchdog_s=None):
        self.path = str(folder / "notify")
        self.env = {"NOTIFY_SOCKET": self.path}
        if watchdog_s is not None:
            self.env["WATCHDOG_USEC"] = str(int(watchdog_s * 1_000_000))
        self.said, self.changed = [], asyncio.Condition()

    async def __aenter__(self):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.setblocking(False)
        self.socket.bind(self.path)
        self.reading = asyncio.create_task(self._read())
        return self

    async def __aexit__(self, *_):
        self.reading.cancel()
        await asyncio.gather(self.reading, return_exceptions=True)
        self.socket.close()

    @property
    def words(self):
        """The names of what was said, each run of the same told once: READY, WATCHDOG, STATUS, ..."""
        names = [line.split("=")[0] for text in self.said for line in text.split("\n")[:1]]
        return [name for n, name in enumerate(names) if n == 0 or names[n - 1] != name]

    def num(self, word):
        """How often `word` was said."""
        return sum(text.startswith(f"{word}=") for text in self.said)

    async def until(self, holds, timeout_s=30):
        """Return once `holds()` is true, asked again at every word."""
        async with asyncio.timeout(timeout_s), self.changed:
            await self.changed.wait_for(holds)

    async def silent(self, word, for_s):
        """Whether `word` is not said for so long."""
        before = self.num(word)
        with contextlib.suppress(TimeoutError):
            await self.until(lambda: self.num(word) > before, for_s)
            return False
        return True

    async def _read(self):
        loop = asyncio.get_running_loop()
        while True:
            text = (await loop.sock_recv(self.socket, 65536)).decode()
            async with self.changed:
                self.said.append(text)
                self.changed.notify_all()

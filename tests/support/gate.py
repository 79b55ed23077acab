"""A TCP door to put between a client and a server, so that a test can cut the line or lose the answers."""

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Self


class Gate:
    """A TCP door in front of a server: `close` cuts every connection and admits none, `swallow` loses its answers."""

    def __init__(self, target_port: int) -> None:
        self._target_port = target_port
        self._open, self._swallow = True, False
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        self.port = 0
        self.num_swallowed = 0
        self.swallowed = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        self.close()
        await self._server.wait_closed()

    def open(self) -> None:
        self._open, self._swallow = True, False

    def close(self) -> None:
        self._open = False
        for writer in self._writers:
            writer.transport.abort()

    def swallow(self) -> None:
        """From now on nothing the server says comes through; `swallowed` is set when it has said something."""
        self._swallow = True
        self.swallowed.clear()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError), self._kept(writer):
            if self._open:
                there, answer = await asyncio.open_connection("127.0.0.1", self._target_port)
                with self._kept(answer):
                    await asyncio.gather(self._copy(reader, answer, False), self._copy(there, writer, True))

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answers: bool) -> None:
        while data := await reader.read(65536):
            if answers and self._swallow:
                self.num_swallowed += 1
                self.swallowed.set()
            else:
                writer.write(data)
                await writer.drain()
        writer.close()

    @contextlib.contextmanager
    def _kept(self, writer: asyncio.StreamWriter) -> Iterator[None]:
        self._writers.add(writer)
        try:
            yield
        finally:
            self._writers.discard(writer)
            writer.transport.abort()

"""A server that speaks OpenAI's chat completions over real HTTP, and does to each request what the test planned.

It knows vLLM's answers for loras too. `requests` are the bodies of the chats it got, `calls` everything else it was
asked, `left` counts the clients that went away before their answer was done.
"""

import asyncio
import contextlib
import json
import socket
import struct
from dataclasses import dataclass, field

REASONS = {200: "OK", 400: "Bad Request", 401: "Unauthorized", 404: "Not Found"}


@dataclass(frozen=True)
class Say:
    """A reply of these pieces; an Event among them is waited for. `finish` None: the stream just ends."""

    pieces: tuple
    finish: str | None = "stop"
    usage: dict | None = None
    after: str = "done"  # or: reset (before its end is said), cut (after that), end (no [DONE]), hang

    @classmethod
    def of(cls, *pieces, **fields):
        return cls(pieces, **fields)


@dataclass(frozen=True)
class Status:
    """An answer that is no success."""

    code: int
    message: str = "no"
    headers: dict = field(default_factory=dict)
    error: dict = field(default_factory=dict)


@dataclass(frozen=True)
class Raw:
    """These bytes as the event stream."""

    data: bytes


@dataclass(frozen=True)
class Hang:
    """No answer at all, until the client goes away."""


class FakeServer:
    """`async with FakeServer() as server`; `server.url` is its base URL. What is not planned is answered kindly."""

    def __init__(self, *plan, models=("base",), key=None):
        self.plan, self.models, self.key = list(plan), list(models), key
        self.loras, self.lora_answer, self.look = {}, None, None
        self.requests, self.calls, self.left, self.running, self.most_running = [], [], 0, 0, 0
        self.changed, self.port, self.connections = asyncio.Condition(), 0, set()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def num_looks(self):
        return sum(route == "models" for route, _ in self.calls)

    async def __aenter__(self):
        await self.start()
        return self

    async def __aexit__(self, *_):
        await self.stop()

    async def start(self):
        self.listening = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self.listening.sockets[0].getsockname()[1]

    async def stop(self):
        """Break every connection; `start` brings it back on the same port, without the loras it had."""
        self.listening.close()
        for task in list(self.connections):
            task.cancel()
        await asyncio.gather(*self.connections, return_exceptions=True)
        await self.listening.wait_closed()
        self.loras = {}

    async def until(self, condition, timeout_s=10):
        async with asyncio.timeout(timeout_s), self.changed:
            await self.changed.wait_for(lambda: condition(self))

    async def _note(self):
        async with self.changed:
            self.changed.notify_all()

    async def _serve(self, reader, writer):
        task = asyncio.current_task()
        self.connections.add(task)
        try:
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
                while True:
                    await self._exchange(reader, writer)
        finally:
            self.connections.discard(task)
            writer.transport.abort()

    async def _exchange(self, reader, writer):
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        method, path, _ = head[0].split()
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:])}
        body = json.loads(await reader.readexactly(int(headers.get("content-length", 0))) or b"{}")
        route = path.removeprefix("/v1/")
        answering = asyncio.create_task(self._answer(method, route, headers, body, writer))
        leaving = asyncio.create_task(reader.read(1))
        try:
            await asyncio.wait({answering, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if not answering.done():
                self.left += 1
                raise ConnectionResetError
            answering.result()
        finally:
            answering.cancel()
            leaving.cancel()
            await asyncio.gather(answering, leaving, return_exceptions=True)
            await self._note()

    async def _answer(self, method, route, headers, body, writer):
        if self.key is not None and headers.get("authorization") != f"Bearer {self.key}":
            given = headers.get("authorization", "")
            return self._refuse(writer, Status(401, f"Incorrect API key provided: {given}"))
        if route == "chat/completions":
            return await self._chat(body, writer)
        self.calls.append((route, body))
        if route == "models" and self.look is None:
            listed = [{"id": name, "object": "model"} for name in [*self.models, *self.loras]]
            return self._send(writer, 200, {"object": "list", "data": listed})
        if route == "models":
            return self._refuse(writer, self.look)
        return self._lora(route, body, writer)

    def _lora(self, route, body, writer):
        name = body["lora_name"]
        if self.lora_answer is not None:
            self._refuse(writer, self.lora_answer)
        elif route == "load_lora_adapter" and name in self.loras:
            self._refuse(writer, Status(400, f"The lora adapter '{name}' has already been loaded."))
        elif route == "load_lora_adapter":
            self.loras[name] = body["lora_path"]
            self._send(writer, 200, f"Success: LoRA adapter '{name}' added successfully.")
        elif self.loras.pop(name, None) is None:
            self._refuse(writer, Status(404, f"The lora adapter '{name}' cannot be found."))
        else:
            self._send(writer, 200, f"Success: LoRA adapter '{name}' removed successfully.")

    async def _chat(self, body, writer):
        self.requests.append(body)
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        await self._note()
        try:
            known = body["model"] in [*self.models, *self.loras]
            missing = Status(404, f"The model `{body['model']}` does not exist.")
            kind = Say.of("hello ", "from ", body["model"]) if known else missing
            await self._do(self.plan.pop(0) if self.plan else kind, body, writer)
        finally:
            self.running -= 1

    async def _do(self, act, body, writer):
        match act:
            case Status():
                self._refuse(writer, act)
            case Hang():
                await asyncio.Event().wait()
            case Raw(data):
                self._start_stream(writer)
                writer.write(b"%x\r\n%b\r\n0\r\n\r\n" % (len(data), data))
            case Say():
                await self._say(act, body, writer)
        await writer.drain()

    async def _say(self, act, body, writer):
        self._start_stream(writer)
        self._event(writer, {"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]})
        for piece in act.pieces:
            if isinstance(piece, asyncio.Event):
                await piece.wait()
            else:
                self._event(writer, {"choices": [{"index": 0, "delta": {"content": piece}}]})
        if act.after == "reset":
            await self._reset(writer)
        if act.after == "hang":
            await asyncio.Event().wait()
        if act.finish is not None:
            self._event(writer, {"choices": [{"index": 0, "delta": {}, "finish_reason": act.finish}]})
        if act.after == "cut":
            await self._reset(writer)
        if act.usage is not None and body.get("stream_options", {}).get("include_usage"):
            self._event(writer, {"choices": [], "usage": act.usage})
        if act.after == "done":
            self._chunk(writer, b"data: [DONE]\n\n")
        self._chunk(writer, b"")

    async def _reset(self, writer):
        await writer.drain()
        linger = struct.pack("ii", 1, 0)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        writer.transport.abort()
        raise ConnectionResetError

    def _start_stream(self, writer):
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")

    def _event(self, writer, fields):
        event = {"id": "c", "object": "chat.completion.chunk", "created": 0, "model": "m", **fields}
        self._chunk(writer, b"data: " + json.dumps(event).encode() + b"\n\n")

    def _chunk(self, writer, data):
        writer.write(b"%x\r\n%b\r\n" % (len(data), data))

    def _refuse(self, writer, status):
        body = {"error": {"message": status.message, "type": "e", "code": status.code, **status.error}}
        self._send(writer, status.code, body, status.headers)

    def _send(self, writer, code, body, headers=None):
        data = (body if isinstance(body, str) else json.dumps(body)).encode()
        kind = "text/plain" if isinstance(body, str) else "application/json"
        lines = [f"HTTP/1.1 {code} {REASONS.get(code, 'Status')}", f"content-type: {kind}"]
        lines += [f"content-length: {len(data)}", *(f"{name}: {value}" for name, value in (headers or {}).items())]
        writer.write("\r\n".join([*lines, "", ""]).encode() + data)

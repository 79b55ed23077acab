"""From a viewer's line to the first sample of her voice: the daemon, its voice, a page; and where the time goes."""

import asyncio
import contextlib
import json
import os
import socket
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from aiomqtt import Client
from websockets.asyncio.client import connect

from benchmarks.latency import LINES
from benchmarks.live import DEMO, demo, first_words_s
from benchmarks.table import Table, percentile

ROUNDS = 3
TOPICS = "vtuber/mori/v1/"
PARTS = ("judged", "first_token", "first_sentence", "bus", "made", "page")
NAMES = {
    "judged": "read, rules, classifier",
    "first_token": "memory, prompt, first token",
    "first_sentence": "the rest of the first sentence, and the gate",
    "bus": "the floor, the transcript, the broker",
    "made": "synthesis of the sentence (hibari)",
    "page": "mouth, WebSocket, the page has its samples",
}


@dataclass(slots=True)
class _Seen:
    """Moments in seconds of one clock, by reply; `sent` by message. `stages`: the daemon's own, in ms since it came."""

    bus: dict[str, float] = field(default_factory=dict)
    page: dict[str, float] = field(default_factory=dict)
    took_ms: dict[str, float] = field(default_factory=dict)
    stages: dict[str, dict[str, float]] = field(default_factory=dict)
    sent: dict[str, float] = field(default_factory=dict)
    answers: dict[str, str] = field(default_factory=dict)


def measure() -> Table:
    """One viewer sends its next line when the reply to the last has ended; until a page has the first sentence's sound.

    The page begins to play at once; a browser adds the latency of its output, 10 to 40 ms by its own account.
    """
    table = Table(
        "Message to first audio sample",
        f"The demo's configuration on CPU, its voice and an open page. {' '.join(str(measure.__doc__).split())}",
        ["what", "p50", "p95"],
    )
    seen = asyncio.run(_live())
    known = seen.page.keys() & seen.stages.keys() & seen.took_ms.keys()
    replies = [one for one in known if seen.answers[one] in seen.sent]
    rows = [_parts(seen, reply_id) for reply_id in replies]
    for part in PARTS:
        table.rows.append([NAMES[part], *_both([row[part] for row in rows])])
    table.rows.append([f"message to first sample, {len(rows)} replies", *_both([sum(row.values()) for row in rows])])
    return table


def _parts(seen: _Seen, reply_id: str) -> dict[str, float]:
    """Milliseconds of each part of one reply, which add up to the whole."""
    stages, sent_s = seen.stages[reply_id], seen.sent[seen.answers[reply_id]]
    at = {part: stages[part] for part in PARTS[:3]}
    at["bus"] = 1000 * (seen.bus[reply_id] - sent_s)
    at["made"] = at["bus"] + seen.took_ms[reply_id]
    at["page"] = 1000 * (seen.page[reply_id] - sent_s)
    before, parts = 0.0, {}
    for part in PARTS:
        parts[part], before = at[part] - before, at[part]
    return parts


def _both(values: list[float]) -> list[str]:
    return [f"{percentile(values, share):.0f} ms" for share in (0.5, 0.95)]


async def _live() -> _Seen:
    bus, port, seen = _free_port(), _free_port(), _Seen()
    async with demo(VTB_BUS__PORT=str(bus)) as live, _voice(bus, port, seen), Client("127.0.0.1", bus) as client:
        await client.subscribe(f"{TOPICS}#", qos=1)
        url = f"http://127.0.0.1:{port}/overlay/ws"
        async with aiohttp.ClientSession() as session, session.ws_connect(url) as page:
            await page.send_json({"type": "ready", "audio": True})
            tasks = [asyncio.create_task(_watch_bus(client, seen)), asyncio.create_task(_watch_page(page, seen))]
            await first_words_s(live.url, "warm-up", LINES[:2])
            for n in range(ROUNDS):
                await _talk(live.url, f"viewer{n}", seen)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
    return seen


async def _talk(url: str, name: str, seen: _Seen) -> None:
    """Say each line when what was said to the last is over."""
    async with connect(url) as chat:
        await chat.send('{"type": "subscribe"}')
        for n, text in enumerate(LINES):
            message_id = f"{name}-{n}"
            frame = {"type": "message", "id": message_id, "author": {"id": name, "name": name}, "text": text}
            seen.sent[message_id] = time.time()
            await chat.send(json.dumps(frame))
            while not _is_over(json.loads(await chat.recv()), message_id):
                pass


def _is_over(frame: dict[str, Any], message_id: str) -> bool:
    if frame["type"] == "reply":
        return bool(frame["in_reply_to"] == message_id)
    is_denied = frame["type"] == "verdict" and frame["action"] != "allow"
    return bool((is_denied or frame["type"] == "dropped") and frame["id"] == message_id)


@contextlib.asynccontextmanager
async def _voice(bus: int, port: int, seen: _Seen) -> AsyncIterator[None]:
    """The voice's process, ready; what it says of each sentence it made is kept."""
    own = {"VTB_BUS__PORT": str(bus), "VTB_VOICE__PORT": str(port), "VTB_LOGS__FORMAT": "json"}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "vtuber_brain", "voice", "--config", str(DEMO)),
        env={**os.environ, **own},
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    async for line in process.stderr:
        if b'"event": "voice_started"' in line:
            break
    reading = asyncio.create_task(_watch_voice(process.stderr, seen))
    try:
        yield
    finally:
        process.terminate()
        await process.wait()
        await reading


async def _watch_voice(lines: asyncio.StreamReader, seen: _Seen) -> None:
    async for line in lines:
        with contextlib.suppress(json.JSONDecodeError):
            event: dict[str, Any] = json.loads(line)
            if event.get("event") == "sentence_made" and event["seq"] == 0:
                seen.took_ms[event["reply_id"]] = event["took_ms"]


async def _watch_bus(client: Client, seen: _Seen) -> None:
    async for message in client.messages:
        now_s, channel = time.time(), str(message.topic).removeprefix(TOPICS)
        if channel == "utterance" and isinstance(message.payload, bytes):
            payload: dict[str, Any] = json.loads(message.payload)
            if payload["seq"] == 0:
                seen.bus[payload["reply_id"]] = now_s
                seen.answers[payload["reply_id"]] = (payload["in_reply_to"] or {}).get("message_id", "")
        elif channel == "reply" and isinstance(message.payload, bytes):
            payload = json.loads(message.payload)
            if set(PARTS[:3]) <= set(payload["timings"]):
                seen.stages.setdefault(payload["reply_id"], payload["timings"])


async def _watch_page(page: aiohttp.ClientWebSocketResponse, seen: _Seen) -> None:
    """What a browser's page does, without the sound: say at once that each sentence began, and is over."""
    reply_id, seq = "", 0
    async for message in page:
        if message.type is aiohttp.WSMsgType.BINARY:
            seen.page.setdefault(reply_id, time.time())
            for state in ("started", "finished"):
                frame = {"type": "playback", "reply_id": reply_id, "seq": seq, "state": state, "at": time.time()}
                await page.send_json(frame)
            continue
        frame = json.loads(message.data)
        if frame["type"] == "sentence":
            reply_id, seq = frame["reply_id"], frame["seq"]
        elif frame["type"] == "ping":
            await page.send_json({"type": "pong", "t": frame["t"]})


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])

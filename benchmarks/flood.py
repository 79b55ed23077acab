"""A flood of chat: is every message accounted for, does memory stay, and how old is what gets an answer?"""

import asyncio
import contextlib
import json
import random
import sqlite3
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import psutil
from websockets.asyncio.client import ClientConnection, connect

from benchmarks.live import demo
from benchmarks.table import Table, percentile

PER_S, SECONDS = 5000, 60
VIEWERS = 50_000
CONNECTIONS, TICK_S = 4, 0.02
MIB = 2**20
MONEY_EVERY = 20_000
_WORDS = (
    "rain tea button key lamp umbrella stream game song cat sock moon river door bread cloud train hello what where "
    "when why who like love hate lost found today again never always nice bad great tired happy sleepy funny"
).split()
_STAGES = {
    "chat.websocket": "sockets and frames",
    "chat.protocol": "sockets and frames",
    "chat.frames": "sockets and frames",
    "chat.subscriber": "sockets and frames",
    "websockets": "sockets and frames",
    "transcripts": "transcript",
    "thread": "transcript",
    "sqlite3": "transcript",
    "sentiment.classifier": "classifier, asking",
    "crowd": "classifier, asking",
    "sentiment": "rules",
    "chat.inbox": "score and choice",
    "chat.choice": "score and choice",
    "chat.waves": "score and choice",
    "runtime.rate": "score and choice",
    "publisher": "fates",
    "pipeline": "way of a message",
}


@dataclass(frozen=True, slots=True)
class Flood:
    """What one flood came to; times in seconds, sizes in bytes."""

    sent: int
    acked: int
    took_s: float
    rss_before: int
    rss_most: int
    fates: Counter[str]
    num_money: int
    money_open: int
    ages_s: list[float]
    cpu_s: float
    stages: Counter[str]


def measure() -> Table:
    """5,000 messages a second of 50,000 viewers for a minute, over four connections; the demo's settings, all of it on.

    The ages run from a message's arrival to its first utterance on the bus. The shares of processor time come from a
    sampler in the daemon.
    """
    flood = asyncio.run(_flood(PER_S, SECONDS))
    table = Table("Flood", str(measure.__doc__), ["what", "measured", "aim"])
    table.rows += [
        ["sent, and acknowledged", f"{flood.sent:,}, {flood.acked:,}", f"{PER_S * SECONDS:,}"],
        ["rate", f"{flood.acked / flood.took_s:,.0f} messages/s", f"{PER_S:,}"],
        ["growth of the daemon's memory", f"{(flood.rss_most - flood.rss_before) / MIB:.0f} MiB", "under 50 MB"],
        ["without a fate in the transcript", f"{flood.acked - sum(flood.fates.values()):,}", "0"],
        *([f"- {fate}", f"{count:,}", ""] for fate, count in flood.fates.most_common()),
        ["money events without an answer or a reason", f"{flood.money_open} of {flood.num_money}", "0"],
        ["age of what was answered, p50 / p95", _ages(flood.ages_s), "p95 under 5 s"],
        ["processor time of the daemon's own process", f"{flood.cpu_s / flood.sent * 1e6:.0f} us a message", ""],
    ]
    for stage, count in flood.stages.most_common():
        table.rows.append([f"- {stage}", f"{count / flood.stages.total():.0%}", ""])
    return table


async def _flood(per_s: int, seconds: float) -> Flood:
    with tempfile.TemporaryDirectory() as folder:
        profile = Path(folder) / "profile.json"
        limits = {"VTB_WEBSOCKET__MESSAGES_PER_S": "100000", "VTB_WEBSOCKET__BURST": "100000"}
        limits |= {"VTB_CHAT__AUTHOR_BURST": "4", "VTB_CHAT__AUTHOR_PER_S": "0.5"}
        transcripts = Path(folder) / "transcripts.db"
        own = {"BRAIN_PROFILE": str(profile), "VTB_TRANSCRIPTS__PATH": str(transcripts), **limits}
        async with demo(module="benchmarks.profiled", **own) as live:
            daemon = psutil.Process(live.pid)
            await _send(live.url, per_s, 2.0, "warm")  # what is allocated once, such as the caches of waves and authors
            before = daemon.memory_info().rss
            async with _watched(daemon) as sizes:
                began_s, cpu_before_s = time.perf_counter(), _cpu_s(daemon)
                sent, acked = await _send(live.url, per_s, seconds, "flood")
                took_s = time.perf_counter() - began_s
                cpu_s = _cpu_s(daemon) - cpu_before_s
            await asyncio.sleep(25)  # what is still being said ends, and what waits grows too old
        fates, num_money, money_open, ages_s = _books(transcripts)
        stages: Counter[str] = Counter()
        for room, count in json.loads(profile.read_text()).items():
            stages[_stage(room)] += count
        return Flood(sent, acked, took_s, before, max(sizes), fates, num_money, money_open, ages_s, cpu_s, stages)


@contextlib.asynccontextmanager
async def _watched(process: psutil.Process) -> AsyncIterator[list[int]]:
    sizes = [process.memory_info().rss]

    async def watch() -> None:
        while True:
            await asyncio.sleep(0.25)
            sizes.append(process.memory_info().rss)

    watching = asyncio.create_task(watch())
    try:
        yield sizes
    finally:
        watching.cancel()


async def _send(url: str, per_s: int, seconds: float, name: str) -> tuple[int, int]:
    """Send at an even pace; returns how many were sent and how many acknowledged."""
    async with contextlib.AsyncExitStack() as stack:
        lines = [
            await stack.enter_async_context(connect(url, compression=None, max_queue=4096)) for _ in range(CONNECTIONS)
        ]
        num = int(per_s * seconds)
        hearing = [asyncio.create_task(_acks(line, len(range(n, num, CONNECTIONS)))) for n, line in enumerate(lines)]
        frames = [_frame(name, number) for number in range(num)]
        began_s = time.perf_counter()
        sent = 0
        while sent < num:
            due = min(num, int((time.perf_counter() - began_s + TICK_S) * per_s))
            for number in range(sent, due):
                await lines[number % CONNECTIONS].send(frames[number])
            sent = due
            await asyncio.sleep(TICK_S)
        return sent, sum(await asyncio.gather(*hearing))


async def _acks(line: ClientConnection, num: int) -> int:
    acked = 0
    for _ in range(num):
        acked += b'"ack"' in await line.recv(decode=False)
    return acked


def _frame(name: str, number: int) -> str:
    chance = random.Random(f"{name}{number}")
    text = " ".join(chance.choices(_WORDS, k=chance.randint(2, 12))) + chance.choice(["", "", "?", "!"])
    message = {"type": "message", "id": f"{name}-{number}", "text": text}
    viewer = f"{name}-viewer-{chance.randrange(VIEWERS)}"
    message["author"] = {"id": viewer, "name": viewer}
    if name == "flood" and number % MONEY_EVERY == 0:
        message |= {"kind": "cheer", "amount": 100}
    return json.dumps(message)


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _books(transcripts: Path) -> tuple[Counter[str], int, int, list[float]]:
    """Every fate with its count, the money events and those without a fate, the ages of what was answered."""
    ours = "message_id LIKE 'flood-%'"
    with contextlib.closing(sqlite3.connect(transcripts)) as database:
        fates: Counter[str] = Counter()
        for fate, count in database.execute(f"SELECT reason, count(*) FROM drops WHERE {ours} GROUP BY 1"):
            fates[f"dropped: {fate}"] += count
        denied = f"SELECT count(*) FROM verdicts WHERE {ours} AND action = 'deny'"
        fates["denied"] = database.execute(denied).fetchone()[0]
        for outcome, count in database.execute(f"SELECT outcome, count(*) FROM turns WHERE {ours} GROUP BY 1"):
            fates[f"reply {outcome}"] += count
        (num_money,) = database.execute(f"SELECT count(*) FROM messages WHERE {ours} AND kind = 'cheer'").fetchone()
        (money_open,) = database.execute(
            f"SELECT count(*) FROM messages WHERE {ours} AND kind = 'cheer' AND message_id NOT IN "
            "(SELECT message_id FROM turns WHERE message_id NOT NULL UNION SELECT message_id FROM drops "
            "UNION SELECT message_id FROM verdicts WHERE action = 'deny')"
        ).fetchone()
        ages = database.execute(
            "SELECT u.created_at - m.at FROM utterances u JOIN messages m USING (source, message_id) "
            "WHERE u.seq = 0 AND m.message_id LIKE 'flood-%' AND m.kind = 'chat'"
        )
        return fates, num_money, money_open, [age for (age,) in ages]


def _stage(room: str) -> str:
    return _STAGES.get(room) or _STAGES.get(room.split(".")[0]) or "everything else"


def _ages(ages_s: list[float]) -> str:
    return f"{percentile(ages_s, 0.5):.2f} / {percentile(ages_s, 0.95):.2f} s of {len(ages_s)}"

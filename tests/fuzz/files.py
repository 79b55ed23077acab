"""More parsers, of what lies on a disk and is heavier to read: loras, requests, transcripts, logins, recordings."""

import asyncio
import contextlib
import json
import sqlite3
import tempfile
import time
from functools import lru_cache
from pathlib import Path

import torch
from safetensors.torch import save

from tests.fuzz.families import CHAT, Family, lines, written
from vtuber_brain.chat.record import resume
from vtuber_brain.chat.twitch.tokens import TokenFile
from vtuber_brain.engine.loras import CONFIG, MANIFEST, WEIGHTS, largest_rank, read_lora
from vtuber_brain.engine.offline import _parse
from vtuber_brain.errors import ConfigError, LoraRejected, Refused, Unavailable
from vtuber_brain.messages import Author, ChatMessage, Judged, Mood, Retraction, Turn, Verdict
from vtuber_brain.transcripts.export import export, stats
from vtuber_brain.transcripts.store import Transcripts

MODULE = "model.layers.0.self_attn.q_proj"
KEYS = [f"base_model.model.{MODULE}.lora_{side}.weight" for side in "AB"]
PEFT = {"peft_type": "LORA", "r": 2, "lora_alpha": 4, "alpha_pattern": {"q_proj": 8}, "bias": "none", "use_dora": False}
MADE_FOR = {"base": {"sha256": "ab" * 32}}
REQUEST = {"id": 1, "messages": [{"role": "user", "content": "hi"}], "max_tokens": 4, "stop": ["\n"], "banned": [3]}
ACCOUNT = {"user_id": "1", "login": "mori", "access": "a", "refresh": "r", "scopes": ["user:read:chat"]}


@lru_cache(maxsize=1)
def weights() -> bytes:
    return save({KEYS[0]: torch.ones(2, 4), KEYS[1]: torch.ones(6, 2)})


def lora(part: str):
    """A PEFT directory of which one file is the input."""
    good = {CONFIG: json.dumps(PEFT).encode(), MANIFEST: json.dumps(MADE_FOR).encode()}

    def feed(data: bytes, folder: Path) -> None:
        for name, content in {**good, WEIGHTS: weights(), part: data}.items():
            (folder / name).write_bytes(content)
        largest_rank(folder)
        read_lora(folder, {MODULE: (4, 6)}, 8, "ab" * 32)

    return feed


def request(data: bytes, _: Path) -> None:
    answer, _generate = _parse(1, data.decode("utf-8", "surrogateescape"))
    json.dumps(answer.line(has_text=True))


@lru_cache(maxsize=1)
def stream() -> bytes:
    """The bytes of a small file of transcripts."""

    async def write(path: Path) -> None:
        async with Transcripts.open(path, persona="mori", model="m", release=None) as transcripts:
            for n in range(8):
                message = ChatMessage(
                    "websocket", f"m{n}", Author("u", "Nadia", ("vip",)), "hi " * 40, time.time(), 1.0
                )
                mood = Mood("neutral", {"neutral": 1.0}, 0.1)
                turn = Turn(f"r{n}", message, "spoken", "Hello.", "Hello.", "mori", "m", None)
                for event in (message, Judged(message, Verdict("allow", (), "hi", mood)), turn):
                    await transcripts.append(event)
            await transcripts.append(Retraction("websocket", "message", "m1", 1.0))

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "stream.sqlite3")
        asyncio.run(write(path))
        with contextlib.closing(sqlite3.connect(path)) as database:
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return path.read_bytes()


def transcripts(data: bytes, folder: Path) -> None:
    """Read, then opened for writing and written to."""
    path = folder / "damaged.sqlite3"
    for name in folder.glob("damaged.sqlite3*"):
        name.unlink()
    path.write_bytes(data)
    with contextlib.suppress(ConfigError):
        stats(path)
        list(export(path, retracted=True))

    async def write() -> None:
        async with Transcripts.open(path, persona="mori", model="m", release=None) as opened:
            await opened.append(Retraction("websocket", "message", "m2", 1.0))

    asyncio.run(write())


RECORDING = b"".join(
    json.dumps({"at": at, "source": "x", **frame}).encode() + b"\n" for at, frame in enumerate(CHAT[:-1])
)
FAMILIES = {
    "lora_config": Family(lines(PEFT), lora(CONFIG), (LoraRejected,), num=20_000),
    "lora_manifest": Family(lines(MADE_FOR), lora(MANIFEST), (LoraRejected,), num=20_000),
    "lora_weights": Family([weights()], lora(WEIGHTS), (LoraRejected,), num=20_000),
    "generate": Family(lines(REQUEST, {"prompt": "x"}, {"token_ids": [1]}), request),
    "transcripts": Family([stream()], transcripts, (ConfigError, Unavailable), num=5_000),
    "logins": Family(
        lines({"client_id": "c", "accounts": [ACCOUNT]}),
        written("twitch.json", lambda path: TokenFile(path, "c").load()),
        (Refused,),
    ),
    "recording_resumed": Family([RECORDING], written("stream.jsonl", resume), (Refused,)),
}

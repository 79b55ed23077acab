"""The output `files`: a WAV file for each sentence, whole or not at all. Written counts as played.

Names begin with a number that grows, so that they sort in the order in which she speaks. A reply that is taken back
takes its files with it.
"""

import asyncio
import re
import time
from dataclasses import dataclass
from pathlib import Path

import structlog

from vtuber_brain.bus.topics import CuePayload, Status, UtterancePayload
from vtuber_brain.runtime.files import write_whole
from vtuber_brain.voice.output import Told
from vtuber_brain.voice.sound import Clip, write_wav

log = structlog.get_logger(__name__)

_UNSAFE = re.compile(r"[^A-Za-z0-9_-]")
_OURS = re.compile(r"(\d{8})-.*\.wav")


@dataclass(frozen=True, slots=True)
class _Dropped:
    reply_id: str
    is_retracted: bool


class Files:
    """WAV files in `folder`, which is made; the newest `keep` of ours stay."""

    is_heard = True

    def __init__(self, folder: Path, keep: int) -> None:
        self._folder, self._keep = folder, keep
        self._waiting: asyncio.Queue[tuple[UtterancePayload, Clip] | _Dropped] = asyncio.Queue()
        self._dropped: set[str] = set()

    async def run(self, told: Told) -> None:
        """Write until cancelled. A file that cannot be written is a sentence skipped."""
        number = await asyncio.to_thread(self._begin)
        while True:
            item = await self._waiting.get()
            if isinstance(item, _Dropped):
                if item.is_retracted:
                    await asyncio.to_thread(self._remove, item.reply_id)
                self._dropped.discard(item.reply_id)
                continue
            sentence, sound = item
            if sentence.reply_id in self._dropped:
                continue
            number += 1
            key = (sentence.reply_id, sentence.seq)
            told.played(key, "started", time.time())
            try:
                await asyncio.to_thread(self._write, number, sentence, sound)
            except OSError as error:
                log.error("file_not_written", folder=str(self._folder), reason=error.strerror or str(error))
                told.played(key, "skipped", time.time())
            else:
                told.played(key, "finished", time.time())

    def give(self, sentence: UtterancePayload, sound: Clip) -> None:
        """Have it written."""
        self._waiting.put_nowait((sentence, sound))

    def skip(self, reply_id: str, *, is_retracted: bool = False) -> None:
        """Write no further file of this reply; of one taken back, keep none."""
        self._dropped.add(reply_id)
        self._waiting.put_nowait(_Dropped(reply_id, is_retracted))

    def stop(self) -> None:
        """Write nothing of what waits."""
        waiting = [self._waiting.get_nowait() for _ in range(self._waiting.qsize())]
        for item in waiting:
            if isinstance(item, _Dropped):
                self._waiting.put_nowait(item)

    def cue(self, shown: CuePayload) -> None:
        """There is no face."""

    def status(self, how: Status) -> None:
        """Nobody looks."""

    def _begin(self) -> int:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return max((int(path.name[:8]) for path in self._files()), default=0)

    def _write(self, number: int, sentence: UtterancePayload, sound: Clip) -> None:
        write_whole(self._folder / f"{number:08}-{_safe(sentence.reply_id)}-{sentence.seq}.wav", write_wav(sound))
        for path in self._files()[: -self._keep]:
            path.unlink(missing_ok=True)

    def _remove(self, reply_id: str) -> None:
        for path in self._folder.glob(f"*-{_safe(reply_id)}-*.wav"):
            path.unlink(missing_ok=True)

    def _files(self) -> list[Path]:
        return sorted(path for path in self._folder.glob("*.wav") if _OURS.fullmatch(path.name))


def _safe(reply_id: str) -> str:
    return _UNSAFE.sub("_", reply_id)[:64]

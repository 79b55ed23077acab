"""The output `files`: whole WAV files in order, of which those of a reply taken back are gone."""

import asyncio
import contextlib
import wave

from tests.support.voices import said
from vtuber_brain.voice.files import Files
from vtuber_brain.voice.sound import RATE, Clip

SOUND = Clip(b"\1\0" * (RATE // 10))


class Told:
    """Who is told what is played."""

    def __init__(self):
        self.acks, self.changed = [], asyncio.Event()

    def played(self, key, state, at):
        self.acks.append((*key, state))
        self.changed.set()

    async def until(self, num):
        async with asyncio.timeout(5):
            while len(self.acks) < num:
                self.changed.clear()
                await self.changed.wait()


@contextlib.asynccontextmanager
async def writing(folder, keep=100):
    out, told = Files(folder, keep), Told()
    running = asyncio.create_task(out.run(told), name="files")
    try:
        yield out, told
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


async def test_each_sentence_becomes_a_file_that_sorts_in_order_and_a_restart_goes_on_counting(tmp_path):
    for reply_id in ("r1", "../r2"):
        async with writing(tmp_path / "out") as (out, told):
            for seq in range(2):
                out.give(said(reply_id, seq), SOUND)
            await told.until(4)
            assert told.acks[:2] == [(reply_id, 0, "started"), (reply_id, 0, "finished")]
    assert names(tmp_path / "out") == [
        "00000001-r1-0.wav",
        "00000002-r1-1.wav",
        "00000003-___r2-0.wav",
        "00000004-___r2-1.wav",
    ]
    with wave.open(str(tmp_path / "out" / "00000001-r1-0.wav")) as file:
        assert (file.getframerate(), file.getnframes()) == (RATE, RATE // 10)


async def test_only_the_newest_files_stay_and_nobody_elses_are_touched(tmp_path):
    (tmp_path / "theirs.wav").write_bytes(b"x")
    async with writing(tmp_path, keep=2) as (out, told):
        for seq in range(4):
            out.give(said("r1", seq), SOUND)
        await told.until(8)
    assert names(tmp_path) == ["00000003-r1-2.wav", "00000004-r1-3.wav", "theirs.wav"]


async def test_a_reply_taken_back_takes_its_files_with_it_and_one_that_was_cut_does_not(tmp_path):
    async with writing(tmp_path) as (out, told):
        for reply_id in ("r1", "r2"):
            out.give(said(reply_id, 0), SOUND)
        await told.until(4)
        for reply_id in ("r1", "r2"):
            out.give(said(reply_id, 1), SOUND)
        out.skip("r1", is_retracted=True)
        out.skip("r2")
        out.give(said("r3", 0), SOUND)
        await told.until(6)
    assert names(tmp_path) == ["00000002-r2-0.wav", "00000003-r3-0.wav"]


async def test_what_cannot_be_written_is_skipped(tmp_path):
    async with writing(tmp_path / "out") as (out, told):
        out.give(said("r1", 0), SOUND)
        await told.until(2)
        for path in (tmp_path / "out").iterdir():
            path.unlink()
        (tmp_path / "out").rmdir()
        (tmp_path / "out").write_text("a file in the folder's place")
        out.give(said("r1", 1), SOUND)
        await told.until(4)
        assert told.acks[2:] == [("r1", 1, "started"), ("r1", 1, "skipped")]

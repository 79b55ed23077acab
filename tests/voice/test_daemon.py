"""The daemon with its voice, as the demo has them: typed, answered, spoken, heard; and neither outlives the other."""

import asyncio
import contextlib
import json
import sqlite3

import psutil
import pytest

from tests.support.brokers import free_port
from tests.support.daemon import Daemon, viewer
from tests.support.voices import page, until_heard
from tests.voice.test_process import TONE


def played(transcripts):
    """What the transcripts know of the sentences' playback."""
    with contextlib.closing(sqlite3.connect(transcripts)) as store:
        return store.execute("select playback from utterances").fetchall()


@pytest.mark.slow
async def test_what_a_viewer_types_is_answered_spoken_and_heard_and_the_voice_ends_with_a_killed_daemon(tmp_path):
    port = free_port()
    tone = json.dumps(["python3", "-c", TONE])
    extra = f'[voice]\nenabled = true\nport = {port}\nengines = {{en = "tone"}}\ncommands = {{tone = {tone}}}\n'
    daemon = Daemon(tmp_path, extra=extra)
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(daemon)
        await daemon.event("voice_bus_connected")
        one = await stack.enter_async_context(viewer(daemon.url))
        stage = await stack.enter_async_context(page(port))
        await until_heard(port)
        await one.say(1, "Hello Mori, how are you?")
        said = await one.until("utterance")
        await stage.until(lambda page: page.acks and page.acks[-1][2] == "finished", timeout_s=60)
        await one.until("reply")
        assert stage.of("sentence")[0]["text"] == said["text"]
        async with asyncio.timeout(20):
            while ("finished",) not in played(daemon.transcripts):
                await asyncio.sleep(0.02)
        voice = daemon.child("voice")
        await daemon.kill()
        await daemon.table
        _, alive = psutil.wait_procs([voice], timeout=10)
        assert alive == []
